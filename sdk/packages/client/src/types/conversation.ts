/** One conversation and the list of all of them. */
import type { MessageBody } from "./body";
import type { DraftState, ScheduledItem } from "./personal";
import type { MessageHandle } from "./outbox";
import type { Store } from "./store";
import type { MessageItem, TimelineItem } from "./timeline";
import type { ConversationType, DeliveryReport, MemberRole, MemberView } from "./wire";

/** A conversation as a list shows it. */
export interface InboxConversation {
  readonly id: string;
  readonly type: ConversationType;
  /** The other one of a direct conversation. */
  readonly peerId: string | null;
  readonly memberCount: number;
  readonly role: MemberRole;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly lastSeq: number;
  /** In ms since 1970: of the last entry, or of its creation. */
  readonly lastAt: number;
  readonly unread: number;
  /** Whether the user is not a member any more: it can be read up to then. */
  readonly left: boolean;
  /** The last message, where it is known. */
  readonly preview: MessageItem | null;
  /** Who is writing, without oneself. */
  readonly typing: readonly string[];
  readonly draft: string | null;
}

/** All conversations that were loaded, and whether there are more. */
export interface InboxSnapshot {
  /** The latest first. */
  readonly conversations: readonly InboxConversation[];
  readonly unread: number;
  /** Whether the list was read from the server since the start. */
  readonly loaded: boolean;
  readonly loading: boolean;
  /** Whether the server has more of them: `loadMore`. */
  readonly hasMore: boolean;
  readonly error: Error | null;
}

/** The list of conversations. */
export interface InboxStore extends Store<InboxSnapshot> {
  /** Read the first page anew. Rejects with the server's refusal, which stands in `error` too. */
  refresh(): Promise<void>;
  /** Read the next page; nothing where there is none. */
  loadMore(): Promise<void>;
}

/** Somebody who has the conversation open, and since when (ms since 1970). */
export interface Presence {
  readonly userId: string;
  readonly deviceIds: readonly string[];
  readonly since: number;
}

/** Whether the log is what was appended: proven by its hash chain; off: the server keeps none. */
export type Integrity = "unknown" | "proven" | "broken" | "off";

/** One conversation as it is shown. */
export interface ConversationSnapshot {
  readonly id: string;
  /** Null until the server told of it. */
  readonly info: InboxConversation | null;
  /** In the order of the log; what is in the outbox stands at the end, in the order of writing. */
  readonly items: readonly TimelineItem[];
  /** Whether a first page is here. */
  readonly loaded: boolean;
  readonly loadingEarlier: boolean;
  readonly hasEarlier: boolean;
  /** The lowest and the highest seq that are here without a hole; 0 while nothing is. */
  readonly firstSeq: number;
  readonly heldSeq: number;
  /** Up to where the user has read. */
  readonly readSeq: number;
  /** The first message that was unread when the conversation was opened; it stays until it is opened again. */
  readonly firstUnreadKey: string | null;
  readonly unread: number;
  readonly members: readonly MemberView[];
  readonly typing: readonly string[];
  /** Who has the conversation open; only while it is open here, and shared. */
  readonly presence: readonly Presence[];
  readonly draft: DraftState;
  readonly scheduled: readonly ScheduledItem[];
  readonly integrity: Integrity;
  /** Why it could not be loaded. */
  readonly error: Error | null;
}

/** What a message is besides its body. */
export interface SendOptions {
  readonly replyTo?: string;
  /** Seconds until it expires, from `ttlStart` on. */
  readonly ttl?: number;
  readonly ttlStart?: "send" | "read";
  /** What the server may read. 4 KiB at most. */
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** Text, or a body. With `media` it becomes a message of type media, with `ttl` an ephemeral one. */
export type SendInput = string | MessageBody;

/** What is said of a medium; name and type are taken from a `File` where they are absent. */
export interface UploadOptions {
  readonly name?: string;
  readonly mimeType?: string;
  readonly width?: number;
  readonly height?: number;
  readonly durationMs?: number;
  readonly thumbnail?: string;
  readonly signal?: AbortSignal;
}

/** One conversation: what is in it, and everything that one can do there. */
export interface ConversationStore extends Store<ConversationSnapshot> {
  readonly id: string;
  /** Load the last page, be present, see who else is. Returns what ends it; several may be open at once. */
  open(): () => void;
  /** A page of what is before. Resolves when it is in the snapshot. */
  loadEarlier(limit?: number): Promise<void>;
  /** Load until the message is here, at most 2,000 entries back. Resolves with its key, null where it was not found. */
  reveal(messageId: string): Promise<string | null>;
  /** An item by its message id, for the preview of a reply. */
  find(messageId: string): MessageItem | null;

  /** Keep it in the outbox and send it. Throws InvalidInputError, OutboxFullError; never for the network. */
  send(input: SendInput, options?: SendOptions): MessageHandle;
  /** Change one's own message; kept in the outbox like a send. */
  edit(messageId: string, input: SendInput): MessageHandle;
  /** Take it from everybody, or from one's own devices alone. Resolves when the server did; throws its refusal. */
  remove(messageId: string, options: { readonly forEveryone: boolean }): Promise<void>;
  /** Add one's reaction, or take it back; kept in the outbox like a send. */
  react(messageId: string, emoji: string, remove?: boolean): MessageHandle;
  /** Everything up to `seq` (without it: all that is here) was read. Told to the server within a second. */
  markRead(seq?: number): void;
  /** The user is writing, or stopped. Call it at every key: it is told as often as needed. */
  setTyping(active: boolean): void;

  /** Keep what is being written, on all the user's devices; encrypted to these. Saved a second after the last call. */
  setDraft(text: string): void;
  /** Encrypt it now and have the server send it at `at`. Needs a connection; throws the server's refusal. */
  schedule(input: SendInput, at: Date, options?: SendOptions): Promise<ScheduledItem>;

  /** Encrypt and upload. The answer goes into `send({ text, media })`. */
  upload(data: Blob | Uint8Array, options?: UploadOptions): Promise<import("./body").MediaReference>;
  /** Fetch and decrypt. Throws DecryptionError where the bytes are not those that were sent. */
  download(media: import("./body").MediaReference): Promise<Uint8Array>;

  /** Read the members anew. */
  refreshMembers(): Promise<readonly MemberView[]>;
  /** Of a group, by its admins. Throws RequestError (`forbidden`, …). */
  addMembers(userIds: readonly string[]): Promise<void>;
  /** Of a group, by its admins. What they have already read stays with them. */
  removeMember(userId: string): Promise<void>;
  /** Of a group, by its owner. */
  setRole(userId: string, role: MemberRole): Promise<void>;
  /** Delete a group, by its owner: everybody is removed. Throws RequestError (`forbidden`, …). */
  delete(): Promise<void>;
  /** Leave a group. What was said before can still be read. */
  leave(): Promise<void>;
  /** A key of `settings` replaces, null removes. */
  update(settings: Readonly<Record<string, unknown>>): Promise<void>;
  /** What became of one's own message at each recipient. */
  delivery(messageId: string): Promise<DeliveryReport>;
  /** Check what is here against the server's hash chain. */
  verify(): Promise<Integrity>;
}
