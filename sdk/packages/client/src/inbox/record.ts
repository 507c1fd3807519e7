/** One conversation as the inbox knows it: what the server said of it, and what arrived since. */
import { isMessage } from "../conversation/fold";
import type { InboxConversation } from "../types/conversation";
import type { ConversationView, Entry } from "../types/wire";

export class InboxRecord {
  unread: number;
  readSeq: number;
  /** Up to which entry what the server said of it is true. */
  asOf: number;
  private made: InboxConversation | null = null;

  constructor(
    public view: ConversationView,
    /** What the rest of the client knows of it; `silenced`: unread ones that are not shown. */
    private readonly beside: (readSeq: number) => Pick<InboxConversation, "preview" | "typing" | "draft"> & { readonly silenced: number },
  ) {
    this.unread = view.unread;
    this.readSeq = view.readSeq;
    this.asOf = view.lastSeq;
  }

  get info(): InboxConversation {
    this.made ??= this.make();
    return this.made;
  }

  get lastAt(): number {
    return Date.parse(this.view.lastSentAt ?? this.view.createdAt);
  }

  stale(): void {
    this.made = null;
  }

  /** The server said how it is now. Entries that came meanwhile are not taken back. */
  renew(view: ConversationView): void {
    const isNewer = view.lastSeq >= this.view.lastSeq;
    this.asOf = Math.max(this.asOf, view.lastSeq);
    this.view = isNewer ? view : { ...view, lastSeq: this.view.lastSeq, lastSentAt: this.view.lastSentAt };
    if (isNewer && view.readSeq >= this.readSeq) this.unread = view.unread;
    this.readSeq = Math.max(this.readSeq, view.readSeq);
    this.stale();
  }

  /** An entry arrived. */
  receive(entry: Entry, self: string): void {
    if (entry.seq <= this.view.lastSeq) return;
    this.view = { ...this.view, lastSeq: entry.seq, lastSentAt: entry.sentAt };
    if (isMessage(entry) && entry.senderId !== self && entry.seq > this.readSeq) this.unread += 1;
    if (entry.type === "system") this.membership(entry, self);
    this.stale();
  }

  /** Read up to there, here or on another device; `left` is how many unread ones are known to be after it. */
  read(upTo: number, left: number): boolean {
    if (upTo <= this.readSeq) return false;
    this.readSeq = upTo;
    this.unread = upTo >= this.view.lastSeq ? 0 : Math.min(this.unread, left);
    this.stale();
    return true;
  }

  private membership(entry: Entry, self: string): void {
    const { event, userIds } = entry.metadata as { event?: string; userIds?: string[] };
    if (userIds?.includes(self) !== true) return;
    if (event === "member_removed") this.view = { ...this.view, leftSeq: entry.seq };
    if (event === "member_added") this.view = { ...this.view, leftSeq: null };
  }

  private make(): InboxConversation {
    const { id, type, peerId, memberCount, role, settings, lastSeq, leftSeq } = this.view;
    const base = { id, type, peerId: peerId ?? null, memberCount, role, settings, lastSeq };
    const { silenced, ...beside } = this.beside(this.readSeq);
    return { ...base, lastAt: this.lastAt, unread: Math.max(0, this.unread - silenced), left: leftSeq != null, ...beside };
  }
}
