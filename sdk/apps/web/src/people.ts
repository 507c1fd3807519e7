/** Who can be written to: the names that signed in here. In a real deployment this is the user service's to answer. */
import type { Store } from "@whispr/client";

export interface Person {
  readonly userId: string;
  readonly name: string;
}

export interface PeopleSnapshot {
  readonly all: readonly Person[];
  readonly loaded: boolean;
  readonly nameOf: (userId: string) => string;
}

const EVERY_MS = 2_000;

/** Asks for the people every few seconds while the page is in view. */
export class People implements Store<PeopleSnapshot> {
  private readonly listeners = new Set<() => void>();
  private readonly names = new Map<string, string>();
  private readonly unknown = new Set<string>();
  private snapshot: PeopleSnapshot;
  private timer: ReturnType<typeof setInterval> | null = null;

  constructor(
    private readonly ask: () => Promise<{ people: readonly Person[] }>,
    me: Person,
  ) {
    this.names.set(me.userId, me.name);
    this.snapshot = this.make([], false);
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  getSnapshot = (): PeopleSnapshot => this.snapshot;

  /** Begin asking. Returns what ends it. */
  start(): () => void {
    void this.refresh();
    this.timer = setInterval(() => {
      if (document.visibilityState === "visible") void this.refresh();
    }, EVERY_MS);
    return () => {
      if (this.timer !== null) clearInterval(this.timer);
      this.timer = null;
    };
  }

  async refresh(): Promise<void> {
    let people: readonly Person[];
    try {
      ({ people } = await this.ask());
    } catch {
      return; // the banner says that the server is away
    }
    const { all, loaded } = this.snapshot;
    const isSame = loaded && all.length === people.length && all.every((one, at) => one.userId === people[at]?.userId);
    if (isSame) return;
    for (const { userId, name } of people) this.names.set(userId, name);
    this.snapshot = this.make(people, true);
    for (const tell of this.listeners) tell();
  }

  private make(all: readonly Person[], loaded: boolean): PeopleSnapshot {
    // A new function each time, so that whoever draws names draws them anew.
    return { all, loaded, nameOf: (userId) => this.names.get(userId) ?? this.withoutName(userId) };
  }

  /** Somebody who came a moment ago may write before we asked again: ask at once, and once. */
  private withoutName(userId: string): string {
    if (this.timer !== null && !this.unknown.has(userId)) setTimeout(() => void this.refresh(), 0); // not while a page is drawn
    this.unknown.add(userId);
    return `${userId.slice(0, 8)} …`;
  }
}
