/** The client: its parts, its life from `connect` to `close`, and the application's way to everything. */
import { Acks } from "./acks";
import { jsonCodec } from "./codec";
import { Conversation } from "./conversation/conversation";
import type { Core } from "./core";
import { Emitter } from "./events";
import { Inbox } from "./inbox/inbox";
import { onReturn } from "./link/attention";
import { openLink } from "./link/open";
import type { Link, LinkEvents } from "./link/link";
import { Outbox } from "./outbox/outbox";
import { Runner } from "./outbox/runner";
import { entryOf } from "./outbox/request";
import { Devices, Settings, Blocks } from "./personal/account";
import { Drafts } from "./personal/drafts";
import { Scheduled } from "./personal/scheduled";
import { plainEngine } from "./plain";
import { Rest } from "./rest";
import { Directory } from "./security/directory";
import { Sealer } from "./security/sealer";
import { Session } from "./session";
import { defaultStorage } from "./storage/default";
import { lazyStorage, type LazyStorage } from "./storage/lazy";
import { Tokens } from "./tokens";
import type { ClientEvents, ClientOptions, NewConversation, WhisprClient } from "./types/client";
import type { Identity } from "./types/connection";
import type { PeerDevice } from "./types/engine";
import type { ConversationView } from "./types/wire";
import { SignedOutError } from "./errors";

const OUTBOX_LIMIT = 1_000;
/** Before the first token nothing is anybody's own. */
const NOBODY: Identity = { userId: "", deviceId: "" };

export class Whispr implements WhisprClient {
  readonly inbox: Inbox;
  readonly outbox: Outbox;
  readonly scheduled: Scheduled;
  readonly settings: Settings;
  readonly devices: Devices;
  readonly security: Directory;
  readonly blocks;
  readonly connection;
  private readonly conversations = new Map<string, Conversation>();
  private readonly emitter = new Emitter<ClientEvents>();
  private readonly tokens: Tokens;
  private readonly rest: Rest;
  private readonly storage: LazyStorage;
  private readonly drafts: Drafts;
  private readonly core: Core;
  private readonly runner: Runner;
  private readonly session: Session;
  private link: Link | null = null;
  private unlisten: (() => void) | null = null;
  private known: Identity | null;
  private starting: Promise<void> | null = null;

  constructor(private readonly options: ClientOptions) {
    const { url, codec = jsonCodec, engine = plainEngine() } = options;
    this.known = options.identity ?? null;
    this.tokens = new Tokens(options.getToken, { ended: () => this.session.signedOut(), error: this.report });
    this.rest = new Rest(url.replace(/\/+$/, ""), this.tokens, options.fetch ?? ((input, init) => fetch(input, init)));
    this.storage = lazyStorage();
    this.security = new Directory(this.rest, this.storage, engine);
    const touch = (id: string): void => this.conversation(id).changed();
    this.drafts = new Drafts(this.rest, engine, codec, this.self, () => this.ownDevices(), touch);
    const sealer = new Sealer(engine, codec, this.security, this.self);
    this.scheduled = new Scheduled(this.rest, () => sealer, engine, codec, this.self, touch, this.report);
    this.outbox = new Outbox(this.storage, options.outboxLimit ?? OUTBOX_LIMIT, (id, news) => {
      this.conversations.get(id)?.changed();
      this.session.outboxChanged(news);
    });
    const link: Link = {
      start: () => this.link?.start(),
      stop: () => this.link?.stop(),
      reconnectNow: () => this.link?.reconnectNow(),
      push: (event, payload) => this.link?.push(event, payload) ?? Promise.resolve({ outcome: "unanswered", isLost: true }),
      watch: (id) => this.session.watch(id),
    };
    const isOnline = (): boolean => this.session.isOnline;
    const acks = new Acks(link, isOnline);
    const shownAnew = (): void => {
      for (const conversation of this.conversations.values()) conversation.changed();
    };
    this.blocks = new Blocks(this.rest, shownAnew, () => this.session.shareBlocks());
    this.inbox = new Inbox(this.rest, () => this.self().userId, (id) => this.conversation(id), (id) => this.drafts.of(id).text || null, this.report);
    this.core = {
      self: this.self,
      link,
      rest: this.rest,
      engine,
      sealer,
      directory: this.security,
      outbox: this.outbox,
      acks,
      blocks: this.blocks,
      drafts: this.drafts,
      scheduled: this.scheduled,
      isOnline,
      isSynced: () => this.session.isSynced,
      record: (id) => this.inbox.get(id),
      refresh: (id) => this.inbox.ask(id),
      touched: (id) => this.inbox.touched(id),
      looked: () => this.session.looked(),
      report: this.report,
    };
    this.settings = new Settings(this.rest);
    this.devices = new Devices(this.rest);
    this.runner = new Runner(this.outbox, sealer, link, {
      stored: (record, outcome) => {
        const entry = entryOf(record, outcome, this.self());
        if (entry !== null) this.session.ownEntry(entry, record.body);
      },
      stale: (id) => this.security.forget(id),
      signedOut: () => void this.tokens.renew("refused").catch(this.report),
    });
    this.session = new Session({
      core: this.core,
      runner: this.runner,
      inbox: this.inbox,
      settings: this.settings,
      devices: this.devices,
      emitter: this.emitter,
      conversations: this.conversations,
      conversation: (id) => this.conversation(id),
      link: () => this.link,
      register: () => this.register(),
    });
    this.connection = this.session.connection;
  }

  get identity(): Identity | null {
    return this.known;
  }

  connect(): Promise<void> {
    this.starting ??= this.start().catch((error: unknown) => {
      this.starting = null;
      throw error;
    });
    return this.starting;
  }

  disconnect(): void {
    this.starting = null;
    this.tokens.stop();
    this.runner.offline();
    this.unlisten?.();
    this.unlisten = null;
    this.link?.stop();
    this.link = null;
  }

  reconnectNow(): void {
    this.link?.reconnectNow();
  }

  async close({ forget = false } = {}): Promise<void> {
    this.disconnect();
    this.drafts.stop();
    this.core.acks.stop();
    for (const conversation of this.conversations.values()) conversation.stop();
    if (forget) await this.storage.clear();
    this.storage.close();
  }

  conversation(id: string): Conversation {
    const found = this.conversations.get(id);
    if (found !== undefined) return found;
    const made = new Conversation(id, this.core);
    this.conversations.set(id, made);
    return made;
  }

  async createConversation(conversation: NewConversation): Promise<ConversationView> {
    const view = await this.rest.request<ConversationView>("POST", "conversations", conversation);
    this.inbox.put(view);
    return view;
  }

  on<Name extends keyof ClientEvents>(name: Name, listener: ClientEvents[Name]): () => void {
    return this.emitter.on(name, listener);
  }

  request<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    return this.rest.request(method, path, body);
  }

  private async start(): Promise<void> {
    if (this.known === null) {
      if ((await this.tokens.renew("start")) === null) throw new SignedOutError();
      this.known = this.identityOfToken();
    }
    const identity = this.self();
    if (this.options.engine === undefined) console.warn("Whispr: no engine was given, so messages are not encrypted. Give plainEngine() where that is meant.");
    if (!this.storage.isOpen) {
      this.storage.use(this.options.storage ?? (await defaultStorage(identity)));
      const keys = { durable: this.storage.durable, ...this.storage.table("keys") };
      const { warnings, ...publicKeys } = await this.core.engine.start({ identity, keys });
      this.publicKeys = publicKeys;
      await this.security.load(identity.deviceId, warnings);
      await this.outbox.load();
    }
    const events: LinkEvents = this.session.events;
    const link = await openLink({ ...this.options, identity, tokens: this.tokens, session: this.session, events });
    if (this.starting === null) return; // disconnected meanwhile
    this.link = link;
    this.session.rewatch();
    this.unlisten ??= onReturn(() => this.session.looked());
    link.start();
  }

  private publicKeys: { readonly publicKey: string | null; readonly encryptionKey: string | null } = { publicKey: null, encryptionKey: null };

  /** Tell the server this device's keys; once they are there, nothing changes. */
  private async register(): Promise<void> {
    const { name, platform, pushToken } = this.options.device ?? {};
    const { publicKey, encryptionKey } = this.publicKeys;
    if (publicKey !== null) await this.rest.request("POST", "devices", { publicKey, encryptionKey, name, platform, pushToken });
    else if (this.options.device !== undefined) await this.rest.request("PATCH", `devices/${this.self().deviceId}`, { name, platform, pushToken });
  }

  private async ownDevices(): Promise<readonly PeerDevice[]> {
    await this.devices.refresh();
    const live = this.devices.value.devices.filter((device) => device.revokedAt === null);
    return live.map(({ id, userId, publicKey, encryptionKey }) => ({ id, userId, publicKey, encryptionKey }));
  }

  private readonly self = (): Identity => {
    return this.known ?? NOBODY;
  };

  private identityOfToken(): Identity {
    const claims = this.tokens.claims;
    if (claims === null) throw new SignedOutError();
    return { userId: claims.userId, deviceId: claims.deviceId };
  }

  private readonly report = (error: unknown): void => this.emitter.emit("error", error instanceof Error ? error : new Error(String(error)));
}
