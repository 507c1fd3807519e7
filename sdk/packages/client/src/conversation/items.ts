/** The items of a conversation's timeline, made of its log and of what the outbox holds. Each is made anew only where it changed. */
import type { OutboxRecord } from "../outbox/record";
import type { Identity } from "../types/connection";
import type { MessageItem, NoticeItem, TimelineItem } from "../types/timeline";
import type { Entry } from "../types/wire";
import { fold, isMessage, targetsOf } from "./fold";
import type { Log, Placed } from "./log";
import type { Opener } from "./opener";
import { overlay, pendingItem } from "./overlay";
import type { Summary } from "./receipts";

/** What the log's reading shows as a line of its own; others say nothing by themselves. */
const SILENT = new Set(["message_deleted", "message_expired", "withheld"]);

export class Items {
  private readonly made = new Map<string, TimelineItem>();
  private readonly changes = new Map<string, Entry[]>();
  private readonly hidden = new Set<string>();
  /** Places of messages whose time begins with their reading, and when it ends, in ms since 1970, of those that were read. */
  private readonly unread = new Set<number>();
  private readonly ends = new Map<string, number>();
  /** When the next message expires, in ms since 1970. */
  nextExpiry: number | null = null;

  constructor(
    private readonly log: Log,
    private readonly opener: Opener,
    private readonly self: () => Identity,
    /** Whether nothing of a sender is shown. */
    private readonly isSilenced: (senderId: string) => boolean,
  ) {}

  /**
   * An entry was added to the log: what it changes is made anew. `isReading`: a page of history is on its way, which may
   * bring the message that is changed as it was before. Otherwise history shows with a message all that changed it, so
   * nothing is kept for one that is not here.
   */
  note(entry: Entry, isReading: boolean): void {
    if (entry.ttlAfterRead != null) this.unread.add(entry.seq);
    for (const target of targetsOf(entry)) {
      if (!isReading && this.log.find(target) === null) continue;
      const known = this.changes.get(target) ?? [];
      // An old change that comes again under its own key is a repetition, whoever repeats it.
      if (!known.some((change) => change.seq === entry.seq || isRepetition(change, entry))) known.push(entry);
      known.sort((one, other) => one.seq - other.seq);
      this.changes.set(target, known);
      this.made.delete(target);
    }
  }

  /** Somebody read up to there, at `at` (ms since 1970): the time of what vanishes after its reading runs from then on. */
  read(userId: string, upTo: number, at: number): void {
    const { userId: self } = this.self();
    for (const seq of this.unread) {
      const entry = seq > upTo ? null : (this.log.at(seq)?.entry ?? null);
      // One's own reading counts for what others wrote, theirs for what oneself wrote.
      if (entry === null || (entry.senderId === self) === (userId === self)) continue;
      this.unread.delete(seq);
      this.ends.set(entry.messageId, at + (entry.ttlAfterRead ?? 0) * 1_000);
      this.made.delete(entry.messageId);
    }
  }

  /** No page is on its way any more: nothing is kept of what is not here. */
  settle(): void {
    for (const target of this.changes.keys()) if (this.log.find(target) === null) this.changes.delete(target);
  }

  stale(messageIds: readonly string[]): void {
    for (const id of messageIds) this.made.delete(id);
  }

  /** Deleted for oneself. */
  hide(messageIds: readonly string[]): void {
    for (const id of messageIds) this.hidden.add(id);
  }

  clear(): void {
    this.made.clear();
    this.unread.clear();
    this.ends.clear();
    this.changes.clear();
  }

  /** These went from the log: nothing of them is kept, nor decrypted any more. */
  drop(messageIds: readonly string[]): void {
    for (const id of messageIds) {
      for (const change of this.changes.get(id) ?? []) this.opener.drop(change.messageId);
      this.changes.delete(id);
      this.ends.delete(id);
      this.made.delete(id);
      this.opener.drop(id);
    }
    for (const seq of this.unread) if (seq < this.log.first) this.unread.delete(seq);
  }

  /** Everything in order; `waiting` is what the outbox holds of this conversation. */
  build(waiting: readonly OutboxRecord[], summary: Summary): TimelineItem[] {
    const items: TimelineItem[] = [];
    const changing = new Map<string, OutboxRecord[]>();
    for (const record of waiting) {
      if (record.target !== null) changing.set(record.target, [...(changing.get(record.target) ?? []), record]);
    }
    this.nextExpiry = null;
    const keys = new Set<string>();
    for (const placed of this.log.all()) {
      const item = this.itemOf(placed, summary);
      // One key is one message: a second one under it is the first again, which only a server could do.
      if (item === null || keys.has(item.key)) continue;
      keys.add(item.key);
      const own = item.messageId === null ? undefined : changing.get(item.messageId);
      items.push(item.kind === "message" && own !== undefined ? overlay(item, own, this.self().userId) : item);
    }
    for (const record of waiting) if (record.kind === "send") items.push(pendingItem(record, this.self()));
    return items;
  }

  /** One message of the log. Null for what is no message, or hidden. */
  find(messageId: string, summary: Summary): MessageItem | null {
    const placed = this.log.find(messageId);
    const item = placed === null ? null : this.itemOf(placed, summary);
    return item?.kind === "message" ? item : null;
  }

  /** The last message that is shown. */
  last(summary: Summary): MessageItem | null {
    for (let seq = this.log.newest; seq >= this.log.first && seq > 0; seq -= 1) {
      const placed = this.log.at(seq);
      const item = placed === null ? null : this.itemOf(placed, summary);
      if (item?.kind === "message") return item;
    }
    return null;
  }

  /** Whether an entry is a message of somebody else's that is shown: what one can have read, or not. */
  isNews(entry: Entry): boolean {
    return isMessage(entry) && entry.senderId !== this.self().userId && !this.isSilenced(entry.senderId);
  }

  private itemOf(placed: Placed, summary: Summary): TimelineItem | null {
    const { entry } = placed;
    if (this.hidden.has(entry.messageId) || (isMessage(entry) && this.isSilenced(entry.senderId))) return null;
    if (entry.type === "system") return this.made.get(entry.messageId) ?? this.keep(noticeOf(entry));
    if (!isMessage(entry)) return null;
    const found = this.made.get(entry.messageId);
    const fresh = found?.kind === "message" && !hasExpired(found) ? found : this.messageOf(placed);
    const reached = fresh.mine ? summary.statusOf(entry.seq) : null;
    // Gone before a device of everybody had it: nobody gets it any more.
    const status = reached === "sent" && fresh.gone === "expired" ? "expired" : reached;
    const item = status === fresh.status ? fresh : { ...fresh, status };
    if (item.expiresAt !== null && item.gone === null) this.nextExpiry = Math.min(this.nextExpiry ?? Infinity, item.expiresAt);
    return item === found ? item : this.keep(item);
  }

  private keep<Item extends TimelineItem | null>(item: Item): Item {
    if (item !== null && item.messageId !== null) this.made.set(item.messageId, item);
    return item;
  }

  private messageOf(placed: Placed): MessageItem {
    const { userId } = this.self();
    const folded = fold(placed, this.changes.get(placed.entry.messageId) ?? [], userId, Date.now());
    const { entry } = folded;
    const end = this.ends.get(entry.messageId) ?? null;
    const gone = folded.gone ?? (end !== null && end <= Date.now() ? ("expired" as const) : null);
    const expiresAt = entry.expiresAt === null ? null : Math.min(Date.parse(entry.expiresAt), end ?? Infinity);
    const { body, security } = gone === null ? this.opener.get(folded) : { body: null, security: "verified" as const };
    return {
      kind: "message",
      key: entry.clientRandom === null ? entry.messageId : `${entry.senderId}/${entry.clientRandom}`,
      messageId: entry.messageId,
      seq: entry.seq,
      conversationId: entry.conversationId,
      senderId: entry.senderId,
      senderDeviceId: entry.senderDeviceId,
      mine: entry.senderId === userId,
      type: entry.type as MessageItem["type"],
      at: Date.parse(entry.sentAt),
      body,
      text: body?.text ?? null,
      media: body?.media ?? null,
      metadata: folded.source.metadata,
      replyTo: entry.replyTo,
      edited: folded.edited,
      editedAt: folded.editedAt === null ? null : Date.parse(folded.editedAt),
      gone,
      expiresAt,
      ttlAfterRead: end === null ? (entry.ttlAfterRead ?? null) : null,
      reactions: gone === null ? folded.reactions : [],
      security,
      status: null,
      failure: null,
      nextTryAt: null,
      attempts: 0,
      outboxId: null,
      changing: false,
    };
  }
}

function isRepetition(one: Entry, other: Entry): boolean {
  return one.clientRandom !== null && one.clientRandom === other.clientRandom && one.senderId === other.senderId && one.type === other.type;
}

function hasExpired(item: MessageItem): boolean {
  return item.gone === null && item.expiresAt !== null && item.expiresAt <= Date.now();
}

function noticeOf(entry: Entry): NoticeItem | null {
  const { event, userIds, by, ...details } = entry.metadata as { event?: string; userIds?: string[]; by?: string };
  if (event === undefined || SILENT.has(event)) return null;
  return {
    kind: "notice",
    key: entry.messageId,
    messageId: entry.messageId,
    seq: entry.seq,
    at: Date.parse(entry.sentAt),
    event,
    userIds: userIds ?? [],
    by: by ?? null,
    details,
  };
}
