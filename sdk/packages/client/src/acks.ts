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

  received(conversationId: string, upTo: number): void {
    if (this.mayReceive) this.note("message_received", conversationId, upTo);
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
    const { due, told } = this.piles[kind];
    if (upTo <= Math.max(due.get(conversationId) ?? 0, told.get(conversationId) ?? 0)) return;
    due.set(conversationId, upTo);
    const one = this.piles[kind];
    one.count += 1;
    if (one.count >= BATCH) void this.flush(kind);
    else one.timer ??= setTimeout(() => void this.flush(kind), WAIT_MS);
  }

  private async flush(kind: Kind): Promise<void> {
    const one = this.piles[kind];
    if (one.timer !== null) clearTimeout(one.timer);
    one.timer = null;
    if (one.isRunning || one.due.size === 0 || !this.isOnline()) return;
    one.count = 0;
    one.isRunning = true;
    const batch = [...one.due].slice(0, REQUEST_MAX);
    const result = await this.link.push(kind, { acks: batch.map(([conversationId, upTo]) => ({ conversationId, upTo })) });
    one.isRunning = false;
    if (result.outcome === "ok" || (result.outcome === "refused" && !result.error.isTransient)) {
      // Refused for good is a conversation that one left meanwhile: told again it would be refused again.
      for (const [id, upTo] of batch) {
        one.told.set(id, Math.max(upTo, one.told.get(id) ?? 0));
        if (one.due.get(id) === upTo) one.due.delete(id);
      }
      if (one.due.size > 0) one.timer ??= setTimeout(() => void this.flush(kind), WAIT_MS);
    } else if (this.isOnline()) {
      const wait = result.outcome === "refused" ? (result.error.retryAfter ?? 1) * 1_000 : WAIT_MS;
      one.timer ??= setTimeout(() => void this.flush(kind), wait);
    }
  }
}

function pile(): Pile {
  return { due: new Map(), told: new Map(), count: 0, timer: null, isRunning: false };
}
