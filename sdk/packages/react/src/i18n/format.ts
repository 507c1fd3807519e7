/** Dates, durations and lists, as Intl writes them in a language. */

type Style = "time" | "day" | "dateTime" | "short";
const OPTIONS: Record<Style, Intl.DateTimeFormatOptions> = {
  time: { hour: "2-digit", minute: "2-digit" },
  day: { weekday: "long", day: "numeric", month: "long" },
  dateTime: { dateStyle: "medium", timeStyle: "short" },
  short: { day: "numeric", month: "short" },
};

const made = new Map<string, Intl.DateTimeFormat>();

/** One formatter a language and style: making one costs more than a row of the list. */
function formatter(locale: string, style: Style): Intl.DateTimeFormat {
  const key = `${locale}/${style}`;
  let found = made.get(key);
  if (found === undefined) {
    found = new Intl.DateTimeFormat(locale, OPTIONS[style]);
    made.set(key, found);
  }
  return found;
}

export function sameDay(a: number, b: number): boolean {
  return new Date(a).toDateString() === new Date(b).toDateString();
}

/** The functions of a catalog that only depend on its language. Times are ms since 1970. */
export function formats(locale: string): {
  time(at: number): string;
  day(at: number): string;
  dateTime(at: number): string;
  activity(at: number, now: number): string;
  list(names: readonly string[]): string;
} {
  const names = new Intl.ListFormat(locale, { style: "long", type: "conjunction" });
  return {
    time: (at) => formatter(locale, "time").format(at),
    day: (at) => formatter(locale, "day").format(at),
    dateTime: (at) => formatter(locale, "dateTime").format(at),
    activity: (at, now) => formatter(locale, sameDay(at, now) ? "time" : "short").format(at),
    list: (all) => names.format(all),
  };
}

const UNITS = [
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
] as const;

/** "4 minutes": the largest unit that fits, rounded up, so that nothing is gone before its time is said to be over. */
export function duration(locale: string, seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  const [unit, size] = UNITS.find(([, length]) => whole >= length) ?? UNITS[4];
  return new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: "long" }).format(Math.ceil(whole / size));
}
