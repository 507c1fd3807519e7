// Made by `manage.py sdk_types` from the server's code. Do not edit: a test fails when this differs.

/** An object whose fields the protocol leaves open. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** The codes of docs/protocol.md §6: their HTTP status, and when to ask again (seconds). */
export const ERRORS = {
  bad_request: { status: 400, retryAfter: null },
  client_random_reused: { status: 409, retryAfter: null },
  edit_conflict: { status: 409, retryAfter: null },
  forbidden: { status: 403, retryAfter: null },
  invalid_media: { status: 422, retryAfter: null },
  invalid_signature: { status: 422, retryAfter: null },
  invalid_target: { status: 422, retryAfter: null },
  not_found: { status: 404, retryAfter: null },
  overloaded: { status: 503, retryAfter: 1.0 },
  quarantined: { status: 403, retryAfter: null },
  rate_limited: { status: 429, retryAfter: 1.0 },
  stale_membership: { status: 409, retryAfter: null },
  temporary_unavailable: { status: 503, retryAfter: 30.0 },
  timeout: { status: 503, retryAfter: 5.0 },
  too_large: { status: 413, retryAfter: null },
  unauthenticated: { status: 401, retryAfter: null },
} as const;

export type ErrorCode = keyof typeof ERRORS;

/** Defaults of the server's limits; sizes in bytes. */
export const LIMITS = { contentBytes: 65536, metadataBytes: 4096, emojiBytes: 64, mediaBytes: 26214400, acksPerRequest: 256, pageMax: 200, pageDefault: 50, ttlMinSeconds: 1, ttlMaxSeconds: 2419200, windowEntries: 256, windowBytes: 1048576, requestSeconds: 9 } as const;

// --- What a client sends

/** `send_message` and `POST messages`; on a conversation topic `conversationId` may be left out. */
export interface SendMessage {
  readonly conversationId?: string;
  readonly type: "edit" | "ephemeral" | "media" | "reaction" | "system" | "text";
  readonly content?: string;
  readonly clientRandom: number;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly replyTo?: string | null;
  readonly target?: string | null;
  readonly mediaId?: string | null;
  readonly ttl?: number | null;
  readonly ttlStart?: "read" | "send";
  readonly signature?: string | null;
  readonly membersVersion?: number | null;
}

/** `edit_message` and `PUT messages/{id}`: `baseId` is what it was made from, as `If-Match` says on REST. */
export interface EditMessage {
  readonly messageId?: string;
  readonly content?: string;
  readonly clientRandom: number;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly signature?: string | null;
  readonly baseId?: string | null;
}

/** `delete_message`. */
export interface DeleteMessage {
  readonly messageId: string;
  readonly forEveryone: boolean;
}

/** `react`: signed with the metadata `{"emoji": …, "remove": true or false}` and empty content. */
export interface React {
  readonly messageId: string;
  readonly emoji: string;
  readonly remove?: boolean;
  readonly clientRandom: number;
  readonly signature?: string | null;
}

/** One cumulative acknowledgement: everything of the conversation up to and including `up_to`. */
export interface Ack {
  readonly conversationId: string;
  readonly upTo: number;
}

/** `message_received`, `message_read` in their three forms; `POST acks` adds `status`. */
export interface Acks {
  readonly conversationId?: string | null;
  readonly upTo?: number | null;
  readonly acks?: readonly Ack[] | null;
  readonly messageIds?: readonly string[] | null;
  readonly status?: "read" | "received";
}

/** `typing`. */
export interface Typing {
  readonly conversationId?: string;
  readonly active: boolean;
}

/** `renew_token`: a newer token of the same user and device; the socket goes on until that expires. */
export interface RenewToken {
  readonly token: string;
}

/** `history` and `GET conversations/{id}/messages`: `before` and `after` are seqs and exclude each other. */
export interface History {
  readonly conversationId?: string;
  readonly before?: number | null;
  readonly after?: number | null;
  readonly limit?: number;
}

/** The payload of a join of either topic. */
export interface Join {
  readonly cursors?: Readonly<Record<string, number>>;
  readonly epoch?: string | null;
  readonly binary?: boolean;
}

/** `POST sync`. */
export interface Sync {
  readonly cursors?: Readonly<Record<string, number>>;
  readonly limit?: number;
  readonly epoch?: string | null;
}

/** `POST conversations`. */
export interface CreateConversation {
  readonly type: "direct" | "group";
  readonly members: readonly string[];
  readonly id?: string | null;
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** `POST messages/scheduled`: a send, and the time for it. */
export interface ScheduleMessage {
  readonly conversationId?: string;
  readonly type: "edit" | "ephemeral" | "media" | "reaction" | "system" | "text";
  readonly content?: string;
  readonly clientRandom: number;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly replyTo?: string | null;
  readonly target?: string | null;
  readonly mediaId?: string | null;
  readonly ttl?: number | null;
  readonly ttlStart?: "read" | "send";
  readonly signature?: string | null;
  readonly membersVersion?: number | null;
  readonly scheduledFor: string;
}

/** `PUT messages/scheduled/{id}`: another time, another send (all of it, known by `content`), or both. */
export interface UpdateScheduled {
  readonly scheduledFor?: string | null;
  readonly content?: string | null;
}

/** `PUT messages/drafts/{conversationId}`, and with `conversationId` `POST messages/drafts`. */
export interface SaveDraft {
  readonly content: string;
  readonly revision?: number | null;
}

/** `POST devices`: keys are base64 of 32 bytes. Without `id` it is the device of the token. */
export interface RegisterDevice {
  readonly publicKey: string;
  readonly id?: string | null;
  readonly encryptionKey?: string | null;
  readonly name?: string | null;
  readonly platform?: string | null;
  readonly pushToken?: string | null;
}

/** `PATCH devices/{id}`: what is absent stays as it is. */
export interface UpdateDevice {
  readonly name?: string | null;
  readonly platform?: string | null;
  readonly pushToken?: string | null;
  readonly publicKey?: string | null;
  readonly encryptionKey?: string | null;
}

/** Whether the user wants pushes: at all, and none until a moment. What is absent is the default. */
export interface NotificationChoice {
  readonly enabled?: boolean;
  readonly mutedUntil?: string | null;
}

/** The user's choice for all conversations, where `enabled` or `mutedUntil` is there, and for single ones. */
export interface UpdateNotifications {
  readonly enabled?: boolean | null;
  readonly mutedUntil?: string | null;
  readonly conversations?: Readonly<Record<string, NotificationChoice>>;
}

/** `PATCH settings`: what is absent stays as it is. */
export interface UpdateSettings {
  readonly readReceipts?: boolean | null;
  readonly shareLastSeen?: boolean | null;
  readonly notifications?: UpdateNotifications | null;
}

/** `POST conversations/{id}/members`. */
export interface AddMembers {
  readonly userIds: readonly string[];
}

/** `PATCH conversations/{id}/members/{userId}`. */
export interface UpdateMember {
  readonly role: "admin" | "member" | "owner";
}

/** `PATCH conversations/{id}`: a key of `settings` replaces, null removes. */
export interface UpdateConversation {
  readonly settings: Readonly<Record<string, unknown>>;
}

// --- What the server answers and pushes

/** One entry of a conversation's log, as `new_message` and history carry it (docs/protocol.md §2). */
export interface Entry {
  readonly messageId: string;
  readonly conversationId: string;
  readonly seq: number;
  readonly senderId: string;
  readonly senderDeviceId: string | null;
  readonly type: "edit" | "ephemeral" | "media" | "reaction" | "system" | "text";
  readonly content: string;
  readonly metadata: JsonObject;
  readonly replyTo: string | null;
  readonly target: string | null;
  readonly mediaId: string | null;
  readonly clientRandom: number | null;
  readonly sentAt: string;
  readonly editedAt: string | null;
  readonly expiresAt: string | null;
  readonly signature: string | null;
  readonly ttlAfterRead?: number | null;
}

/** The edit that a message's current content is of: what its signature was made with, and its ETag. */
export interface EditReference {
  readonly messageId: string;
  readonly seq: number;
  readonly senderDeviceId: string | null;
  readonly clientRandom: number | null;
}

/** One emoji under a message: how many users, the first of them, and whether the asking user is among all. */
export interface ReactionView {
  readonly emoji: string;
  readonly count: number;
  readonly userIds: readonly string[];
  readonly mine: boolean;
}

/** An entry as it is now, as history and `GET messages/{id}` show it: content, metadata and signature of the latest edit, and the reactions. Nothing is left of what expired or was deleted but its place. */
export interface MessageView {
  readonly messageId: string;
  readonly conversationId: string;
  readonly seq: number;
  readonly senderId: string;
  readonly senderDeviceId: string | null;
  readonly type: "edit" | "ephemeral" | "media" | "reaction" | "system" | "text";
  readonly content: string;
  readonly metadata: JsonObject;
  readonly replyTo: string | null;
  readonly target: string | null;
  readonly mediaId: string | null;
  readonly clientRandom: number | null;
  readonly sentAt: string;
  readonly editedAt: string | null;
  readonly expiresAt: string | null;
  readonly signature: string | null;
  readonly ttlAfterRead?: number | null;
  readonly edit?: EditReference | null;
  readonly reactions?: readonly ReactionView[];
}

/** `delivery_status_update` and `read_status_update` (docs/protocol.md §2): cumulative up to `up_to`. */
export interface Receipt {
  readonly conversationId: string;
  readonly recipientId: string;
  readonly status: "delivered" | "read";
  readonly messageIds: readonly string[];
  readonly upTo: number;
  readonly timestamp: string;
}

/** What the media service says of a medium: its size in bytes and the SHA-256 of its (encrypted) bytes. */
export interface MediaMetadata {
  readonly mediaId: string;
  readonly size: number;
  readonly sha256: string;
  readonly createdAt: string;
}

/** The answer to a send: `sent` and `duplicate` mean committed, `pending` means queued (docs/protocol.md §2). */
export interface SendOutcome {
  readonly status: "duplicate" | "pending" | "sent";
  readonly messageId: string;
  readonly conversationId: string;
  readonly seq?: number | null;
  readonly sentAt?: string | null;
  readonly expiresAt?: string | null;
  readonly mediaMetadata?: MediaMetadata | null;
}

/** A conversation as one of its members sees it (docs/protocol.md §7 `conversations`). */
export interface ConversationView {
  readonly id: string;
  readonly type: "direct" | "group";
  readonly lastSeq: number;
  readonly lastSentAt: string | null;
  readonly unread: number;
  readonly membersVersion: number;
  readonly memberCount: number;
  readonly role: "admin" | "member" | "owner";
  readonly joinedSeq: number;
  readonly leftSeq: number | null;
  readonly deliveredSeq: number;
  readonly readSeq: number;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly createdAt: string;
  readonly createdBy: string;
  readonly peerId: string | null;
}

/** A member as the other members see them (docs/protocol.md §7 `conversations/{id}/members`). */
export interface MemberView {
  readonly userId: string;
  readonly role: "admin" | "member" | "owner";
  readonly joinedSeq: number;
  readonly joinedAt: string;
  readonly online?: boolean | null;
  readonly lastSeen?: string | null;
}

/** How far a member received and read, as the asking member may know it (docs/protocol.md §7 `…/receipts`). */
export interface MemberReceipt {
  readonly userId: string;
  readonly deliveredSeq: number;
  readonly readSeq: number;
}

/** One recipient's status of one message, for its sender (docs/protocol.md §7 `messages/{id}/delivery`). */
export interface DeliveryView {
  readonly userId: string;
  readonly status: "delivered" | "expired" | "pending" | "read";
  readonly deliveredAt: string | null;
  readonly readAt: string | null;
}

/** How many recipients a message has, how many it reached, how many of these are known to have read it, and at how many it expired first. */
export interface DeliveryCounts {
  readonly recipients: number;
  readonly delivered: number;
  readonly read: number;
  readonly expired: number;
}

/** Of how many of the recipients' devices that had a message it is known to be erased. */
export interface ErasureView {
  readonly reached: number;
  readonly erased: number;
}

/** A user whom the asking user wants nothing from (docs/protocol.md §7 `blocks`). */
export interface BlockedUser {
  readonly userId: string;
  readonly blockedAt: string;
}

/** A device as its own user sees it. The push token is never shown, only whether there is one. */
export interface DeviceView {
  readonly id: string;
  readonly userId: string;
  readonly name: string;
  readonly platform: string;
  readonly publicKey: string | null;
  readonly encryptionKey: string | null;
  readonly hasPushToken: boolean;
  readonly createdAt: string;
  readonly lastSeenAt: string;
  readonly revokedAt: string | null;
  readonly current: boolean;
}

/** A device as the other members see it: whom to encrypt for, and nothing more. */
export interface PeerDevice {
  readonly id: string;
  readonly userId: string;
  readonly publicKey: string | null;
  readonly encryptionKey: string | null;
}

/** `GET conversations/{id}/devices`: the live members' live devices, as of `members_version`. */
export interface ConversationDevices {
  readonly membersVersion: number;
  readonly devices: readonly PeerDevice[];
}

/** What the user chose about pushes, for all conversations and for single ones; mutes that are over are left out. */
export interface NotificationSettings {
  readonly enabled: boolean;
  readonly mutedUntil: string | null;
  readonly conversations: Readonly<Record<string, NotificationChoice>>;
}

/** `GET settings`. */
export interface UserSettingsView {
  readonly readReceipts: boolean;
  readonly shareLastSeen: boolean;
  readonly notifications?: NotificationSettings;
}

/** A scheduled message as its author's devices see it; `reason` is the error's code where it failed. */
export interface ScheduledView {
  readonly id: string;
  readonly conversationId: string;
  readonly deviceId: string;
  readonly clientRandom: number;
  readonly scheduledFor: string;
  readonly state: "failed" | "needs_reencrypt" | "scheduled" | "sent";
  readonly reason: string | null;
  readonly messageId: string | null;
  readonly membersVersion: number;
  readonly createdAt: string;
  readonly firedAt: string | null;
  readonly type: string | null;
  readonly content: string | null;
  readonly metadata: Readonly<Record<string, unknown>> | null;
  readonly replyTo: string | null;
  readonly mediaId: string | null;
  readonly ttl: number | null;
  readonly ttlStart: string | null;
  readonly signature: string | null;
}

/** A page, the earliest time first; with `next` there is another one, at `?cursor=<next>`. */
export interface ScheduledList {
  readonly scheduled: readonly ScheduledView[];
  readonly next?: string | null;
}

/** A draft: an opaque blob. `revision` grows with each change, also past a deletion. */
export interface DraftView {
  readonly conversationId: string;
  readonly content: string;
  readonly revision: number;
  readonly deviceId: string;
  readonly changedAt: string;
}

/** The drafts of the user, the latest changed first; with `next` there are more, at `?cursor=<next>`. */
export interface DraftList {
  readonly drafts: readonly DraftView[];
  readonly next?: string | null;
}

/** Entries as they are now, in ascending seq; `has_more` says whether there are more in the direction that was asked for. */
export interface HistoryPage {
  readonly messages: readonly MessageView[];
  readonly hasMore: boolean;
  readonly degraded?: boolean;
}

/** Where the hash chain is on: `head` is the hash of the page's last entry, `seq`; `links` has one for each entry, null for those of a time when it was off. */
export interface Chain {
  readonly seq: number;
  readonly head: string;
  readonly links: readonly (string | null)[];
}

/** One conversation of a page: entries after the device's position, and how far each member is. */
export interface SyncedConversation {
  readonly id: string;
  readonly messages: readonly Entry[];
  readonly lastSeq: number;
  readonly hasMore: boolean;
  readonly receipts: readonly MemberReceipt[];
  readonly resyncRequired?: string | null;
  readonly chain?: Chain | null;
}

/** A page of a synchronisation: `complete` where nothing is left after it. */
export interface SyncPage {
  readonly epoch: string;
  readonly conversations: readonly SyncedConversation[];
  readonly personal: Readonly<Record<string, unknown>>;
  readonly complete: boolean;
  readonly resyncRequired?: string | null;
}

/** A page; with `next` there is another one, at `?cursor=<next>`. */
export interface ConversationList {
  readonly conversations: readonly ConversationView[];
  readonly next?: string | null;
}

/** A page; with `next` there is another one, at `?cursor=<next>`. */
export interface BlockList {
  readonly blocks: readonly BlockedUser[];
  readonly next?: string | null;
}

/** All current members. */
export interface MemberList {
  readonly members: readonly MemberView[];
}

/** How far each current member received and read. */
export interface ReceiptList {
  readonly receipts: readonly MemberReceipt[];
}

/** What became of one message at each of its recipients. */
export interface DeliveryList {
  readonly messageId: string;
  readonly recipients: readonly DeliveryView[];
  readonly counts: DeliveryCounts;
  readonly erasure?: ErasureView | null;
  readonly degraded?: boolean;
}

/** The reactions to one message, in the order in which they began. */
export interface ReactionList {
  readonly reactions: readonly ReactionView[];
}

/** The caller's devices. */
export interface DeviceList {
  readonly devices: readonly DeviceView[];
}

/** `POST dev/tokens`. */
export interface DevToken {
  readonly token: string;
  readonly userId: string;
  readonly deviceId: string;
}

/** One of `GET dev/people`. */
export interface DevPersonView {
  readonly userId: string;
  readonly name: string;
}

/** `POST socket-tickets`: `expires_in` is in seconds. */
export interface Ticket {
  readonly ticket: string;
  readonly expiresIn: number;
}
