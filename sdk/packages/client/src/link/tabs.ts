/**
 * One connection for all tabs of a device: the server closes the older of two sockets of the same device, so tabs that
 * each had their own would take it from each other.
 *
 * The tab that holds a Web Lock leads: it has the socket, sends what is in the outbox, and passes on every event. The
 * others follow: they push through it. When it goes, the browser gives the lock to the next one.
 */
import { RequestError } from "../errors";
import { drawId } from "../outbox/random";
import type { OutboxNews } from "../outbox/outbox";
import type { Presence } from "../types/conversation";
import type { Entry } from "../types/wire";
import { IDLE, type JoinReply, type Link, type LinkEvents, type LinkState, type PushResult } from "./link";

/** Longer than the leader waits for the server. */
const RPC_MS = 13_000;

type WireResult = Exclude<PushResult, { outcome: "refused" }> | { readonly outcome: "refused"; readonly error: { code: string; message: string; retryAfter: number | null; details: Readonly<Record<string, unknown>> } };

type Message =
  | { readonly t: "hello" }
  /** The answer of a tab that follows to a leader that is new. */
  | { readonly t: "here" }
  | { readonly t: "state"; readonly state: LinkState; readonly reply: JoinReply | null; readonly synced: boolean }
  | { readonly t: "joined"; readonly reply: JoinReply }
  | { readonly t: "event"; readonly name: string; readonly payload: unknown }
  | { readonly t: "presence"; readonly id: string; readonly present: readonly Presence[] }
  | { readonly t: "watch"; readonly id: string; readonly from: string; readonly on: boolean }
  | { readonly t: "push"; readonly id: string; readonly event: string; readonly payload: object }
  | { readonly t: "result"; readonly id: string; readonly result: WireResult }
  | { readonly t: "news"; readonly news: TabNews };

/** What any tab tells all others: its outbox changed, or whom the user blocks. */
export type TabNews = OutboxNews | { readonly op: "blocks" };

/** What the session does differently in a tab that leads. */
export interface TabEvents {
  readonly isSynced: boolean;
  /** What this tab sent: no socket is told of it. */
  shareEntry: ((entry: Entry) => void) | null;
  leads(isLeader: boolean): void;
  heardNews(news: TabNews): void;
  shareWith(share: (news: TabNews) => void): void;
}

export class SharedLink implements Link {
  private readonly channel: BroadcastChannel;
  private readonly tab = drawId();
  private own: Link | null = null;
  private isClosed = false;
  private abort: AbortController | null = null;
  private release: (() => void) | null = null;
  private state: LinkState = IDLE;
  private reply: JoinReply | null = null;
  /** As the leader: whether anybody listens. To copy each entry of a long absence for nobody is a tenth of its work. */
  private isFollowed = false;
  private readonly waiting = new Map<string, (result: PushResult) => void>();
  private readonly watched = new Map<string, number>();
  /** As the leader: what other tabs watch. */
  private readonly watchedBy = new Map<string, () => void>();

  constructor(
    private readonly name: string,
    private readonly open: (events: LinkEvents) => Link,
    private readonly events: LinkEvents,
    private readonly tabs: TabEvents,
  ) {
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = (message: MessageEvent<Message>) => void this.heard(message.data);
    tabs.shareWith((news) => this.tell({ t: "news", news }));
  }

  start(): void {
    if (this.abort !== null) return;
    this.abort = new AbortController();
    const held = (): Promise<void> =>
      new Promise((release) => {
        this.release = release;
        this.lead();
      });
    // Asked for at once, granted when nobody else holds it: to the first tab now, to another one when that is gone.
    navigator.locks.request(this.name, { signal: this.abort.signal }, held).catch(() => undefined);
    void navigator.locks.query().then(({ held: locks }) => {
      if (this.own === null && locks?.some((lock) => lock.name === this.name)) this.follow();
    });
  }

  stop(): void {
    this.own?.stop();
    this.own = null;
    this.release?.();
    this.release = null;
    this.abort?.abort();
    this.abort = null;
    this.isClosed = true;
    this.channel.close();
    this.settle();
    this.events.state(IDLE);
  }

  reconnectNow(): void {
    this.own?.reconnectNow();
  }

  push(event: string, payload: object): Promise<PushResult> {
    if (this.own !== null) return this.own.push(event, payload);
    if (this.state.phase !== "online") return Promise.resolve({ outcome: "unanswered", isLost: true });
    const id = `${this.tab}.${drawId()}`;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.result(id, { outcome: "unanswered", isLost: false }), RPC_MS);
      this.waiting.set(id, (result) => {
        clearTimeout(timer);
        resolve(result);
      });
      this.tell({ t: "push", id, event, payload });
    });
  }

  watch(conversationId: string): () => void {
    const unwatch = this.own?.watch(conversationId);
    this.watched.set(conversationId, (this.watched.get(conversationId) ?? 0) + 1);
    if (this.own === null) this.tell({ t: "watch", id: conversationId, from: this.tab, on: true });
    return () => {
      const left = (this.watched.get(conversationId) ?? 1) - 1;
      if (left > 0) this.watched.set(conversationId, left);
      else this.watched.delete(conversationId);
      if (unwatch !== undefined) unwatch();
      else if (left === 0) this.tell({ t: "watch", id: conversationId, from: this.tab, on: false });
    };
  }

  private lead(): void {
    this.tabs.leads(true);
    this.tabs.shareEntry = (entry) => this.tell({ t: "event", name: "new_message", payload: entry });
    const tee: LinkEvents = {
      state: (state) => {
        this.state = state;
        this.tell({ t: "state", state, reply: null, synced: false });
        this.events.state(state);
      },
      joined: (reply) => {
        this.reply = reply;
        this.tell({ t: "joined", reply });
        this.events.joined(reply);
      },
      event: (name, payload) => {
        if (this.isFollowed) this.tell({ t: "event", name, payload });
        this.events.event(name, payload);
      },
      presence: (id, present) => {
        this.tell({ t: "presence", id, present });
        this.events.presence(id, present);
      },
    };
    this.own = this.open(tee);
    for (const id of this.watched.keys()) this.own.watch(id);
    this.own.start();
    this.tell({ t: "hello" });
  }

  private follow(): void {
    this.tabs.leads(false);
    this.tell({ t: "hello" });
  }

  private async heard(message: Message): Promise<void> {
    if (message.t === "news") return this.tabs.heardNews(message.news);
    if (this.own !== null) return this.asked(this.own, message);
    if (message.t === "state") {
      this.state = message.state;
      this.events.state(message.state);
      if (message.state.phase !== "online") this.settle();
      if (message.reply !== null) this.events.joined(message.reply);
      if (message.synced) this.events.event("sync_complete", {});
    } else if (message.t === "joined") this.events.joined(message.reply);
    else if (message.t === "event") this.events.event(message.name, message.payload);
    else if (message.t === "presence") this.events.presence(message.id, message.present);
    else if (message.t === "result") this.result(message.id, fromWire(message.result));
    else if (message.t === "hello") {
      // A new leader: it is to know of us, and what we watch is to be watched there.
      this.tell({ t: "here" });
      for (const id of this.watched.keys()) this.tell({ t: "watch", id, from: this.tab, on: true });
    }
  }

  /** As the leader: what another tab wants. */
  private async asked(own: Link, message: Message): Promise<void> {
    this.isFollowed = true; // a leader hears followers alone
    if (message.t === "hello") {
      const reply = this.state.phase === "online" ? this.reply : null;
      this.tell({ t: "state", state: this.state, reply, synced: this.tabs.isSynced });
    } else if (message.t === "push") {
      const result = await own.push(message.event, message.payload);
      this.tell({ t: "result", id: message.id, result: toWire(result) });
    } else if (message.t === "watch") {
      const key = `${message.from}/${message.id}`;
      this.watchedBy.get(key)?.();
      this.watchedBy.delete(key);
      if (message.on) this.watchedBy.set(key, own.watch(message.id));
    }
  }

  private result(id: string, result: PushResult): void {
    this.waiting.get(id)?.(result);
    this.waiting.delete(id);
  }

  private settle(): void {
    for (const id of [...this.waiting.keys()]) this.result(id, { outcome: "unanswered", isLost: true });
  }

  private tell(message: Message): void {
    if (!this.isClosed) this.channel.postMessage(message);
  }
}

function toWire(result: PushResult): WireResult {
  if (result.outcome !== "refused") return result;
  const { code, message, retryAfter, details } = result.error;
  return { outcome: "refused", error: { code, message, retryAfter, details } };
}

function fromWire(result: WireResult): PushResult {
  if (result.outcome !== "refused") return result;
  const { code, message, retryAfter, details } = result.error;
  return { outcome: "refused", error: new RequestError(code, message, retryAfter, details) };
}
