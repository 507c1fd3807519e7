/**
 * Sends what is in the outbox: of each conversation one item at a time, so that what was written first is stored first
 * also when a try has to be repeated. In one tab of a device only.
 */
import { RequestError, WhisprError } from "../errors";
import type { Link } from "../link/link";
import type { SentMessage } from "../types/outbox";
import type { Entry, SendOutcome } from "../types/wire";
import type { Sealer } from "../security/sealer";
import type { Outbox } from "./outbox";
import { accepted, interrupted, refused, resumed, sending, unmade, woken, type Frozen, type OutboxRecord } from "./record";
import { drawClientRandom } from "./random";
import { isIdle, requestOf, typeOf, metadataOf } from "./request";

export interface RunnerEvents {
  /** The server stored it; the socket that sent gets no push of it. */
  stored(record: OutboxRecord, outcome: SendOutcome): void;
  /** Members changed: who is to be encrypted for is asked anew. */
  stale(conversationId: string): void;
  signedOut(): void;
}

export class Runner {
  private readonly busy = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | null = null;
  private isOnline = false;

  constructor(
    private readonly outbox: Outbox,
    private readonly sealer: Sealer,
    private readonly link: Pick<Link, "push">,
    private readonly events: RunnerEvents,
  ) {}

  /** The connection is there: what was parked or in the server's queue is tried again, at once or when the server said. */
  online(): void {
    this.isOnline = true;
    this.again(woken);
  }

  /** The server says that it is whole again: so is what it told to wait for that. */
  recovered(): void {
    this.again(resumed);
  }

  private again(due: (record: OutboxRecord) => OutboxRecord): void {
    for (const record of this.outbox.list()) {
      if (record.state === "parked" || record.state === "accepted" || (record.state === "waiting" && record.attempts > 0)) {
        void this.outbox.update(record.id, (now) => ({ ...due(now), isUncertain: now.isUncertain || now.state === "accepted" }));
      }
    }
    this.pump();
  }

  offline(): void {
    this.isOnline = false;
    if (this.timer !== null) clearTimeout(this.timer);
  }

  /** Send what is due, and come back when something else will be. */
  pump(): void {
    if (!this.isOnline) return;
    const now = Date.now();
    let next = Infinity;
    for (const record of this.heads()) {
      if (this.busy.has(record.conversationId)) continue;
      if (record.state === "sending" || (record.nextTryAt ?? 0) <= now) void this.attempt(record);
      else next = Math.min(next, record.nextTryAt ?? 0);
    }
    if (this.timer !== null) clearTimeout(this.timer);
    if (next < Infinity) this.timer = setTimeout(() => this.pump(), next - now);
  }

  /** Of each conversation the first item that is neither given up nor in the server's own queue. */
  private heads(): OutboxRecord[] {
    const heads = new Map<string, OutboxRecord>();
    for (const record of this.outbox.list()) {
      if (!isIdle(record) && !heads.has(record.conversationId)) heads.set(record.conversationId, record);
    }
    return [...heads.values()];
  }

  private async attempt(record: OutboxRecord): Promise<void> {
    this.busy.add(record.conversationId);
    try {
      const ready = await this.make(record);
      if (ready !== null) await this.send(ready);
    } finally {
      this.busy.delete(record.conversationId);
      this.pump();
    }
  }

  /** Encrypt and sign, once. Null where that cannot be done now, or at all. */
  private async make(record: OutboxRecord): Promise<OutboxRecord | null> {
    if (record.kind === "delete" || record.frozen !== null) return record;
    const { conversationId, clientRandom, body, target, options } = record;
    let frozen: Frozen;
    try {
      frozen = await this.sealer.seal({
        conversationId,
        clientRandom: clientRandom ?? 0,
        type: typeOf(record),
        body: record.kind === "react" ? null : body,
        metadata: metadataOf(record),
        replyTo: options.replyTo,
        target: target ?? undefined,
        ttl: options.ttl,
      });
    } catch (error) {
      await this.couldNotMake(record, error);
      return null;
    }
    const made = this.outbox.get(record.id);
    if (made === null || made.clientRandom !== clientRandom) return null; // taken back or changed meanwhile
    await this.outbox.put({ ...made, frozen });
    return this.outbox.get(record.id);
  }

  private couldNotMake(record: OutboxRecord, error: unknown): Promise<void> {
    if (error instanceof RequestError) return this.outbox.update(record.id, (now) => refused(now, error, Date.now(), Math.random(), drawClientRandom));
    const { code, action, message } = error instanceof WhisprError ? error : { code: "engine_failed", action: "report" as const, message: String(error) };
    if (code === "unanswered" || code === "no_recipients") {
      const later = new RequestError("temporary_unavailable", message, null);
      return this.outbox.update(record.id, (now) => ({ ...refused(now, later, Date.now(), Math.random(), drawClientRandom), isUncertain: now.isUncertain }));
    }
    return this.outbox.update(record.id, (now) => unmade(now, code, message, action));
  }

  private async send(record: OutboxRecord): Promise<void> {
    await this.outbox.put(sending(record));
    const [event, payload] = requestOf(record);
    const result = await this.link.push(event, payload);
    const now = this.outbox.get(record.id);
    if (now === null) return; // it came back as an entry meanwhile
    if (result.outcome === "ok") return this.answered(now, result.response as SendOutcome);
    if (result.outcome === "unanswered" && result.isLost) return this.outbox.put(interrupted(now));
    const error = result.outcome === "refused" ? result.error : null;
    if (error?.code === "stale_membership") this.events.stale(record.conversationId);
    if (error?.code === "unauthenticated") this.events.signedOut();
    await this.outbox.put(refused(now, error, Date.now(), Math.random(), drawClientRandom));
  }

  private async answered(record: OutboxRecord, outcome: SendOutcome): Promise<void> {
    if (outcome.status === "pending") return this.outbox.put(accepted(record));
    this.events.stored(record, outcome);
    this.outbox.confirm(record.id, sentMessage(record, outcome));
    this.wakeParked();
  }

  /** The server takes messages again. */
  private wakeParked(): void {
    for (const record of this.outbox.list()) if (record.state === "parked") void this.outbox.update(record.id, woken);
  }
}

function sentMessage(record: OutboxRecord, outcome: Partial<SendOutcome>): SentMessage {
  return {
    status: outcome.status === "duplicate" ? "duplicate" : "sent",
    messageId: outcome.messageId ?? record.target ?? "",
    conversationId: record.conversationId,
    seq: outcome.seq ?? null,
    sentAt: outcome.sentAt ?? null,
    expiresAt: outcome.expiresAt ?? null,
  };
}

/** What an entry that arrived says about the message it was in the outbox. */
export function sentEntry(entry: Entry): SentMessage {
  const { messageId, conversationId, seq, sentAt, expiresAt } = entry;
  return { status: "sent", messageId, conversationId, seq, sentAt, expiresAt };
}
