/** What a record becomes on the wire: the request, and the entry that the server makes of it. */
import type { Identity } from "../types/connection";
import type { Entry, SendOutcome } from "../types/wire";
import type { OutboxRecord } from "./record";

/** Whether it waits for somebody else: a person, or the server's queue. */
export function isIdle(record: OutboxRecord): boolean {
  return record.state === "failed" || record.state === "accepted";
}

export function typeOf({ kind, body, options }: OutboxRecord): Entry["type"] {
  if (kind === "edit") return "edit";
  if (kind === "react") return "reaction";
  if (body?.media !== undefined) return "media";
  return options.ttl === undefined ? "text" : "ephemeral";
}

/** A reaction's metadata is what it says; both fields are signed. */
export function metadataOf({ kind, options }: OutboxRecord): Readonly<Record<string, unknown>> {
  return kind === "react" ? { emoji: options.emoji ?? "", remove: options.remove ?? false } : (options.metadata ?? {});
}

/** The event and its payload. What is not there is left out. */
export function requestOf(record: OutboxRecord): [event: string, payload: object] {
  const { kind, conversationId, clientRandom, target, options, body, frozen } = record;
  const signature = frozen?.signature ?? undefined;
  if (kind === "delete") return ["delete_message", { messageId: target, forEveryone: options.forEveryone ?? false }];
  if (kind === "react") {
    return ["react", { messageId: target, emoji: options.emoji, remove: options.remove ?? false, clientRandom, signature }];
  }
  const content = frozen?.content;
  const metadata = options.metadata;
  if (kind === "edit") return ["edit_message", { messageId: target, content, clientRandom, metadata, signature }];
  const membersVersion = frozen?.membersVersion ?? undefined;
  const mediaId = body?.media?.mediaId;
  const { replyTo, ttl, ttlStart } = options;
  return ["send_message", { conversationId, type: typeOf(record), content, clientRandom, metadata, replyTo, mediaId, ttl, ttlStart, signature, membersVersion }];
}

/**
 * The entry as `new_message` would carry it: the socket that sent gets none. Null where nothing was appended (a
 * deletion, which is told by its own entry; a reaction that was there already).
 */
export function entryOf(record: OutboxRecord, outcome: SendOutcome, { userId, deviceId }: Identity): Entry | null {
  const { seq, sentAt } = outcome;
  if (record.kind === "delete" || seq == null || sentAt == null) return null;
  const { conversationId, clientRandom, target, options, body, frozen } = record;
  const type = typeOf(record);
  const isMessage = record.kind === "send";
  return {
    messageId: outcome.messageId,
    conversationId,
    seq,
    senderId: userId,
    senderDeviceId: deviceId,
    type,
    content: frozen?.content ?? "",
    metadata: metadataOf(record),
    replyTo: isMessage ? (options.replyTo ?? null) : null,
    target: isMessage ? null : target,
    mediaId: isMessage ? (body?.media?.mediaId ?? null) : null,
    clientRandom,
    sentAt,
    editedAt: null,
    expiresAt: outcome.expiresAt ?? null,
    signature: frozen?.signature ?? null,
    ...(isMessage && options.ttlStart === "read" && options.ttl !== undefined ? { ttlAfterRead: options.ttl } : {}),
  };
}
