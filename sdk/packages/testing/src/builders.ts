/** Everything that a server says, with sensible values; what a test is about it gives itself. */
import { jsonCodec, encodeBase64, type ConversationView, type DeviceView, type Entry, type MemberView, type MessageView, type Receipt, type ScheduledView, type SendOutcome, type ServiceState, type UserSettings } from "@whispr/client";

let drawn = 0;

/** A UUID that no other call gives; the same ones in each run. */
export function uuid(): string {
  drawn += 1;
  return `01900000-0000-7000-8000-${drawn.toString(16).padStart(12, "0")}`;
}

/** The `content` of a text that is not encrypted. */
export function contentOf(text: string): string {
  return encodeBase64(jsonCodec.encode({ text }));
}

const START = Date.parse("2026-01-02T03:04:05Z");

/** A time of entry `seq`, a second after the one before. */
export function timeOf(seq: number): string {
  return new Date(START + seq * 1_000).toISOString();
}

/** An entry of a log: a text, unless it is said otherwise. */
export function buildEntry(given: Partial<Entry> & { readonly text?: string } = {}): Entry {
  const { text = "hello", ...rest } = given;
  const seq = given.seq ?? 1;
  return {
    messageId: uuid(),
    conversationId: uuid(),
    seq,
    senderId: uuid(),
    senderDeviceId: uuid(),
    type: "text",
    content: contentOf(text),
    metadata: {},
    replyTo: null,
    target: null,
    mediaId: null,
    clientRandom: 1_000 + seq,
    sentAt: timeOf(seq),
    editedAt: null,
    expiresAt: null,
    signature: null,
    ...rest,
  };
}

/** An edit of an entry, by its sender. */
export function buildEdit(of: Entry, text: string, given: Partial<Entry> = {}): Entry {
  const { conversationId, senderId, senderDeviceId } = of;
  return buildEntry({ text, conversationId, senderId, senderDeviceId, type: "edit", target: of.messageId, ...given });
}

/** A reaction to an entry; `remove: true` takes it back. */
export function buildReaction(to: Entry, emoji: string, given: Partial<Entry> & { readonly remove?: boolean } = {}): Entry {
  const { remove = false, ...rest } = given;
  const { conversationId, messageId } = to;
  return buildEntry({ conversationId, type: "reaction", target: messageId, content: "", metadata: { emoji, remove }, ...rest });
}

/** What the server writes itself: `message_deleted`, `message_expired`, `member_added`, `member_removed`, … */
export function buildSystem(event: string, details: Readonly<Record<string, unknown>> = {}, given: Partial<Entry> = {}): Entry {
  const nobody = "00000000-0000-0000-0000-000000000000";
  return buildEntry({ type: "system", content: "", metadata: { event, ...details }, senderId: nobody, senderDeviceId: null, clientRandom: null, ...given });
}

/** A message as history shows it now. */
export function buildMessageView(given: Partial<MessageView> & { readonly text?: string } = {}): MessageView {
  return { ...buildEntry(given), edit: given.edit ?? null, reactions: given.reactions ?? [] };
}

/** A conversation as the list of them has it: a direct one, read up to nothing. */
export function buildConversation(given: Partial<ConversationView> = {}): ConversationView {
  return {
    id: uuid(),
    type: "direct",
    lastSeq: 1,
    lastSentAt: timeOf(1),
    unread: 0,
    membersVersion: 1,
    memberCount: 2,
    role: "member",
    joinedSeq: 1,
    leftSeq: null,
    deliveredSeq: 0,
    readSeq: 0,
    settings: {},
    createdAt: timeOf(0),
    createdBy: uuid(),
    peerId: null,
    ...given,
  };
}

/** A member of a conversation. */
export function buildMember(given: Partial<MemberView> = {}): MemberView {
  return { userId: uuid(), role: "member", joinedSeq: 1, joinedAt: timeOf(1), ...given };
}

/** A receipt: everything up to `upTo` was delivered, unless it is said otherwise. */
export function buildReceipt(given: Partial<Receipt> = {}): Receipt {
  return { conversationId: uuid(), recipientId: uuid(), status: "delivered", messageIds: [], upTo: 1, timestamp: timeOf(2), ...given };
}

/** What the server answers to a send. */
export function buildOutcome(given: Partial<SendOutcome> = {}): SendOutcome {
  return { status: "sent", messageId: uuid(), conversationId: uuid(), seq: 1, sentAt: timeOf(1), ...given };
}

/** A device without keys. */
export function buildDevice(given: Partial<DeviceView> = {}): DeviceView {
  const base = { id: uuid(), userId: uuid(), name: "Phone", platform: "web", publicKey: null, encryptionKey: null };
  return { ...base, hasPushToken: false, createdAt: timeOf(0), lastSeenAt: timeOf(1), revokedAt: null, current: false, ...given };
}

/** A scheduled text. */
export function buildScheduled(given: Partial<ScheduledView> = {}): ScheduledView {
  return {
    id: uuid(),
    conversationId: uuid(),
    deviceId: uuid(),
    clientRandom: 1,
    scheduledFor: timeOf(3_600),
    state: "scheduled",
    reason: null,
    messageId: null,
    membersVersion: 1,
    createdAt: timeOf(0),
    firedAt: null,
    type: "text",
    content: contentOf("later"),
    metadata: {},
    replyTo: null,
    mediaId: null,
    ttl: null,
    ttlStart: "send",
    signature: null,
    ...given,
  };
}

/** The pushes that carry none of these, by their event. */
export const buildPush = {
  /** Somebody writes, or stopped. */
  typing: (conversationId: string, userId: string, active = true) => ({ conversationId, userId, active }),
  /** Everything that was missed has been sent. */
  sync_complete: (conversations = 0, messages = 0) => ({ conversations, messages }),
  /** What is held here has to be read anew. */
  resync_required: (reason: "epoch_changed" | "cursor_beyond_head" | "device_expired", conversationId?: string) => ({ reason, ...(conversationId === undefined ? {} : { conversationId }) }),
  /** Which of its parts the server can do without right now. */
  service_state: (state: ServiceState["state"], lost: readonly string[] = []) => ({ state, lost }),
  /** What changed on another device of the user's. */
  personal_update: {
    /** Settings were changed. */
    settings: (settings: Partial<UserSettings>) => ({ kind: "settings", readReceipts: true, shareLastSeen: true, ...settings }),
    /** Messages were deleted for this user alone. */
    hidden: (messageIds: readonly string[]) => ({ kind: "hidden", messageIds }),
    /** A draft was saved; null: taken away. */
    draft: (conversationId: string, text: string | null, revision = 1, deviceId = uuid()) => ({ kind: "draft", conversationId, revision, deviceId, content: text === null ? null : contentOf(text) }),
    /** A scheduled message changed its state. */
    scheduled: (view: ScheduledView) => ({ kind: "scheduled", ...view, content: null, metadata: null, signature: null }),
  },
  /** Who has the conversation open, by user and device. */
  presence_state: (users: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(users).map(([userId, deviceId]) => [userId, { metas: [{ phx_ref: deviceId.slice(-8), deviceId, onlineAt: timeOf(0) }] }])),
} as const;
