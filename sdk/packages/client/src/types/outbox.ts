/** What was written here and is not yet known to be stored by the server. */
import type { MessageBody } from "./body";
import type { SendFailure } from "./timeline";
import type { Store } from "./store";

/**
 * waiting: for its turn, for `nextTryAt`, or for the connection; sending: a try is under way; accepted: the server
 * queued it while its database is away (`pending`), it is kept until it arrives; parked: five tries were refused for
 * now, it goes on with the next connection or by `retry`; failed: refused for good, a person has to decide.
 */
export type OutboxState = "waiting" | "sending" | "accepted" | "parked" | "failed";

/** What is done when it is sent. */
export type OutboxKind = "send" | "edit" | "react" | "delete";

/** Something that was written here and is not yet known to be stored. */
export interface OutboxItem {
  /** Of this client alone; a message of the timeline has it as `outboxId`. */
  readonly id: string;
  readonly kind: OutboxKind;
  readonly conversationId: string;
  /** Null for a deletion. The same for every try. */
  readonly clientRandom: number | null;
  /** The message that is edited, reacted to, or deleted. */
  readonly target: string | null;
  readonly body: MessageBody | null;
  readonly state: OutboxState;
  /** Tries that were answered with a refusal or not at all. */
  readonly attempts: number;
  /** In ms since 1970; null where no time is set: it waits for its turn, the connection, or a person. */
  readonly nextTryAt: number | null;
  readonly failure: SendFailure | null;
  readonly writtenAt: number;
}

/** Everything on its way, in the order of writing. */
export interface OutboxSnapshot {
  readonly items: readonly OutboxItem[];
  /** How many wait for a person. */
  readonly failed: number;
  /** Whether what is here survives the end of this page. */
  readonly durable: boolean;
}

/** What is on its way, over all conversations. */
export interface OutboxStore extends Store<OutboxSnapshot> {
  /** Try again now. Nothing happens for an id that is not here. */
  retry(id: string): Promise<void>;
  /** `retry` for all of them. */
  retryAll(): Promise<void>;
  /** Give an item up. Refused with OutboxBusyError while a try is under way or where it may be stored already. */
  discard(id: string): Promise<void>;
  /** Replace the text of an item that is not stored. Refused as `discard` is. */
  edit(id: string, body: MessageBody | string): Promise<void>;
}

/** A message that is stored: what `sent` and `duplicate` say. */
export interface SentMessage {
  readonly status: "sent" | "duplicate";
  readonly messageId: string;
  readonly conversationId: string;
  readonly seq: number | null;
  readonly sentAt: string | null;
  readonly expiresAt: string | null;
}

/** What became of a message up to now. */
export interface HandleSnapshot {
  readonly id: string;
  readonly status: import("./timeline").MessageStatus;
  readonly messageId: string | null;
  readonly seq: number | null;
  readonly attempts: number;
  readonly nextTryAt: number | null;
  readonly failure: SendFailure | null;
}

/** One message on its way, live: what `send` returns. */
export interface MessageHandle extends Store<HandleSnapshot> {
  readonly id: string;
  readonly conversationId: string;
  /** Resolves when the server stored it, rejects when it is given up. Nobody needs to wait for it. */
  readonly stored: Promise<SentMessage>;
  /** Try again now. */
  retry(): Promise<void>;
  /** Give it up; `stored` rejects with DiscardedError. Refused with OutboxBusyError where it may be stored already. */
  discard(): Promise<void>;
  /** Replace what it says before it is stored. Refused as `discard` is. */
  edit(body: MessageBody | string): Promise<void>;
}
