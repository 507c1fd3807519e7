/** The two extras of a composer: how long a message stays, and when it is sent. */
import { useId, useRef, useState, type KeyboardEvent, type ReactNode } from "react";
import { useCatalog } from "../i18n/context";
import { Icon } from "./icons";
import { Popover } from "./Menu";

/** Seconds that are offered; the server takes 1 s … 4 weeks. */
export const TTL_CHOICES = [10, 60, 300, 3_600, 86_400, 604_800] as const;

/** How long a message is there, in seconds, and from when on. */
export interface Ttl {
  readonly seconds: number;
  readonly start: "send" | "read";
}

/** What `TtlButton` shows, and whom it tells. */
export interface TtlButtonProps {
  readonly value: Ttl | null;
  /** Null: they stay. */
  readonly onChange: (value: Ttl | null) => void;
}

/** Chooses after which time a message vanishes, and from when on it counts. */
export function TtlButton({ value, onChange }: TtlButtonProps): ReactNode {
  const catalog = useCatalog();
  const [isOpen, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();
  const start = value?.start ?? "send";
  const label = value === null ? catalog.ttl : `${catalog.ttl}: ${catalog.duration(value.seconds)}`;
  return (
    <>
      <button
        ref={button}
        type="button"
        className="wh-icon-button"
        aria-label={label}
        title={label}
        aria-haspopup="dialog"
        aria-expanded={isOpen}
        data-active={value !== null || undefined}
        onClick={() => setOpen(!isOpen)}
      >
        <Icon name="timer" />
      </button>
      {isOpen && (
        <Popover button={button} role="dialog" label={catalog.ttl} id={id} onClose={() => setOpen(false)} className="wh-option">
          <fieldset>
            <legend>{catalog.ttl}</legend>
            {[null, ...TTL_CHOICES].map((seconds) => (
              <label key={seconds ?? 0} className="wh-choice">
                <input
                  type="radio"
                  name={id}
                  checked={(value?.seconds ?? null) === seconds}
                  onChange={() => onChange(seconds === null ? null : { seconds, start })}
                />
                {seconds === null ? catalog.ttlOff : catalog.duration(seconds)}
              </label>
            ))}
          </fieldset>
          <label className="wh-choice wh-choice-apart">
            <input
              type="checkbox"
              disabled={value === null}
              checked={start === "read"}
              onChange={(event) => value !== null && onChange({ ...value, start: event.target.checked ? "read" : "send" })}
            />
            {catalog.ttlRead}
          </label>
        </Popover>
      )}
    </>
  );
}

/** A local time as `datetime-local` has it. */
export function localInput(at: number): string {
  const date = new Date(at);
  return new Date(at - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** What `ScheduleButton` shows, and whom it tells. */
export interface ScheduleButtonProps {
  readonly disabled: boolean;
  /** A time in ms since 1970, in the future. */
  readonly onSchedule: (at: number) => void;
}

const HOUR_MS = 3_600_000;

/** Chooses a time at which the message is sent. */
export function ScheduleButton({ disabled, onSchedule }: ScheduleButtonProps): ReactNode {
  const catalog = useCatalog();
  const [isOpen, setOpen] = useState(false);
  const [value, setValue] = useState("");
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();
  const at = new Date(value).getTime();
  const isGood = at > Date.now();
  const choose = (): void => {
    setOpen(false);
    onSchedule(at);
  };
  const keyDown = (event: KeyboardEvent): void => {
    // The form around it would send the message at once.
    if (event.key !== "Enter" || !(event.target instanceof HTMLInputElement)) return;
    event.preventDefault();
    if (isGood) choose();
  };
  const open = (): void => {
    setValue(localInput(Math.ceil((Date.now() + HOUR_MS) / HOUR_MS) * HOUR_MS));
    setOpen(!isOpen);
  };
  return (
    <>
      <button
        ref={button}
        type="button"
        className="wh-icon-button"
        disabled={disabled}
        aria-label={catalog.schedule}
        title={catalog.schedule}
        aria-haspopup="dialog"
        aria-expanded={isOpen}
        onClick={open}
      >
        <Icon name="clock" />
      </button>
      {isOpen && (
        <Popover button={button} role="dialog" label={catalog.schedule} id={id} onClose={() => setOpen(false)} className="wh-option">
          <div className="wh-option-fields" onKeyDown={keyDown}>
            <label>
              {catalog.scheduleFor}
              <input type="datetime-local" value={value} min={localInput(Date.now())} onChange={(event) => setValue(event.target.value)} required />
            </label>
            <button type="button" className="wh-button wh-primary" disabled={!isGood} onClick={choose}>
              {catalog.schedule}
            </button>
          </div>
        </Popover>
      )}
    </>
  );
}
