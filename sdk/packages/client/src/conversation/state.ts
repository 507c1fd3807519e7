/** What is known of one conversation: its log as far as it is here, who is where in it, and how it is read. */
import type { Core } from "../core";
import { Observable } from "../observable";
import { LIMITS } from "../protocol.gen";
import type { ConversationSnapshot, Integrity, Presence } from "../types/conversation";
import type { MessageItem } from "../types/timeline";
import type { Entry, MemberView, Receipt } from "../types/wire";
import { isMessage } from "./fold";
import { Items } from "./items";
import { Log } from "./log";
import { Opener } from "./opener";
import { PAGE, Pages } from "./pages";
import { Receipts, type Summary } from "./receipts";
import { Typing } from "./typing";

/** Enough to find a message among them, for the inbox. */
const GLANCE = 10;
/** Messages that a large screen shows at once. */
const SCREEN = 20;
/** Read ones above the first unread one, on its page. */
const ABOVE = 10;
/** What a conversation that nobody looks at keeps in memory, and when it is cut down to that. */
const IDLE_KEPT = 100;
const IDLE_MAX = 300;
/** The same while thousands of entries of catch-up arrive in one that is open. */
const SYNC_MAX = 3_000;

export class ConversationState {
  readonly log = new Log();
  readonly receipts = new Receipts();
  readonly typing: Typing;
  readonly opener: Opener;
  readonly items: Items;
  protected readonly store: Observable<ConversationSnapshot>;
  /** What the server has pushed without a hole: what may be acknowledged. */
  cursor: number | null = null;
  members: readonly MemberView[] = [];
  presence: readonly Presence[] = [];
  integrity: Integrity = "unknown";
  protected openCount = 0;
  protected loaded = false;
  protected error: Error | null = null;
  protected firstUnreadSeq: number | null = null;
  private readAtOpen = 0;
  /** The place that one reads from was found, and what is there is not drawn yet. */
  private isPlaced = false;
  private readonly pages: Pages;
  private loading: Promise<void> | null = null;
  private expiry: ReturnType<typeof setTimeout> | null = null;

  constructor(
    readonly id: string,
    protected readonly core: Core,
  ) {
    this.opener = new Opener(core.sealer, (messageIds) => {
      this.items.stale(messageIds);
      this.changed();
    });
    this.items = new Items(this.log, this.opener, core.self, (senderId) => this.isSilenced(senderId));
    this.pages = new Pages(id, this.log, this.items, core, () => this.changed());
    this.typing = new Typing(id, core.link, () => this.changed());
    this.store = new Observable((before) => this.snapshot(before));
  }

  readonly subscribe = (listener: () => void): (() => void) => this.store.subscribe(listener);
  readonly getSnapshot = (): ConversationSnapshot => this.store.getSnapshot();

  /** Something changed: the conversation's listeners and the inbox's are told. */
  changed(): void {
    this.store.changed();
    this.core.touched(this.id);
  }

  /** The inbox changed what it shows of this one; it knows that already. */
  infoChanged(): void {
    this.store.changed();
  }

  get isOpen(): boolean {
    return this.openCount > 0;
  }

  /** In a group, what a blocked person writes arrives like everything else, and is not shown. */
  isSilenced(userId: string): boolean {
    const { userIds } = this.core.blocks.value;
    return userIds.has(userId) && this.core.record(this.id)?.view.type === "group";
  }

  /** Who is writing. */
  writing(): string[] {
    return this.typing.list().filter((userId) => !this.isSilenced(userId));
  }

  /** How many messages after `readSeq` are counted as unread by the server, and not shown. */
  silencedAfter(readSeq: number): number {
    if (this.core.blocks.value.userIds.size === 0) return 0;
    let count = 0;
    for (const { entry } of this.log.between(Math.max(readSeq + 1, this.log.first), this.log.held)) {
      if (isMessage(entry) && this.isSilenced(entry.senderId)) count += 1;
    }
    return count;
  }

  /** The last message, for the inbox. */
  preview(): MessageItem | null {
    return this.items.last(this.summary());
  }

  summary(): Summary {
    const { userId } = this.core.self();
    return this.receipts.summary(this.members.filter((member) => member.userId !== userId));
  }

  /**
   * An entry of the log, live or caught up; not `isPushed`: one that this device has just sent. Returns whether it was new.
   */
  receive(entry: Entry, isPushed = true): boolean {
    const isNext = this.cursor === null || entry.seq === this.cursor + 1;
    if (isNext) this.cursor = entry.seq;
    // What is before the page that is shown is read from history when somebody scrolls there.
    const isNew = entry.seq < this.log.first ? false : this.log.add(entry);
    if (isNew) {
      this.items.note(entry, this.pages.isReading);
      this.typing.heard(entry.senderId, false);
      if (entry.type === "system") this.onSystem(entry);
    }
    if (this.log.hasGap) void this.fill();
    else this.trim();
    // What the server leaves out on its way to here, nobody of this user may see.
    if (isPushed && this.cursor !== null && entry.seq <= this.log.held) this.cursor = Math.max(this.cursor, entry.seq);
    this.advance();
    if (this.cursor !== null) this.core.acks.received(this.id, this.cursor);
    if (isNew) this.changed();
    return isNew;
  }

  receipt({ recipientId, status, upTo, timestamp }: Receipt): void {
    this.receipts.raise(recipientId, status, upTo);
    if (status === "read") this.items.read(recipientId, upTo, Date.parse(timestamp));
    this.changed();
  }

  hide(messageIds: readonly string[]): void {
    this.items.hide(messageIds);
    this.changed();
  }

  setPresence(present: readonly Presence[]): void {
    this.presence = present;
    this.changed();
  }

  /** Everything is read anew: the server says that its log is another one. */
  reset(): void {
    this.log.clear();
    this.items.clear();
    this.pages.reset();
    this.cursor = null;
    this.loaded = false;
    this.integrity = "unknown";
    this.changed();
    if (this.isOpen) void this.load();
  }

  /** The connection is back: what an open conversation shows beside the log is asked again. */
  onOnline(): void {
    if (!this.isOpen) return;
    void this.load();
  }

  onOffline(): void {
    this.presence = [];
    this.typing.stop();
    this.changed();
  }

  /** Nothing of it is needed any more. */
  stop(): void {
    this.typing.stop();
    if (this.expiry !== null) clearTimeout(this.expiry);
  }

  /** The last page, the members, how far they are. Several at once ask once. */
  load(): Promise<void> {
    this.loading ??= this.loadAll()
      .then(() => {
        this.error = null;
      })
      .catch((error: unknown) => {
        this.error = error as Error;
      })
      .finally(() => {
        this.loading = null;
        this.changed();
      });
    return this.loading;
  }

  /** A short look at the end of the log, for the inbox. */
  async glance(): Promise<void> {
    if (this.log.size === 0) await this.pages.last(GLANCE);
  }

  async loadEarlier(limit?: number): Promise<void> {
    if (!this.loaded) return this.load();
    await this.pages.earlier(limit);
    this.moveFirstUnread();
  }

  protected get hasEarlier(): boolean {
    return this.loaded && this.pages.hasEarlier;
  }

  private async loadAll(): Promise<void> {
    if (this.core.record(this.id) === null) await this.core.refresh(this.id);
    const head = this.core.record(this.id)?.view.lastSeq ?? 0;
    // What came while nobody looked may be far from the end.
    if (!this.loaded && head > this.log.held + PAGE) this.log.clear();
    const first = !this.loaded;
    if (first) {
      // With what is unread, so that one begins to read at the first of it, as far as one page goes.
      const unread = head - (this.core.record(this.id)?.readSeq ?? head);
      if (!this.hasEnd(head)) await this.pages.last(Math.min(LIMITS.pageMax, Math.max(PAGE, unread + ABOVE)));
      this.loaded = true;
      this.markFirstUnread();
      this.changed();
    }
    const [members, receipts] = await Promise.all([
      this.core.rest.request<{ members: readonly MemberView[] }>("GET", `conversations/${this.id}/members`),
      this.core.rest.request<{ receipts: Parameters<Receipts["raiseAll"]>[0] }>("GET", `conversations/${this.id}/receipts`),
    ]);
    this.members = members.members;
    this.receipts.raiseAll(receipts.receipts);
    if (this.log.hasGap) void this.fill();
  }

  /** Whether the end of the log is here, with all that is unread, or as much of it as a page would show. */
  private hasEnd(head: number): boolean {
    const { log } = this;
    const readSeq = this.core.record(this.id)?.readSeq ?? 0;
    return log.size > 0 && !log.hasGap && log.held >= head && (log.first <= readSeq + 1 || log.size >= PAGE);
  }

  protected markFirstUnread(): void {
    this.readAtOpen = this.core.record(this.id)?.readSeq ?? 0;
    this.firstUnreadSeq = null;
    for (const { entry } of this.log.between(Math.max(this.readAtOpen + 1, this.log.first), this.log.held)) {
      if (!this.items.isNews(entry)) continue;
      this.firstUnreadSeq = entry.seq;
      this.isPlaced = true;
      return;
    }
  }

  /** What came before the first page was unread too: the line goes up with it. */
  private moveFirstUnread(): void {
    if (this.firstUnreadSeq === null) return;
    for (const { entry } of this.log.between(Math.max(this.readAtOpen + 1, this.log.first), this.firstUnreadSeq - 1)) {
      if (!this.items.isNews(entry)) continue;
      this.firstUnreadSeq = entry.seq;
      return this.changed();
    }
  }

  private async fill(): Promise<void> {
    await this.pages.fill();
    this.advance();
  }

  /**
   * The cursor goes on over what is here. What history showed far ahead of it is not the same: between the two are
   * entries that no device of this user may have yet, and that the server still pushes.
   */
  private advance(): void {
    if (this.cursor !== null && !this.log.hasGap && this.log.first <= this.cursor + 1) this.cursor = Math.max(this.cursor, this.log.held);
  }

  private trim(): void {
    const isLarge = this.isOpen ? !this.core.isSynced() && this.log.size > SYNC_MAX : this.log.size > IDLE_MAX;
    if (!isLarge) return;
    this.items.drop(this.log.trim(this.isOpen ? SYNC_MAX / 2 : IDLE_KEPT));
    if (!this.isOpen) this.loaded = false;
  }

  private onSystem(entry: Entry): void {
    const event = entry.metadata["event"];
    if (event === "member_added" || event === "member_removed") this.core.directory.forget(this.id);
    if (event === "member_added" || event === "member_removed" || event === "conversation_updated") {
      if (this.isOpen && this.core.isSynced()) void this.load();
    }
  }

  private snapshot(before: ConversationSnapshot | undefined): ConversationSnapshot {
    const { core, id, log } = this;
    const record = core.record(id);
    const items = this.items.build(core.outbox.list(id), this.summary());
    this.planExpiry();
    const firstUnread = this.firstUnreadSeq === null ? null : log.at(this.firstUnreadSeq);
    if (this.isPlaced && firstUnread !== null) {
      // One reads from here on, which may be far from the end.
      this.opener.prefer([...log.between(firstUnread.entry.seq, firstUnread.entry.seq + SCREEN)].map(({ entry }) => entry.messageId));
      this.isPlaced = false;
    }
    const isSame = before !== undefined && before.items.length === items.length && items.every((item, at) => item === before.items[at]);
    return {
      id,
      info: record?.info ?? null,
      items: isSame ? before.items : items,
      loaded: this.loaded,
      loadingEarlier: this.pages.loadingEarlier,
      hasEarlier: this.hasEarlier,
      firstSeq: log.first,
      heldSeq: log.held,
      readSeq: record?.readSeq ?? 0,
      firstUnreadKey: firstUnread === null ? null : (this.items.find(firstUnread.entry.messageId, this.summary())?.key ?? null),
      unread: record?.info.unread ?? 0,
      members: this.members,
      typing: this.writing(),
      presence: this.presence,
      draft: core.drafts.of(id),
      scheduled: core.scheduled.of(id),
      integrity: this.integrity,
      error: this.error,
    };
  }

  private planExpiry(): void {
    if (this.expiry !== null) clearTimeout(this.expiry);
    const at = this.items.nextExpiry;
    this.expiry = at === null ? null : setTimeout(() => this.changed(), Math.min(Math.max(at - Date.now(), 0) + 20, 2 ** 31 - 1));
  }
}
