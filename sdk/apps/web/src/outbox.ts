/**
 * What this tab has written and the server has not yet confirmed.
 *
 * An item keeps its clientRandom over every try, so the server stores it once however often it is sent. One item of a
 * conversation is under way at a time: what was written first is stored first, also when a try has to be repeated.
 * The class knows neither sockets nor clocks; whoever uses it sends what `due` names and reports what came back.
 */
import type { Refusal } from "./wire";

export interface OutboxItem {
  readonly conversationId: string;
  readonly text: string;
  readonly writtenAt: number;
  clientRandom: number;
  /** waiting: to be sent; sending: a try is under way; queued: accepted while the database is away; failed: given up. */
  state: "waiting" | "sending" | "queued" | "failed";
  /** How often the server has refused it for now. */
  refusals: number;
  /** Not to be sent before this time, in ms. */
  notBefore: number;
  /** Why it failed or waits, for the reader. */
  problem: string | null;
}

export interface OutboxStore {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** Refusals that say "not now". Anything else will not change by sending again. */
const TRANSIENT = new Set(["timeout", "temporary_unavailable", "overloaded", "rate_limited"]);
/** As the specification says: 1, 2, 4, 8, 16 s, then it waits for the person or for the next connection. */
const BACKOFF_MS = [1_000, 2_000, 4_000, 8_000, 16_000];
/** A bound on what one tab keeps; at 64 KiB a message far above what a person writes while offline. */
export const OUTBOX_LIMIT = 200;

export class Outbox {
  private items: OutboxItem[] = [];

  constructor(
    private readonly store: OutboxStore,
    private readonly key: string,
    private readonly draw: () => number,
  ) {
    this.items = restore(store.getItem(key));
  }

  /** All items, in the order in which they were written. */
  list(conversationId?: string): readonly OutboxItem[] {
    return conversationId === undefined ? this.items : this.items.filter((item) => item.conversationId === conversationId);
  }

  /** Keep a new message. Throws RangeError when the outbox is full. */
  add(conversationId: string, text: string, now: number): OutboxItem {
    if (this.items.length >= OUTBOX_LIMIT) throw new RangeError("Too many messages wait to be sent.");
    const item: OutboxItem = {
      conversationId,
      text,
      writtenAt: now,
      clientRandom: this.draw(),
      state: "waiting",
      refusals: 0,
      notBefore: 0,
      problem: null,
    };
    this.items.push(item);
    this.save();
    return item;
  }

  /** What to send now: of each conversation the oldest item that is neither given up nor already queued at the server. */
  due(now: number): OutboxItem[] {
    return this.heads().filter((item) => item.state === "waiting" && item.notBefore <= now);
  }

  /** When something becomes due that is not due now, in ms; null when nothing waits for a time. */
  nextDue(now: number): number | null {
    const times = this.heads()
      .filter((item) => item.state === "waiting" && item.notBefore > now)
      .map((item) => item.notBefore);
    return times.length > 0 ? Math.min(...times) : null;
  }

  /** A try began. */
  sending(item: OutboxItem): void {
    item.state = "sending";
    item.problem = null;
    this.save();
  }

  /** The server holds the message (`sent`, `duplicate`, or it came back as an entry): nothing is left to do. */
  confirmed(clientRandom: number): OutboxItem | null {
    const item = this.find(clientRandom);
    if (item !== null) {
      this.items = this.items.filter((other) => other !== item);
      this.save();
    }
    return item;
  }

  /** The server answered `pending`: it is kept until it comes back as an entry. */
  queued(clientRandom: number): void {
    const item = this.find(clientRandom);
    if (item === null) return;
    item.state = "queued";
    item.problem = null;
    this.save();
  }

  /** The server refused a try. `jitter` in 0 … 1 spreads clients that were refused together. */
  refused(clientRandom: number, refusal: Refusal, now: number, jitter: number): void {
    const item = this.find(clientRandom);
    if (item === null) return;
    item.problem = refusal.message;
    if (refusal.reason === "client_random_reused") {
      // Another message has this key: as a message of its own it needs its own.
      item.clientRandom = this.draw();
      item.state = "waiting";
    } else if (TRANSIENT.has(refusal.reason) && item.refusals < BACKOFF_MS.length) {
      const backoff = (BACKOFF_MS[item.refusals] ?? 0) * (1 + jitter / 4);
      item.notBefore = now + (refusal.retryAfter === undefined ? backoff : refusal.retryAfter * 1_000);
      item.refusals += 1;
      item.state = "waiting";
    } else {
      item.state = "failed";
    }
    this.save();
  }

  /** No answer came: whether the server has it is not known, so it is sent again with the same key. */
  unanswered(clientRandom: number): void {
    const item = this.find(clientRandom);
    if (item?.state !== "sending") return;
    item.state = "waiting";
    this.save();
  }

  /** The connection is gone, and with it every try under way. What waited for a better moment gets a new chance. */
  disconnected(): void {
    for (const item of this.items) {
      if (item.state === "sending" || item.state === "queued") item.state = "waiting";
      if (item.state === "waiting") {
        item.refusals = 0;
        item.notBefore = 0;
      }
    }
    this.save();
  }

  /** The person asks for another try. */
  retry(clientRandom: number): void {
    const item = this.find(clientRandom);
    if (item?.state !== "failed") return;
    item.state = "waiting";
    item.refusals = 0;
    item.notBefore = 0;
    item.problem = null;
    this.save();
  }

  /** The person gives it up. Only for a failed item: one that was sent may be stored already. */
  discard(clientRandom: number): void {
    if (this.find(clientRandom)?.state === "failed") this.confirmed(clientRandom);
  }

  private find(clientRandom: number): OutboxItem | null {
    return this.items.find((item) => item.clientRandom === clientRandom) ?? null;
  }

  private heads(): OutboxItem[] {
    const heads = new Map<string, OutboxItem>();
    for (const item of this.items) {
      if (item.state === "failed" || item.state === "queued" || heads.has(item.conversationId)) continue;
      heads.set(item.conversationId, item);
    }
    return [...heads.values()];
  }

  private save(): void {
    try {
      this.store.setItem(this.key, JSON.stringify(this.items));
    } catch {
      // A full or forbidden storage costs the copy that survives a reload, not the message.
    }
  }
}

function restore(text: string | null): OutboxItem[] {
  try {
    const items = JSON.parse(text ?? "[]") as OutboxItem[];
    return items.map((item) => ({
      ...item,
      state: item.state === "failed" ? "failed" : "waiting",
      refusals: item.state === "failed" ? item.refusals : 0,
      notBefore: 0,
    }));
  } catch {
    return [];
  }
}
