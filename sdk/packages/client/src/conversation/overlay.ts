/** What the outbox holds, as the timeline shows it: messages at the end, changes upon the messages they are of. */
import type { OutboxRecord } from "../outbox/record";
import { typeOf } from "../outbox/request";
import type { Identity } from "../types/connection";
import type { MessageItem, MessageStatus, Reaction } from "../types/timeline";

const STATUS: Readonly<Record<OutboxRecord["state"], MessageStatus>> = {
  waiting: "waiting",
  sending: "sending",
  accepted: "pending",
  parked: "waiting",
  failed: "failed",
};

export function statusOfRecord(record: OutboxRecord): MessageStatus {
  return STATUS[record.state];
}

const pending = new WeakMap<OutboxRecord, MessageItem>();

/** A message that is not stored yet. The same object as long as the record is the same. */
export function pendingItem(record: OutboxRecord, { userId, deviceId }: Identity): MessageItem {
  const known = pending.get(record);
  if (known !== undefined) return known;
  const { body, options } = record;
  const item: MessageItem = {
    kind: "message",
    key: `${userId}/${record.clientRandom}`,
    messageId: null,
    seq: null,
    conversationId: record.conversationId,
    senderId: userId,
    senderDeviceId: deviceId,
    mine: true,
    type: typeOf(record) as MessageItem["type"],
    at: record.writtenAt,
    body,
    text: body?.text ?? null,
    media: body?.media ?? null,
    metadata: options.metadata ?? {},
    replyTo: options.replyTo ?? null,
    edited: false,
    editedAt: null,
    gone: null,
    expiresAt: null,
    ttlAfterRead: options.ttl ?? null,
    reactions: [],
    security: "verified",
    status: statusOfRecord(record),
    failure: record.failure,
    nextTryAt: record.nextTryAt,
    attempts: record.attempts,
    outboxId: record.id,
    changing: false,
  };
  pending.set(record, item);
  return item;
}

/** A message with the changes that are on their way. A change that was refused for good shows its failure alone. */
export function overlay(item: MessageItem, records: readonly OutboxRecord[], self: string): MessageItem {
  let shown = item;
  for (const record of records) {
    const { failure, nextTryAt, attempts } = record;
    const tries = { failure, nextTryAt, attempts, outboxId: record.id };
    if (record.state === "failed") shown = { ...shown, ...tries };
    else if (record.kind === "edit") shown = { ...shown, ...tries, body: record.body, text: record.body?.text ?? null, edited: true, changing: true };
    else if (record.kind === "delete") shown = { ...shown, ...tries, gone: "deleted", body: null, text: null, media: null, reactions: [], changing: true };
    else if (record.kind === "react") shown = { ...shown, ...tries, reactions: withReaction(shown.reactions, record, self), changing: true };
  }
  return shown;
}

function withReaction(reactions: readonly Reaction[], { options }: OutboxRecord, self: string): Reaction[] {
  const emoji = options.emoji ?? "";
  const found = reactions.find((reaction) => reaction.emoji === emoji) ?? { emoji, count: 0, userIds: [], mine: false };
  const add = options.remove !== true;
  if (found.mine === add) return [...reactions];
  const userIds = add ? [...found.userIds, self] : found.userIds.filter((id) => id !== self);
  const changed = { emoji, count: found.count + (add ? 1 : -1), userIds, mine: add };
  const others = reactions.map((reaction) => (reaction === found ? changed : reaction));
  return (others.includes(changed) ? others : [...others, changed]).filter((reaction) => reaction.count > 0);
}
