/**
 * A conversation's entries by seq, and how far they are without a hole.
 *
 * The log has no gaps, so `held` is both the cursor for the next join and what may be acknowledged: every entry from
 * `first` to `held` is here. Beyond a hole entries may wait until it is filled.
 */
import type { Entry, MessageView } from "../types/wire";

/** An entry as it was appended, or as history shows it now. */
export type Held = Entry & Partial<Pick<MessageView, "edit" | "reactions">>;

export interface Placed {
  readonly entry: Held;
  /**
   * For what came from history: every change up to this seq is in it already. 0 for an entry as it was appended.
   */
  readonly asOf: number;
}

export class Log {
  private readonly places = new Map<number, Placed>();
  private readonly byId = new Map<string, number>();
  /** The lowest seq without a hole below `held`; 0 while nothing is here. */
  first = 0;
  /** The highest seq up to which nothing is missing. */
  held = 0;
  newest = 0;

  get hasGap(): boolean {
    return this.newest > this.held;
  }

  get size(): number {
    return this.places.size;
  }

  /** Take an entry. Returns whether it is new; one that is here already changes nothing. */
  add(entry: Held, asOf = 0): boolean {
    if (this.places.has(entry.seq)) return false;
    this.places.set(entry.seq, { entry, asOf });
    this.byId.set(entry.messageId, entry.seq);
    this.newest = Math.max(this.newest, entry.seq);
    if (this.first === 0) this.first = this.held = entry.seq;
    while (this.places.has(this.held + 1)) this.held += 1;
    while (this.places.has(this.first - 1)) this.first -= 1;
    return true;
  }

  at(seq: number): Placed | null {
    return this.places.get(seq) ?? null;
  }

  /** An entry by its message id. */
  find(messageId: string): Placed | null {
    const seq = this.byId.get(messageId);
    return seq === undefined ? null : this.at(seq);
  }

  /** In the order of seq, from `from` to `to`; holes are left out. */
  *between(from: number, to: number): Generator<Placed> {
    for (let seq = from; seq <= to; seq += 1) {
      const found = this.places.get(seq);
      if (found !== undefined) yield found;
    }
  }

  /** What is here without a hole, and what waits beyond one. */
  all(): Generator<Placed> {
    return this.between(this.first, this.newest);
  }

  /** There is nothing between `held` and the next entry that is here: the user was no member then. */
  bridge(): void {
    const next = [...this.places.keys()].filter((seq) => seq > this.held);
    if (next.length === 0) return;
    this.held = Math.min(...next);
    while (this.places.has(this.held + 1)) this.held += 1;
  }

  /**
   * Let go of all but the last `count` entries; the rest is read again from history when somebody asks. Returns the ids
   * of those that went.
   */
  trim(count: number): string[] {
    const gone: string[] = [];
    const from = this.held - count + 1;
    for (let seq = this.first; seq < from; seq += 1) {
      const found = this.places.get(seq);
      if (found !== undefined) gone.push(found.entry.messageId);
      this.places.delete(seq);
    }
    for (const id of gone) this.byId.delete(id);
    this.first = Math.max(this.first, from);
    return gone;
  }

  /** Forget everything: the server says that its log is another one now. */
  clear(): void {
    this.places.clear();
    this.byId.clear();
    this.first = this.held = this.newest = 0;
  }
}
