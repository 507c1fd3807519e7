/** One thing that was written here, and what became of its tries so far. Plain data: it is stored as it is. */
import type { RequestError } from "../errors";
import type { MessageBody } from "../types/body";
import type { OutboxItem, OutboxKind, OutboxState } from "../types/outbox";
import type { SendFailure } from "../types/timeline";

/** What is said to the server beside the content. */
export interface RecordOptions {
  readonly replyTo?: string;
  readonly ttl?: number;
  readonly ttlStart?: "send" | "read";
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly emoji?: string;
  readonly remove?: boolean;
  readonly forEveryone?: boolean;
}

/** Made once, and the same for every try: another ciphertext under the same clientRandom would be another message. */
export interface Frozen {
  /** base64. */
  readonly content: string;
  readonly signature: string | null;
  readonly membersVersion: number | null;
}

export interface OutboxRecord {
  readonly id: string;
  /** Where it stands among all: grows with the time of writing. */
  readonly place: string;
  readonly kind: OutboxKind;
  readonly conversationId: string;
  readonly target: string | null;
  readonly options: RecordOptions;
  readonly writtenAt: number;
  readonly body: MessageBody | null;
  readonly clientRandom: number | null;
  readonly frozen: Frozen | null;
  readonly state: OutboxState;
  readonly attempts: number;
  /** How often it was made anew at once: another key, or for other members. */
  readonly renewals: number;
  readonly nextTryAt: number | null;
  /** The server's own `retryAfter`: until then neither a new connection nor another's success makes it due. */
  readonly notBefore: number | null;
  readonly failure: SendFailure | null;
  /** A try may have been stored: it must not be taken back. */
  readonly isUncertain: boolean;
}

/** Specification §5.2: pauses after the first to the fifth try; with the fifth it is parked. */
export const BACKOFF_MS = [1_000, 2_000, 4_000, 8_000, 16_000] as const;
/** A parked item is tried again after the last pause, and then after this time each, should the connection never break. */
export const PARKED_MS = 60_000;
/** So often is one made anew without a pause, before it counts as a refusal. */
export const RENEWALS_MAX = 5;

/** The record as the application sees it. */
export function itemOf(record: OutboxRecord): OutboxItem {
  const { id, kind, conversationId, clientRandom, target, body, state, attempts, nextTryAt, failure, writtenAt } = record;
  return { id, kind, conversationId, clientRandom, target, body, state, attempts, nextTryAt, failure, writtenAt };
}

/** A try began. */
export function sending(record: OutboxRecord): OutboxRecord {
  return { ...record, state: "sending", nextTryAt: null, notBefore: null };
}

/** The server answered `pending`. */
export function accepted(record: OutboxRecord): OutboxRecord {
  return { ...record, state: "accepted", failure: null, nextTryAt: null };
}

/** The connection broke under a try: the same again as soon as it is back. */
export function interrupted(record: OutboxRecord): OutboxRecord {
  return { ...record, state: "waiting", nextTryAt: null, isUncertain: true };
}

/** It is due at once, without a memory of its tries: a person's wish, or the end of an outage. */
export function resumed(record: OutboxRecord): OutboxRecord {
  return woken({ ...record, notBefore: null });
}

/** It is due at once, or when the server said: there is a new connection, or the server took another. */
export function woken(record: OutboxRecord): OutboxRecord {
  if (record.state === "sending") return record;
  return { ...record, state: "waiting", attempts: 0, renewals: 0, nextTryAt: record.notBefore, failure: null };
}

/**
 * The server refused, or said nothing in time. `jitter` in 0 … 1 spreads clients that were refused together, `draw`
 * makes another clientRandom. A refusal other than `timeout` says that nothing was stored by this try.
 */
export function refused(record: OutboxRecord, error: RequestError | null, now: number, jitter: number, draw: () => number): OutboxRecord {
  const code = error?.code ?? "unanswered";
  if (code === "client_random_reused" && record.renewals < RENEWALS_MAX) {
    return { ...anew(record, draw), renewals: record.renewals + 1 };
  }
  if (code === "stale_membership" && record.renewals < RENEWALS_MAX) {
    // Deduplication comes first: who hears this has nothing stored under the key, and may use it for other bytes.
    return { ...record, frozen: null, state: "waiting", isUncertain: false, renewals: record.renewals + 1 };
  }
  const isOpen = error === null || code === "timeout";
  const isTransient = isOpen || error.isTransient || code === "unauthenticated" || code === "stale_membership";
  const isUncertain = isOpen || record.isUncertain;
  const failure = failureOf(code, error, isTransient);
  if (!isTransient) return { ...record, state: "failed", nextTryAt: null, failure, isUncertain: false };
  const attempts = record.attempts + 1;
  const backoff = BACKOFF_MS[attempts - 1];
  const pause = (error?.retryAfter ?? 0) * 1_000 || (backoff ?? PARKED_MS);
  const nextTryAt = now + Math.round(pause * (1 + jitter / 4));
  const notBefore = error?.retryAfter == null ? null : nextTryAt;
  const again = { ...record, attempts, nextTryAt, notBefore, isUncertain };
  if (attempts < BACKOFF_MS.length) return { ...again, state: "waiting", failure };
  const parked = { ...failure, code: "max_retries_exceeded", message: `${attempts} tries failed: ${failure.message}` };
  return { ...again, state: "parked", failure: parked };
}

/** Made anew under another key, because this one belongs to something else, or because its text was changed. */
export function anew(record: OutboxRecord, draw: () => number): OutboxRecord {
  return { ...record, clientRandom: draw(), frozen: null, state: "waiting", nextTryAt: null, isUncertain: false };
}

/** It could not even be made: no key to encrypt for, too large, … */
export function unmade(record: OutboxRecord, code: string, message: string, action: SendFailure["action"]): OutboxRecord {
  return { ...record, state: "failed", nextTryAt: null, isUncertain: false, failure: { code, message, action, willRetry: false } };
}

function failureOf(code: string, error: RequestError | null, willRetry: boolean): SendFailure {
  const message = error?.message ?? "No answer came from the server.";
  return { code, message, action: error?.action ?? "retry", willRetry };
}
