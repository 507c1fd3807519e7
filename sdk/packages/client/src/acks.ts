/**
 * What was received and read, told in batches: a second after the first of them, or when there are twenty.
 *
 * They are watermarks: the highest seq of each conversation says it all, and what is not answered is told again.
 */
import type { Link } from "./link/link";

const WAIT_MS = 1_000;
const BATCH = 20;
/** As many conversations as one request may name. */
const REQUEST_MAX = 256;

type Kind = "message_received" | "message_read";

interface Pile {
  /** What is to be told. */
  readonly due: Map<string, number>;
  /** What was told and answered. */
  readonly told: Map<string, number>;
  count: number;
  timer: ReturnType<typeof setTimeout> | null;
  isRunning: boolean;
}

export class Acks {
  private readonly piles: Readonly<Record<Kind, Pile>> = { message_received: pile(), message_read: pile() };

  /** Of several tabs, one tells what was received. */
  mayReceive = true;

  constructor(
    private readonly link: Pick<Link, "push">,
    private readonly isOnline: () => boolean,
  ) {}

  /**
   * An entry was pushed, and everything up to `upTo` is here. It is told even if it was told before: an entry that is
   * pushed after that counts in the server's window until an acknowledgement comes that is later.
   */
  received(conversationId: string, upTo: number): void {
    if (!this.mayReceive) return;
    this.piles.message_received.told.delete(conversationId);
    this.note("message_received", conversationId, upTo);
  }

  read(conversationId: string, upTo: number): void {
    this.note("message_read", conversationId, upTo);
  }

  /** The connection is back: what was not answered is told again. */
  online(): void {
    for (const kind of ["message_received", "message_read"] as const) void this.flush(kind);
  }

  /** The log is another one now: what was told of the old one says nothing. */
  forget(conversationId?: string): void {
    for (const { due, told } of Object.values(this.piles)) {
      for (const marks of [due, told]) {
        if (conversationId === undefined) marks.clear();
        else marks.delete(conversationId);
      }
    }
  }

  stop(): void {
    for (const one of Object.values(this.piles)) {
      if (one.timer !== null) clearTimeout(one.timer);
      one.timer = null;
    }
  }

  private note(kind: Kind, conversationId: string, upTo: number): void {
    const one = this.piles[kind];
    if (upTo <= (one.told.get(conversationId) ?? 0)) return;
    one.due.set(conversationId, Math.max(upTo, one.due.get(conversationId) ?? 0));
    one.count += 1;
    this.plan(kind, one);
  }

  /** At once when there are enough, or a second after the first. */
  private plan(kind: Kind, one: Pile): void {
    if (one.count >= BATCH) void this.flush(kind);
    else this.later(kind, one, WAIT_MS);
  }

  private later(kind: Kind, one: Pile, ms: number): void {
    one.timer ??= setTimeout(() => {
      one.timer = null;
      void this.flush(kind);
    }, ms);
  }

  private async flush(kind: Kind): Promise<void> {
    const one = this.piles[kind];
    if (one.isRunning || one.due.size === 0 || !this.isOnline()) return;
    if (one.timer !== null) clearTimeout(one.timer);
    one.timer = null;
    one.count = 0;
    one.isRunning = true;
    const batch = [...one.due].slice(0, REQUEST_MAX);
    for (const [id] of batch) one.due.delete(id); // what comes while this is under way is told after it
    const result = await this.link.push(kind, { acks: batch.map(([conversationId, upTo]) => ({ conversationId, upTo })) });
    one.isRunning = false;
    if (result.outcome === "ok" || (result.outcome === "refused" && !result.error.isTransient)) {
      // Refused for good is a conversation that one left meanwhile: told again it would be refused again.
      for (const [id, upTo] of batch) one.told.set(id, Math.max(upTo, one.told.get(id) ?? 0));
      // A server whose window was full has sent all that it may: it goes on with this.
      if (one.due.size > 0) this.plan(kind, one);
      return;
    }
    for (const [id, upTo] of batch) one.due.set(id, Math.max(upTo, one.due.get(id) ?? 0));
    if (!this.isOnline()) return;
    const wait = result.outcome === "refused" ? (result.error.retryAfter ?? 1) * 1_000 : WAIT_MS;
    this.later(kind, one, wait);
  }
}

function pile(): Pile {
  return { due: new Map(), told: new Map(), count: 0, timer: null, isRunning: false };
}
