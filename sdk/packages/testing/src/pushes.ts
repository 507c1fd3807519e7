/** The events of a socket, as docs/protocol.md §4 has them. */
import type { Entry, ErrorCode, SendOutcome } from "@whispr/client";
import { uuid } from "./builders";
import type { FakeConversation } from "./log";
import type { FakeServer } from "./server";
import type { FakeSocket } from "./socket";

type Payload = Readonly<Record<string, unknown>>;
/** What is not read by then vanishes all the same. */
const UNREAD_SECONDS = 604_800;
export type Answer = { status: "ok" | "error"; response: object };

/** What the server does and answers. With `isPending`, a send waits for `settle`. */
export function handlePush(server: FakeServer, socket: FakeSocket, event: string, payload: Payload, isPending: boolean): Answer {
  const refuse = (code: ErrorCode): Answer => ({ status: "error", response: server.refusal(code) });
  const userId = socket.device?.userId ?? "";
  const named = server.conversations.get(String(payload["conversationId"] ?? ""));
  const conversation = named?.members.has(userId) ? named : undefined;
  switch (event) {
    case "send_message":
      return conversation === undefined ? refuse("not_found") : send(server, socket, conversation, payload, isPending);
    case "edit_message":
    case "react":
      return change(server, socket, event, payload);
    case "delete_message":
      return remove(server, socket, payload);
    case "message_received":
    case "message_read":
      return acks(server, userId, payload, event === "message_read" ? "read" : "delivered");
    case "renew_token":
      return { status: "ok", response: { expiresAt: new Date(Date.now() + 3_600_000).toISOString() } };
    case "typing":
      if (conversation === undefined) return refuse("not_found");
      for (const other of server.socketsOf(conversation)) {
        if (other.device?.userId !== userId) server.pushTo(other, "typing", { conversationId: conversation.id, userId, active: payload["active"] });
      }
      return { status: "ok", response: {} };
    case "history":
      return conversation === undefined ? refuse("not_found") : { status: "ok", response: conversation.page(userId, payload) };
    default:
      return { status: "error", response: { reason: "unmatched event" } };
  }
}

function send(server: FakeServer, socket: FakeSocket, conversation: FakeConversation, payload: Payload, isPending: boolean): Answer {
  const { type, content, metadata, replyTo, mediaId, ttl, membersVersion } = payload;
  const fields = { type, content, metadata: metadata ?? {}, replyTo: replyTo ?? null, mediaId: mediaId ?? null };
  const before = known(server, socket, payload, { ...fields, conversationId: conversation.id });
  if (before !== null) return before;
  if (typeof membersVersion === "number" && membersVersion !== conversation.membersVersion) {
    return { status: "error", response: server.refusal("stale_membership", undefined, { membersVersion: conversation.membersVersion }) };
  }
  const isFromReading = typeof ttl === "number" && payload["ttlStart"] === "read";
  const seconds = isFromReading ? UNREAD_SECONDS : ttl;
  const expiresAt = typeof seconds === "number" ? new Date(Date.now() + seconds * 1_000).toISOString() : null;
  const given = { ...(fields as Partial<Entry>), expiresAt, ...(isFromReading ? { ttlAfterRead: ttl } : {}), messageId: uuid() };
  if (!isPending) return store(server, socket, conversation, payload, given, { ...fields, conversationId: conversation.id });
  server.queue(() => {
    if (known(server, socket, payload, { ...fields, conversationId: conversation.id }) !== null) return;
    store(server, null, conversation, payload, given, { ...fields, conversationId: conversation.id }, socket);
  });
  return { status: "ok", response: { status: "pending", messageId: given.messageId, conversationId: conversation.id } };
}

function change(server: FakeServer, socket: FakeSocket, event: string, payload: Payload): Answer {
  const found = locate(server, socket, payload);
  if (found === null) return { status: "error", response: server.refusal("not_found") };
  const [conversation, target] = found;
  if (target.content === "") return { status: "error", response: server.refusal("edit_conflict") };
  const isEdit = event === "edit_message";
  if (isEdit && target.senderId !== socket.device?.userId) return { status: "error", response: server.refusal("forbidden") };
  const { content, emoji, remove, metadata } = payload;
  const fields: Partial<Entry> = isEdit
    ? { type: "edit", target: target.messageId, content: String(content), metadata: (metadata ?? {}) as Entry["metadata"] }
    : { type: "reaction", target: target.messageId, content: "", metadata: { emoji, remove: remove ?? false } };
  return known(server, socket, payload, fields) ?? store(server, socket, conversation, payload, fields, fields);
}

function remove(server: FakeServer, socket: FakeSocket, { messageId, forEveryone }: Payload): Answer {
  const found = locate(server, socket, { messageId });
  if (found === null) return { status: "error", response: server.refusal("not_found") };
  const [conversation, target] = found;
  const userId = socket.device?.userId ?? "";
  if (forEveryone !== true) {
    for (const other of server.sockets) {
      if (other !== socket && other.device?.userId === userId) server.pushTo(other, "personal_update", { kind: "hidden", messageIds: [messageId] });
    }
  } else if (target.content !== "") {
    conversation.erase(target.messageId);
    server.append(conversation, { type: "system", content: "", metadata: { event: "message_deleted", messageId, by: userId }, clientRandom: null, senderId: userId });
  }
  return { status: "ok", response: { messageId } };
}

function acks(server: FakeServer, userId: string, payload: Payload, status: "delivered" | "read"): Answer {
  const list = (payload["acks"] ?? [payload]) as { conversationId: string; upTo: number }[];
  for (const { conversationId, upTo } of list) {
    const conversation = server.conversations.get(conversationId);
    if (conversation !== undefined && upTo <= conversation.entries.length) server.acknowledge(conversation, userId, upTo, status);
  }
  return { status: "ok", response: {} };
}

function locate(server: FakeServer, socket: FakeSocket, { messageId }: Payload): [FakeConversation, Entry] | null {
  for (const conversation of server.of(socket.device?.userId ?? "")) {
    const entry = conversation.find(String(messageId));
    if (entry !== undefined) return [conversation, entry];
  }
  return null;
}

/** What was stored under this key before; null for a new one. */
function known(server: FakeServer, socket: FakeSocket, payload: Payload, fields: object): Answer | null {
  const before = server.keys.get(`${socket.device?.userId}/${String(payload["clientRandom"])}`);
  if (before === undefined) return null;
  if (before.fingerprint !== JSON.stringify(fields)) return { status: "error", response: server.refusal("client_random_reused") };
  return { status: "ok", response: { ...before.outcome, status: "duplicate" } };
}

/** Append, and remember the key. The entry goes to everybody but `origin`; the one that waited in the queue to all. */
function store(server: FakeServer, origin: FakeSocket | null, conversation: FakeConversation, payload: Payload, given: Partial<Entry>, fields: object, sender = origin): Answer {
  const { userId = "", deviceId = "" } = sender?.device ?? {};
  const clientRandom = Number(payload["clientRandom"]);
  const signature = typeof payload["signature"] === "string" ? payload["signature"] : null;
  const entry = server.append(conversation, { ...given, senderId: userId, senderDeviceId: deviceId, clientRandom, signature }, origin);
  const { messageId, conversationId, seq, sentAt, expiresAt } = entry;
  const outcome: SendOutcome = { status: "sent", messageId, conversationId, seq, sentAt, ...(expiresAt === null ? {} : { expiresAt }) };
  server.keys.set(`${userId}/${clientRandom}`, { fingerprint: JSON.stringify(fields), outcome });
  return { status: "ok", response: outcome };
}
