/** What carries requests and events: a socket of our own, or that of another tab. */
import type { RequestError } from "../errors";
import type { ConnectionPhase, OfflineReason } from "../types/connection";
import type { Presence } from "../types/conversation";

/** `unanswered`: the connection is gone or silent; whether the server has it is then not known. */
export type PushResult =
  | { readonly outcome: "ok"; readonly response: unknown }
  | { readonly outcome: "refused"; readonly error: RequestError }
  | { readonly outcome: "unanswered"; readonly isLost: boolean };

export interface LinkState {
  readonly phase: ConnectionPhase;
  readonly reason: OfflineReason | null;
  readonly closeCode: number | null;
  readonly retryAt: number | null;
}

export interface JoinReply {
  readonly epoch: string;
  readonly conversations: number;
}

export interface LinkEvents {
  state(state: LinkState): void;
  joined(reply: JoinReply): void;
  /** An event of the inbox. */
  event(name: string, payload: unknown): void;
  presence(conversationId: string, present: readonly Presence[]): void;
}

/** The payload of a join: asked again for each one, so that it says what is here by then. */
export type JoinPayload = (conversationId: string | null) => object;

export interface Link {
  start(): void;
  stop(): void;
  /** Try at once. */
  reconnectNow(): void;
  /** Nothing is buffered for later: keeping things is the outbox's task. */
  push(event: string, payload: object): Promise<PushResult>;
  /** Be present in a conversation, and be told who else is. Returns what ends it. */
  watch(conversationId: string): () => void;
}

/** What the server pushes on the inbox. */
export const INBOX_EVENTS = [
  "new_message",
  "delivery_status_update",
  "read_status_update",
  "typing",
  "personal_update",
  "sync_complete",
  "resync_required",
  "service_state",
] as const;

export const IDLE: LinkState = { phase: "idle", reason: null, closeCode: null, retryAt: null };
