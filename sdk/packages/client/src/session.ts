/** What the server says, and to whom it matters: one connection after the other, in any tab. */
import type { Conversation } from "./conversation/conversation";
import { isMessage } from "./conversation/fold";
import type { Core } from "./core";
import type { Emitter } from "./events";
import type { Inbox } from "./inbox/inbox";
import { IDLE, type JoinReply, type Link, type LinkEvents, type LinkState } from "./link/link";
import type { TabEvents, TabNews } from "./link/tabs";
import { Value } from "./observable";
import { sentEntry, type Runner } from "./outbox/runner";
import type { Devices, Settings } from "./personal/account";
import type { DraftNews } from "./personal/drafts";
import type { MessageBody } from "./types/body";
import type { ClientEvents } from "./types/client";
import type { ConnectionState, Guarantee, ServiceState } from "./types/connection";
import type { MessageItem } from "./types/timeline";
import { refused } from "./outbox/record";
import { drawClientRandom } from "./outbox/random";
import { RequestError } from "./errors";
import type { Entry, Receipt, ScheduledView, UserSettings } from "./types/wire";

export interface Parts {
  readonly core: Core;
  readonly runner: Runner;
  readonly inbox: Inbox;
  readonly settings: Settings;
  readonly devices: Devices;
  readonly emitter: Emitter<ClientEvents>;
  readonly conversations: ReadonlyMap<string, Conversation>;
  readonly conversation: (id: string) => Conversation;
  readonly link: () => Link | null;
  /** Tell the server this device's keys. */
  readonly register: () => Promise<void>;
}

/** `personal_update` of kind `refused`. */
interface Refused {
  readonly conversationId: string;
  readonly clientRandom: number;
  readonly reason: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

const NORMAL: ServiceState = { state: "normal", lost: [] };
const REGISTER_RETRY_MS = 2_000;
/** Somebody who goes to and fro between windows asks no more often than this. */
const LOOK_MS = 3_000;
/** Entries after which the server shows the conversation itself otherwise. */
const CHANGES = new Set<unknown>(["conversation_updated", "member_added", "member_removed"]);

export class Session implements TabEvents {
  readonly connection: Value<ConnectionState>;
  isSynced = false;
  private state: LinkState = IDLE;
  private service = NORMAL;
  private isLeader = true;
  private isRegistered = false;
  private epoch: string | null = null;
  private askedAt = 0;
  /** Conversations that changed while one caught up, and with which entry. */
  private readonly outdated = new Map<string, number>();
  private share: (news: TabNews) => void = () => undefined;
  private readonly watches = new Map<object, { readonly id: string; end: (() => void) | null }>();

  constructor(private readonly parts: Parts) {
    this.connection = new Value(this.look());
    parts.core.outbox.subscribe(() => this.told());
  }

  get isOnline(): boolean {
    return this.state.phase === "online";
  }

  readonly events: LinkEvents = {
    state: (state) => this.linkChanged(state),
    joined: (reply) => void this.joined(reply),
    event: (name, payload) => this.handlers[name]?.(payload as never),
    presence: (id, present) => this.parts.conversations.get(id)?.setPresence(present),
  };

  /** What is here by now: of each conversation that the server pushed, and for one, its own. */
  joinPayload(conversationId: string | null): object {
    const epoch = this.epoch === null ? {} : { epoch: this.epoch };
    const cursors: Record<string, number> = {};
    for (const [id, { cursor, log }] of this.parts.conversations) {
      // The second subscription, for presence, has nothing to catch up.
      if (conversationId === id) cursors[id] = Math.max(cursor ?? 0, log.held);
      else if (conversationId === null && cursor !== null) cursors[id] = cursor;
    }
    return { cursors, ...epoch };
  }

  /** Being present in a conversation outlives the link. */
  watch(id: string): () => void {
    const watch = { id, end: this.parts.link()?.watch(id) ?? null };
    this.watches.set(watch, watch);
    return () => {
      watch.end?.();
      this.watches.delete(watch);
    };
  }

  rewatch(): void {
    for (const watch of this.watches.values()) watch.end = this.parts.link()?.watch(watch.id) ?? null;
  }

  /** What we sent is in the log: the socket that sent it is not told. */
  ownEntry(entry: Entry, body: MessageBody | null): void {
    const conversation = this.parts.conversation(entry.conversationId);
    if (body !== null) conversation.opener.seed(entry.messageId, { body, security: entry.signature === null ? "unsigned" : "verified" });
    this.entry(entry);
    this.shareEntry?.(entry);
  }

  /** Set by a link that has other tabs to tell. */
  shareEntry: ((entry: Entry) => void) | null = null;

  outboxChanged(news: TabNews): void {
    this.share(news);
    if (this.isLeader) this.parts.runner.pump();
  }

  /** Another tab of the user is to ask who is blocked. */
  shareBlocks(): void {
    this.share({ op: "blocks" });
  }

  /** Somebody is back at the page, or opens a conversation: what another of their devices may have changed without a word is asked again. */
  looked(): void {
    if (!this.isOnline || Date.now() - this.askedAt < LOOK_MS) return;
    this.askPersonal();
    if (this.parts.devices.value.loaded) void this.parts.devices.refresh().catch(this.parts.core.report);
  }

  heardNews(news: TabNews): void {
    const { core } = this.parts;
    if (news.op === "blocks") return void core.blocks.renew().catch(core.report);
    const id = news.op === "put" ? news.record.conversationId : core.outbox.get(news.id)?.conversationId;
    core.outbox.heard(news);
    if (id !== undefined) this.parts.conversations.get(id)?.changed();
    if (this.isLeader) this.parts.runner.pump();
  }

  shareWith(share: (news: TabNews) => void): void {
    this.share = share;
  }

  leads(isLeader: boolean): void {
    this.isLeader = isLeader;
    this.parts.core.acks.mayReceive = isLeader;
    if (isLeader) void this.parts.core.outbox.load().catch(this.parts.core.report);
    this.told();
  }

  signedOut(): void {
    this.parts.link()?.stop();
    this.linkChanged({ phase: "ended", reason: "unauthenticated", closeCode: null, retryAt: null });
  }

  private readonly handlers: Readonly<Record<string, (payload: never) => void>> = {
    new_message: (entry: Entry) => this.entry(entry),
    delivery_status_update: (receipt: Receipt) => this.receipt(receipt),
    read_status_update: (receipt: Receipt) => this.receipt(receipt),
    typing: ({ conversationId, userId, active }: { conversationId: string; userId: string; active: boolean }) =>
      this.parts.conversation(conversationId).typing.heard(userId, active),
    personal_update: (update: { kind: string }) => this.personal(update),
    sync_complete: () => this.synced(),
    resync_required: (what: { conversationId?: string; reason: string }) => this.resync(what),
    service_state: ({ state, lost }: Partial<ServiceState>) => this.serviceChanged({ state: state ?? "normal", lost: lost ?? [] }),
  };

  private linkChanged(state: LinkState): void {
    const wasOnline = this.isOnline;
    this.state = state;
    if (wasOnline && !this.isOnline) {
      this.isSynced = false;
      this.parts.runner.offline();
      for (const conversation of this.parts.conversations.values()) conversation.onOffline();
    }
    this.told();
  }

  private async joined(reply: JoinReply): Promise<void> {
    const { core, inbox, runner, conversations } = this.parts;
    this.epoch = reply.epoch;
    this.service = NORMAL;
    this.told();
    const quiet = (work: Promise<void>): void => void work.catch(core.report);
    core.directory.forget(); // who came meanwhile is to be encrypted for
    quiet(inbox.refresh());
    this.askPersonal();
    for (const conversation of conversations.values()) conversation.onOnline();
    quiet(core.drafts.refresh());
    quiet(core.scheduled.refresh());
    core.acks.online();
    if (!this.isLeader) return;
    // A server that wants signatures refuses what a device without a key sends.
    while (!this.isRegistered && this.isOnline) {
      this.isRegistered = await this.parts.register().then(
        () => true,
        (error: unknown) => {
          core.report(error);
          return new Promise<boolean>((resolve) => setTimeout(() => resolve(false), REGISTER_RETRY_MS));
        },
      );
    }
    if (this.isOnline) runner.online();
  }

  private askPersonal(): void {
    const { core } = this.parts;
    this.askedAt = Date.now();
    void core.blocks.renew().catch(core.report);
  }

  private entry(entry: Entry): void {
    const { core, inbox } = this.parts;
    const conversation = this.parts.conversation(entry.conversationId);
    const { userId, deviceId } = core.self();
    const isMine = entry.senderId === userId;
    if (isMine && entry.clientRandom !== null) {
      const record = core.outbox.findByKey(entry.clientRandom);
      if (record !== null) {
        if (record.body !== null) conversation.opener.seed(entry.messageId, { body: record.body, security: "verified" });
        core.outbox.confirm(record.id, sentEntry(entry));
      }
    }
    inbox.receive(entry);
    if (entry.type === "system" && CHANGES.has(entry.metadata["event"])) this.outdate(entry.conversationId, entry.seq);
    const isNew = conversation.receive(entry, !(isMine && entry.senderDeviceId === deviceId));
    if (isNew && this.isSynced && isMessage(entry) && !(isMine && entry.senderDeviceId === deviceId) && !isMine && !conversation.isSilenced(entry.senderId)) this.announce(conversation, entry.messageId);
  }

  /** Its settings or members are others now; while one catches up, once at the end. */
  private outdate(conversationId: string, seq: number): void {
    if (this.isSynced) this.parts.inbox.renew(conversationId, seq);
    else this.outdated.set(conversationId, seq);
  }

  /** Tell the application of a live message once it can be read. */
  private announce(conversation: Conversation, messageId: string): void {
    const look = (): MessageItem | null => {
      const item = conversation.find(messageId);
      return item === null || item.security === "opening" ? null : item;
    };
    const tell = (item: MessageItem): void => this.parts.emitter.emit("message", item);
    const item = look();
    if (item !== null) return tell(item);
    const end = conversation.subscribe(() => {
      const opened = look();
      if (opened === null) return;
      end();
      tell(opened);
    });
  }

  private receipt(receipt: Receipt): void {
    const conversation = this.parts.conversation(receipt.conversationId);
    if (receipt.recipientId !== this.parts.core.self().userId) return conversation.receipt(receipt);
    // One's own, on another device.
    if (receipt.status === "read") this.parts.inbox.get(receipt.conversationId)?.read(receipt.upTo, 0);
    conversation.receipt(receipt);
  }

  private personal(update: { kind: string }): void {
    const { core, settings, conversations } = this.parts;
    const quiet = (work: Promise<void>): void => void work.catch(core.report);
    if (update.kind === "draft") quiet(core.drafts.heard(update as unknown as DraftNews));
    if (update.kind === "scheduled") quiet(core.scheduled.heard(update as unknown as ScheduledView));
    if (update.kind === "settings") settings.heard(update as unknown as UserSettings);
    if (update.kind === "refused") this.refused(update as unknown as Refused);
    if (update.kind === "hidden") {
      const { messageIds } = update as unknown as { messageIds: readonly string[] };
      for (const conversation of conversations.values()) conversation.hide(messageIds);
    }
  }

  /** What the server had queued could not be appended after all; the tab that sends decides what becomes of it. */
  private refused({ conversationId, clientRandom, reason, details }: Refused): void {
    const { core, runner } = this.parts;
    const record = this.isLeader ? core.outbox.findByKey(clientRandom) : null;
    if (record === null) return;
    if (reason === "stale_membership") core.directory.forget(conversationId);
    // `lost` by a queue that broke: nothing was stored, and nothing stands against it.
    const error = new RequestError(reason === "lost" ? "overloaded" : reason, `The server could not store it: ${reason}.`, null, details);
    void core.outbox.update(record.id, (now) => ({ ...refused(now, error, Date.now(), Math.random(), drawClientRandom), isUncertain: false }));
    runner.pump();
  }

  private synced(): void {
    this.isSynced = true;
    this.told();
    for (const [id, seq] of this.outdated) this.parts.inbox.renew(id, seq);
    this.outdated.clear();
  }

  private resync({ conversationId, reason }: { conversationId?: string; reason: string }): void {
    const { core, conversations, emitter } = this.parts;
    core.acks.forget(conversationId);
    for (const [id, conversation] of conversations) if (conversationId === undefined || id === conversationId) conversation.reset();
    emitter.emit("resync", reason);
  }

  private serviceChanged(service: ServiceState): void {
    const isBetter = this.service.state === "degraded" && service.state === "normal";
    this.service = service;
    this.told();
    if (!isBetter || !this.isOnline) return;
    for (const conversation of this.parts.conversations.values()) conversation.onOnline();
    if (this.isLeader) this.parts.runner.recovered();
  }

  private told(): void {
    const next = this.look();
    const before = this.connection.value;
    const names = Object.keys(next) as (keyof ConnectionState)[];
    if (names.some((name) => next[name] !== before[name])) this.connection.set(next);
  }

  private look(): ConnectionState {
    return { ...this.state, synced: this.isSynced, guarantee: this.guarantee(), service: this.service, tab: this.isLeader ? "leader" : "follower" };
  }

  private guarantee(): Guarantee {
    const { phase } = this.state;
    if (phase === "ended" || phase === "replaced") return "closed";
    if (phase !== "online") return this.parts.core.outbox.getSnapshot().durable ? "queued" : "volatile";
    if (this.service.state === "degraded") return "degraded";
    return this.isSynced ? "live" : "syncing";
  }
}
