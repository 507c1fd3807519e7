/**
 * The state of the page and everything that changes it: REST for what was, the socket for what happens, the outbox for
 * what is still to be sent. It draws nothing; `changed` tells the view.
 */
import { Api } from "./api";
import { Link, type LinkState } from "./connection";
import { HistoryCheck } from "./integrity";
import { Outbox, type OutboxItem } from "./outbox";
import { Watermarks, type MessageState } from "./receipts";
import { signIn, type Session } from "./session";
import { Timeline } from "./timeline";
import { drawClientRandom, encodeContent, type ConversationView, type Entry, type Person, type Receipt, type SendReply } from "./wire";

export interface Conversation {
  readonly id: string;
  view: ConversationView;
  members: string[];
  readonly timeline: Timeline;
  readonly marks: Watermarks;
  unread: number;
  hasEarlier: boolean;
  receivedAcked: number;
  readAcked: number;
}

const PAGE = 50;
/** Acknowledgements are cumulative: a short wait makes one of many. In ms. */
const ACK_DELAY_MS = 40;
/** A hole may only be two answers crossing; after this it is read from the log. In ms. */
const GAP_DELAY_MS = 1_500;
const PEOPLE_EVERY_MS = 4_000;
const START_AGAIN_MS = 2_000;
/** Requests under way at once while the conversations are loaded. */
const PARALLEL = 4;
const ACKS_A_PUSH = 200;

export class Chat {
  readonly conversations = new Map<string, Conversation>();
  readonly names = new Map<string, string>();
  readonly outbox: Outbox;
  link: LinkState = "connecting";
  degraded = false;
  loaded = false;
  current: Conversation | null = null;
  private readonly api: Api;
  private readonly check: HistoryCheck;
  private readonly socket: Link;
  private readonly adopting = new Map<string, Promise<Conversation>>();
  private everybody: Person[] = [];
  private epoch: string | null = null;
  private ackTimer: number | null = null;
  private sendTimer: number | null = null;
  private gapTimer: number | null = null;

  constructor(
    private session: Session,
    private readonly changed: () => void,
  ) {
    this.names.set(session.userId, session.name);
    this.outbox = new Outbox(sessionStorage, `whispr.outbox.${session.userId}`, drawClientRandom);
    this.api = new Api(() => this.session.token);
    this.check = new HistoryCheck((cursors, limit) => this.api.sync(cursors, limit));
    this.socket = new Link(session.userId, session.token, {
      state: (state) => this.linkChanged(state),
      joined: (reply) => this.joined(reply),
      event: (name, payload) => this.received(name, payload),
      joinPayload: () => this.joinPayload(),
      renew: () => this.renew(),
    });
  }

  get me(): Session {
    return this.session;
  }

  /** Load what there is, then follow it live. `withName` is opened if somebody of that name is known. */
  async start(withName: string | null): Promise<void> {
    for (;;) {
      try {
        await this.load();
        break;
      } catch (error) {
        if ((error as { status?: number }).status === 401) await this.renew().catch(() => null);
        this.linkChanged("offline");
        await new Promise((resolve) => setTimeout(resolve, START_AGAIN_MS));
      }
    }
    this.loaded = true;
    this.socket.start();
    setInterval(() => {
      if (document.visibilityState === "visible") void this.loadPeople().catch(() => undefined);
    }, PEOPLE_EVERY_MS);
    document.addEventListener("visibilitychange", () => this.acknowledgeSoon());
    const peer = [...this.names].find(([userId, name]) => name === withName && userId !== this.me.userId);
    if (peer !== undefined) await this.openWith(peer[0]).catch(() => undefined);
    this.changed();
  }

  /** Take this device back from the tab that replaced it. */
  resume(): void {
    this.socket.start();
  }

  stop(): void {
    this.socket.stop();
  }

  nameOf(userId: string): string {
    return this.names.get(userId) ?? `Somebody (${userId.slice(0, 8)})`;
  }

  /** Everybody but oneself, who signed in last first. */
  people(): Person[] {
    return this.everybody.filter((person) => person.userId !== this.me.userId);
  }

  othersOf(conversation: Conversation): string[] {
    return conversation.members.filter((userId) => userId !== this.me.userId);
  }

  titleOf(conversation: Conversation): string {
    const others = this.othersOf(conversation);
    return others.length === 0 ? "Only you" : others.map((userId) => this.nameOf(userId)).join(", ");
  }

  stateOf(conversation: Conversation, seq: number): MessageState {
    return conversation.marks.stateOf(seq, this.othersOf(conversation));
  }

  /** Whether the open conversation's history is known not to be the one that was appended. */
  get isTampered(): boolean {
    return this.current !== null && this.check.isBroken(this.current.id);
  }

  open(conversation: Conversation | null): void {
    this.current = conversation;
    this.checkHistory();
    if (conversation !== null) conversation.unread = 0;
    this.acknowledgeSoon();
    this.changed();
  }

  /** Open the direct conversation with a person, which is made if it does not exist. */
  async openWith(userId: string): Promise<void> {
    const there = [...this.conversations.values()].find(
      (conversation) => conversation.view.type === "direct" && this.othersOf(conversation)[0] === userId,
    );
    if (there !== undefined) return this.open(there);
    const view = await this.api.createDirect(userId);
    this.open(this.conversations.get(view.id) ?? (await this.adopt(view.id)));
  }

  /** Write into the open conversation. Throws RangeError when too much waits already. */
  write(text: string): void {
    if (this.current === null) return;
    this.outbox.add(this.current.id, text, Date.now());
    this.send();
    this.changed();
  }

  retry(item: OutboxItem): void {
    this.outbox.retry(item.clientRandom);
    this.send();
    this.changed();
  }

  discard(item: OutboxItem): void {
    this.outbox.discard(item.clientRandom);
    this.changed();
  }

  async loadEarlier(conversation: Conversation): Promise<void> {
    const before = conversation.timeline.first;
    if (before === null) return;
    const page = await this.api.messages(conversation.id, { before, limit: PAGE });
    conversation.timeline.addPage(page.messages);
    conversation.hasEarlier = page.hasMore;
    this.checkHistory();
    this.changed();
  }

  // --- what was ---

  private async load(): Promise<void> {
    await this.loadPeople();
    const views = await this.api.conversations();
    const next = views.values();
    const worker = async (): Promise<void> => {
      for (const view of next) await this.adopt(view.id, view);
    };
    await Promise.all(Array.from({ length: PARALLEL }, worker));
  }

  private async loadPeople(): Promise<void> {
    const people = await this.api.people();
    const isSame = people.length === this.everybody.length && people.every((one, at) => one.userId === this.everybody[at]?.userId);
    if (isSame) return;
    this.everybody = people;
    for (const { userId, name } of people) this.names.set(userId, name);
    this.changed();
  }

  /** Load a conversation that this page does not hold yet; calls for the same one share the work. */
  private adopt(id: string, known?: ConversationView): Promise<Conversation> {
    const there = this.conversations.get(id);
    if (there !== undefined) return Promise.resolve(there);
    let work = this.adopting.get(id);
    if (work === undefined) {
      work = this.loadConversation(id, known).finally(() => this.adopting.delete(id));
      this.adopting.set(id, work);
    }
    return work;
  }

  private async loadConversation(id: string, known?: ConversationView): Promise<Conversation> {
    const [view, members, receipts, page] = await Promise.all([
      known ?? this.api.conversation(id),
      this.api.members(id),
      this.api.receipts(id),
      this.api.messages(id, { limit: PAGE }),
    ]);
    const conversation: Conversation = {
      id,
      view,
      members,
      timeline: new Timeline(),
      marks: new Watermarks(),
      unread: view.unread,
      hasEarlier: page.hasMore,
      receivedAcked: 0,
      readAcked: view.readSeq,
    };
    for (const { userId, deliveredSeq, readSeq } of receipts) {
      conversation.marks.raise(userId, "delivered", deliveredSeq);
      conversation.marks.raise(userId, "read", readSeq);
    }
    conversation.timeline.addPage(page.messages);
    for (const entry of page.messages) this.confirmFrom(entry);
    this.conversations.set(id, conversation);
    if (members.some((userId) => !this.names.has(userId))) void this.loadPeople().catch(() => undefined);
    this.acknowledgeSoon();
    this.changed();
    return conversation;
  }

  // --- what happens ---

  private joinPayload(): object {
    const cursors: Record<string, number> = {};
    for (const conversation of this.conversations.values()) {
      if (conversation.timeline.upTo > 0) cursors[conversation.id] = conversation.timeline.upTo;
    }
    return this.epoch === null ? { cursors } : { cursors, epoch: this.epoch };
  }

  private joined(reply: { epoch?: string }): void {
    this.epoch = reply.epoch ?? this.epoch;
    this.send();
    this.checkHistory();
    this.acknowledgeSoon();
  }

  /** Check the open conversation's entries against the hash chain, where the server keeps one. */
  private checkHistory(): void {
    const open = this.current;
    // The join comes first: it takes the news that this device was away for too long, which REST would take from it.
    if (open === null || this.link !== "online") return;
    const cursors = Object.fromEntries([...this.conversations.values()].map(({ id, timeline }) => [id, timeline.upTo]));
    void this.check.run(open.id, open.timeline, cursors).then((isNews) => isNews && this.changed(), () => undefined);
  }

  private linkChanged(state: LinkState): void {
    this.link = state;
    if (state !== "online") this.outbox.disconnected();
    this.changed();
  }

  private received(name: string, payload: unknown): void {
    switch (name) {
      case "new_message":
        void this.newMessage(payload as Entry);
        break;
      case "delivery_status_update":
      case "read_status_update":
        this.receipt(payload as Receipt);
        break;
      case "resync_required":
        void this.resync((payload as { conversationId?: string }).conversationId).catch(() => undefined);
        break;
      case "service_state":
        this.degraded = (payload as { state: string }).state !== "normal";
        this.changed();
        break;
      default:
        break;
    }
  }

  private async newMessage(entry: Entry): Promise<void> {
    let conversation = this.conversations.get(entry.conversationId);
    if (conversation === undefined) {
      try {
        conversation = await this.adopt(entry.conversationId);
      } catch {
        return; // it is not acknowledged, so it comes again with the next join
      }
    }
    this.confirmFrom(entry);
    if (!conversation.timeline.add(entry)) {
      // It came by REST before the socket pushed it. The server takes no acknowledgement of what it has not pushed, so
      // one that was given then is given again.
      conversation.receivedAcked = Math.min(conversation.receivedAcked, entry.seq - 1);
      conversation.readAcked = Math.min(conversation.readAcked, entry.seq - 1);
      this.acknowledgeSoon();
      return this.changed();
    }
    const isRead = this.isReading(conversation);
    if (entry.senderId !== this.me.userId && entry.type !== "system" && !isRead) conversation.unread += 1;
    const event = entry.type === "system" ? entry.metadata["event"] : null;
    if (event === "member_added" || event === "member_removed") {
      void this.api.members(conversation.id).then((members) => {
        conversation.members = members;
        this.changed();
      }, () => undefined);
    }
    this.acknowledgeSoon();
    if (conversation.timeline.hasGap) this.fillSoon();
    this.changed();
  }

  private confirmFrom(entry: Entry): void {
    if (entry.senderId === this.me.userId && entry.clientRandom !== null) this.outbox.confirmed(entry.clientRandom);
  }

  private receipt(receipt: Receipt): void {
    const conversation = this.conversations.get(receipt.conversationId);
    if (conversation === undefined) return;
    conversation.marks.raise(receipt.recipientId, receipt.status, receipt.upTo);
    if (receipt.recipientId === this.me.userId && receipt.status === "read") {
      // Another device of this person has read it.
      if (receipt.upTo >= conversation.timeline.newest) conversation.unread = 0;
      conversation.readAcked = Math.max(conversation.readAcked, receipt.upTo);
    }
    this.changed();
  }

  /** The server cannot continue from our cursor: read the log again. */
  private async resync(id: string | undefined): Promise<void> {
    const affected = id === undefined ? [...this.conversations.values()] : [this.conversations.get(id)];
    for (const conversation of affected) {
      if (conversation === undefined) continue;
      const page = await this.api.messages(conversation.id, { limit: PAGE });
      conversation.timeline.clear();
      this.check.forget(conversation.id);
      conversation.timeline.addPage(page.messages);
      conversation.hasEarlier = page.hasMore;
      conversation.receivedAcked = 0;
    }
    this.checkHistory();
    this.acknowledgeSoon();
    this.changed();
  }

  private fillSoon(): void {
    this.gapTimer ??= window.setTimeout(() => {
      this.gapTimer = null;
      void this.fillGaps().catch(() => this.fillSoon());
    }, GAP_DELAY_MS);
  }

  private async fillGaps(): Promise<void> {
    for (const conversation of this.conversations.values()) {
      while (conversation.timeline.hasGap) {
        const before = conversation.timeline.upTo;
        const page = await this.api.messages(conversation.id, { after: before, limit: PAGE });
        conversation.timeline.addPage(page.messages);
        if (conversation.timeline.upTo === before) break;
      }
    }
    this.acknowledgeSoon();
    this.changed();
  }

  // --- what is to be sent ---

  private send(): void {
    if (this.sendTimer !== null) clearTimeout(this.sendTimer);
    this.sendTimer = null;
    if (this.link !== "online") return;
    const now = Date.now();
    for (const item of this.outbox.due(now)) void this.sendItem(item);
    const next = this.outbox.nextDue(now);
    if (next !== null) {
      this.sendTimer = window.setTimeout(() => {
        this.sendTimer = null;
        this.send();
      }, next - now);
    }
  }

  private async sendItem(item: OutboxItem): Promise<void> {
    const { clientRandom, conversationId } = item;
    const content = encodeContent(item.text);
    this.outbox.sending(item);
    const result = await this.socket.push("send_message", { conversationId, type: "text", content, clientRandom });
    if (result.outcome === "unanswered") this.outbox.unanswered(clientRandom);
    else if (result.outcome === "refused") this.outbox.refused(clientRandom, result.refusal, Date.now(), Math.random());
    else this.stored(result.response as SendReply, clientRandom, content);
    this.send();
    this.changed();
  }

  private stored(reply: SendReply, clientRandom: number, content: string): void {
    if (reply.seq === undefined || reply.sentAt === undefined) return this.outbox.queued(clientRandom);
    this.outbox.confirmed(clientRandom);
    const conversation = this.conversations.get(reply.conversationId);
    if (conversation === undefined) return;
    conversation.timeline.add({
      messageId: reply.messageId,
      conversationId: reply.conversationId,
      seq: reply.seq,
      senderId: this.me.userId,
      senderDeviceId: this.me.deviceId,
      type: "text",
      content,
      metadata: {},
      replyTo: null,
      target: null,
      clientRandom,
      sentAt: reply.sentAt,
      editedAt: null,
      expiresAt: null,
      signature: null,
    });
    this.acknowledgeSoon();
    if (conversation.timeline.hasGap) this.fillSoon();
  }

  private isReading(conversation: Conversation): boolean {
    return this.current === conversation && document.visibilityState === "visible";
  }

  private acknowledgeSoon(): void {
    this.ackTimer ??= window.setTimeout(() => {
      this.ackTimer = null;
      void this.acknowledge();
    }, ACK_DELAY_MS);
  }

  private async acknowledge(): Promise<void> {
    if (this.link !== "online") return;
    const received = [...this.conversations.values()]
      .filter((conversation) => conversation.timeline.upTo > conversation.receivedAcked)
      .slice(0, ACKS_A_PUSH)
      .map((conversation) => ({ conversation, upTo: conversation.timeline.upTo }));
    if (received.length > 0) {
      const acks = received.map(({ conversation, upTo }) => ({ conversationId: conversation.id, upTo }));
      const result = await this.socket.push("message_received", { acks });
      if (result.outcome === "ok") {
        for (const { conversation, upTo } of received) conversation.receivedAcked = Math.max(conversation.receivedAcked, upTo);
      } else if (result.outcome === "refused") return; // tried again with the next entry or connection
    }
    const open = this.current;
    if (open === null || !this.isReading(open)) return;
    open.unread = 0;
    const upTo = open.timeline.upTo;
    if (upTo <= open.readAcked) return;
    const result = await this.socket.push("message_read", { conversationId: open.id, upTo });
    if (result.outcome === "ok") open.readAcked = Math.max(open.readAcked, upTo);
    this.changed();
  }

  private async renew(): Promise<string | null> {
    try {
      this.session = await signIn(this.session.name, this.session);
      return this.session.token;
    } catch (error) {
      const status = (error as { status?: number }).status ?? 0;
      if (status >= 400 && status < 500 && status !== 429) return null;
      throw error;
    }
  }
}
