/** A conversation as a person reads it: the log with its edits, reactions and deletions applied. */
import type { MediaReference, MessageBody } from "./body";
import type { ErrorAction } from "../errors";

/**
 * waiting: kept here, for the connection or its turn; sending: a try is under way; pending: the server queued it;
 * failed: see `failure`; sent: stored; delivered, read: by every other member; expired: its time ended before it reached
 * everybody. `delivery()` says it of each recipient.
 */
export type MessageStatus = "waiting" | "sending" | "pending" | "failed" | "sent" | "delivered" | "read" | "expired";

/** Why a try did not succeed. */
export interface SendFailure {
  /** A code of docs/protocol.md §6, or one of the client's own ("unanswered", "max_retries_exceeded", …). */
  readonly code: string;
  /** A sentence for developers; a user interface translates the code. */
  readonly message: string;
  readonly action: ErrorAction;
  /** Whether the client tries again by itself. */
  readonly willRetry: boolean;
}

/** One emoji under a message, and whose it is. */
export interface Reaction {
  readonly emoji: string;
  readonly count: number;
  /** The first of them; `count` may be larger. */
  readonly userIds: readonly string[];
  readonly mine: boolean;
}

/**
 * What is known of where a message comes from:
 * verified: decrypted, signed by a device whose key is known; changed_key: the same, by a device whose key is not the
 * one known before; unsigned: readable, without a signature; forged: the signature is not the sender's, nothing of it
 * is shown; undecryptable: not for this device, or damaged; opening: not decrypted yet.
 */
export type MessageSecurity = "verified" | "changed_key" | "unsigned" | "forged" | "undecryptable" | "opening";

/** A message as it is shown, with its edits, reactions and its state. */
export interface MessageItem {
  readonly kind: "message";
  /** Stable from writing to reading: made of sender and clientRandom where there is one. */
  readonly key: string;
  /** Null while it is in the outbox. */
  readonly messageId: string | null;
  readonly seq: number | null;
  readonly conversationId: string;
  readonly senderId: string;
  readonly senderDeviceId: string | null;
  readonly mine: boolean;
  readonly type: "text" | "media" | "ephemeral";
  /** In ms since 1970: by the server's clock, or by ours while it is in the outbox. */
  readonly at: number;
  /** Null where there is nothing to read: see `security` and `gone`. */
  readonly body: MessageBody | null;
  readonly text: string | null;
  readonly media: MediaReference | null;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly replyTo: string | null;
  readonly edited: boolean;
  readonly editedAt: number | null;
  readonly gone: "deleted" | "expired" | null;
  /** In ms since 1970. */
  readonly expiresAt: number | null;
  /** In seconds, while its time runs only from its reading on. */
  readonly ttlAfterRead: number | null;
  readonly reactions: readonly Reaction[];
  readonly security: MessageSecurity;
  /** Of one's own messages; null for those of others. */
  readonly status: MessageStatus | null;
  readonly failure: SendFailure | null;
  readonly nextTryAt: number | null;
  readonly attempts: number;
  /** The outbox's id, while it is there: for retry, discard, edit. */
  readonly outboxId: string | null;
  /** An edit, a reaction or a deletion of it that is not stored yet. */
  readonly changing: boolean;
}

/** A line of the conversation that nobody wrote: somebody joined, left, … */
export interface NoticeItem {
  readonly kind: "notice";
  readonly key: string;
  readonly messageId: string;
  readonly seq: number;
  readonly at: number;
  /** `conversation_created`, `conversation_updated`, `member_added`, `member_removed`, or another service's own. */
  readonly event: string;
  readonly userIds: readonly string[];
  readonly by: string | null;
  readonly details: Readonly<Record<string, unknown>>;
}

/** A row of a conversation. */
export type TimelineItem = MessageItem | NoticeItem;
