/** The client itself. */
import type { ConversationStore, InboxStore } from "./conversation";
import type { ConnectionState, Identity } from "./connection";
import type { EncryptionEngine } from "./engine";
import type { BodyCodec } from "./body";
import type { OutboxStore } from "./outbox";
import type { BlockList, DevicesStore, ScheduledStore, SecurityStore, SettingsStore } from "./personal";
import type { ClientStorage } from "./storage";
import type { Store } from "./store";
import type { MessageItem } from "./timeline";
import type { ConversationType, ConversationView } from "./wire";

/**
 * Why a token is asked for: at the start, because the old one expires or has expired, or because the server did not
 * take it.
 */
export type TokenReason = "start" | "expiring" | "expired" | "refused";

/** How the connection is made, where the defaults do not fit. */
export interface SocketOptions {
  /** A WebSocket class, for environments without a global one (`ws` in Node 20). */
  readonly transport?: unknown;
  /** Where it is not `url` + "/socket". */
  readonly url?: string;
  /** Ms before the n-th try to connect; the default is 100 … 5,000 with jitter. */
  readonly reconnectAfterMs?: (tries: number) => number;
  readonly heartbeatIntervalMs?: number;
}

/** What a client needs to know; `url` and `getToken` suffice. */
export interface ClientOptions {
  /** The server's address, "https://chat.example"; "" for the page's own. */
  readonly url: string;
  /** A token, or null when the user has to sign in again. Rejects while there is no network; then it is asked again. */
  readonly getToken: (reason: TokenReason) => string | null | Promise<string | null>;
  /** Without it: IndexedDB where there is one, else memory. */
  readonly storage?: ClientStorage;
  /** Without it messages are not encrypted; `connect` warns on the console unless it is `plainEngine()`. */
  readonly engine?: EncryptionEngine;
  readonly socket?: SocketOptions;
  /** Who this is, known before a token is: opens the outbox offline. Otherwise it is read from the first token. */
  readonly identity?: Identity;
  /** The name under which the device is registered. */
  readonly device?: { readonly name?: string; readonly platform?: string; readonly pushToken?: string };
  readonly codec?: BodyCodec;
  /** At most so many items in the outbox. Default 1,000. */
  readonly outboxLimit?: number;
  /** One connection for all tabs of a browser. Default: where Web Locks and BroadcastChannel are. */
  readonly sharedTabs?: boolean;
  /** Instead of the global one: for environments without it, and for tests. */
  readonly fetch?: typeof fetch;
}

/** What happens, for sounds, notifications and logs; everything else is in the stores. */
export interface ClientEvents {
  /** A message of somebody else arrived live (not while catching up). */
  readonly message: (item: MessageItem) => void;
  /** A request in the background failed; nothing is lost. */
  readonly error: (error: Error) => void;
  /** The server began a new epoch or this device was away too long: everything was read anew. */
  readonly resync: (reason: string) => void;
}

/** A conversation to begin. A direct one has exactly one other member; `settings` are not encrypted. */
export interface NewConversation {
  readonly type: ConversationType;
  readonly members: readonly string[];
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** One user on one device: made by `createClient`. Everything that changes is a store. */
export interface WhisprClient {
  /** Null until the first token is there, unless `identity` was given. */
  readonly identity: Identity | null;
  readonly connection: Store<ConnectionState>;
  readonly inbox: InboxStore;
  readonly outbox: OutboxStore;
  readonly scheduled: ScheduledStore;
  readonly settings: SettingsStore;
  readonly devices: DevicesStore;
  readonly security: SecurityStore;
  readonly blocks: BlockList;

  /** Start: resolves when the storage is open and the identity known; the connection goes on by itself. */
  connect(): Promise<void>;
  /** Stop trying. What is in the outbox stays. `connect` starts again. */
  disconnect(): void;
  /** Try at once, where the next try is some time away. */
  reconnectNow(): void;
  /** `disconnect`, and let go of everything. `forget: true` also deletes what is stored here: for signing out. */
  close(options?: { readonly forget?: boolean }): Promise<void>;

  /** The store of a conversation, always the same one for an id. */
  conversation(id: string): ConversationStore;
  /** A direct conversation that exists already is returned. */
  createConversation(conversation: NewConversation): Promise<ConversationView>;
  /** Be told of an event. Returns the function that ends it. */
  on<Name extends keyof ClientEvents>(name: Name, listener: ClientEvents[Name]): () => void;
  /** A request to the REST side, with the token, for what has no method here. Throws RequestError. */
  request<Answer>(method: string, path: string, body?: unknown): Promise<Answer>;
}
