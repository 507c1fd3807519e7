/** Values to draw, for the gallery and the tests. */
import type { InboxConversation, MessageItem, NoticeItem, OutboxItem } from "@whispr/client";

export const ME = "a0000000-0000-4000-8000-000000000001";
export const BOB = "b0000000-0000-4000-8000-000000000002";
export const CARA = "c0000000-0000-4000-8000-000000000003";
const NAMES: Readonly<Record<string, string>> = { [ME]: "Ann", [BOB]: "Bob", [CARA]: "Cara Lindqvist" };
export const CONVERSATION = "d0000000-0000-4000-8000-000000000004";
export const START = new Date("2026-03-02T09:30:00").getTime();

export const nameOf = (userId: string): string => NAMES[userId] ?? userId;

export function message(seq: number, change: Partial<MessageItem> = {}): MessageItem {
  const text = change.text === undefined ? `Message ${seq}` : change.text;
  return {
    kind: "message",
    key: `key-${seq}`,
    messageId: `m0000000-0000-4000-8000-${String(seq).padStart(12, "0")}`,
    seq,
    conversationId: CONVERSATION,
    senderId: change.mine === true ? ME : BOB,
    senderDeviceId: null,
    mine: false,
    type: "text",
    at: START + seq * 60_000,
    body: text === null ? null : { text },
    media: null,
    metadata: {},
    replyTo: null,
    edited: false,
    editedAt: null,
    gone: null,
    expiresAt: null,
    ttlAfterRead: null,
    reactions: [],
    security: "verified",
    status: change.mine === true ? "sent" : null,
    failure: null,
    nextTryAt: null,
    attempts: 0,
    outboxId: null,
    changing: false,
    ...change,
    text,
  };
}

export function notice(seq: number, event: string, change: Partial<NoticeItem> = {}): NoticeItem {
  return {
    kind: "notice",
    key: `key-${seq}`,
    messageId: `n0000000-0000-4000-8000-${String(seq).padStart(12, "0")}`,
    seq,
    at: START + seq * 60_000,
    event,
    userIds: [],
    by: ME,
    details: {},
    ...change,
  };
}

export function conversation(id: string, change: Partial<InboxConversation> = {}): InboxConversation {
  return {
    id,
    type: "direct",
    peerId: BOB,
    memberCount: 2,
    role: "member",
    settings: {},
    lastSeq: 3,
    lastAt: START,
    unread: 0,
    left: false,
    preview: null,
    typing: [],
    draft: null,
    ...change,
  };
}

export function waiting(id: string, change: Partial<OutboxItem> = {}): OutboxItem {
  return {
    id,
    kind: "send",
    conversationId: CONVERSATION,
    clientRandom: 1,
    target: null,
    body: { text: "See you at eight?" },
    state: "waiting",
    attempts: 2,
    nextTryAt: null,
    failure: { code: "timeout", message: "", action: "wait", willRetry: true },
    writtenAt: START,
    ...change,
  };
}
