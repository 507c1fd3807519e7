/**
 * A store whose snapshot is made when somebody asks, and whose listeners are told at most once a frame; less often where
 * a snapshot takes long, so that making them takes a fifth of the time at most.
 */
import type { Store } from "./types/store";

/** A frame at 60 a second: catching up tells of thousands of entries, and nobody sees more than one change a frame. */
const FRAME_MS = 16;
/** So many times as long as the last snapshot took, nobody is told of another one. */
const REST = 4;

export class Observable<Snapshot> implements Store<Snapshot> {
  private readonly listeners = new Set<() => void>();
  private current: Snapshot | undefined;
  /** The one that listeners were told of; somebody may have asked for a newer one before they are told. */
  private told: Snapshot | undefined;
  private isStale = true;
  private isDue = false;
  private toldAt = -FRAME_MS;
  private cost = 0;

  /** `make` gets the snapshot before, and returns the same one where nothing differs. */
  constructor(private readonly make: (before: Snapshot | undefined) => Snapshot) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    if (this.listeners.size === 0) this.told = this.isStale ? undefined : this.current;
    // A function of its own for each subscription: the same listener may be there twice.
    const own = (): void => listener();
    this.listeners.add(own);
    return () => void this.listeners.delete(own);
  };

  readonly getSnapshot = (): Snapshot => {
    if (this.isStale) {
      const began = now();
      this.current = this.make(this.current);
      this.isStale = false;
      this.cost = now() - began;
    }
    return this.current as Snapshot;
  };

  /** Something changed: the next snapshot is made anew. */
  changed(): void {
    this.isStale = true;
    if (this.isDue || this.listeners.size === 0) return;
    this.isDue = true;
    const wait = this.toldAt + Math.max(FRAME_MS, REST * this.cost) - now();
    if (wait <= 0) void Promise.resolve().then(this.tell);
    else setTimeout(this.tell, wait);
  }

  private readonly tell = (): void => {
    this.isDue = false;
    this.toldAt = now();
    const next = this.getSnapshot();
    if (next === this.told && next !== undefined) return;
    this.told = next;
    for (const listener of [...this.listeners]) listener();
  };
}

/** A clock that only runs forward, in ms. */
function now(): number {
  return typeof performance === "undefined" ? Date.now() : performance.now();
}

/** A value with its listeners, for what needs no computing. */
export class Value<Snapshot> implements Store<Snapshot> {
  private readonly store: Observable<Snapshot>;

  constructor(private held: Snapshot) {
    this.store = new Observable(() => this.held);
  }

  readonly subscribe = (listener: () => void): (() => void) => this.store.subscribe(listener);
  readonly getSnapshot = (): Snapshot => this.store.getSnapshot();

  get value(): Snapshot {
    return this.held;
  }

  set(next: Snapshot): void {
    if (Object.is(next, this.held)) return;
    this.held = next;
    this.store.changed();
  }
}
