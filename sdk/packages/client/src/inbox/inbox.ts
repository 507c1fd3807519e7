/** All conversations of the user, the latest first. */
import type { Conversation } from "../conversation/conversation";
import { RequestError } from "../errors";
import { Observable } from "../observable";
import type { Rest } from "../rest";
import type { InboxSnapshot, InboxStore } from "../types/conversation";
import type { ConversationView, Entry } from "../types/wire";
import { InboxRecord } from "./record";

const PAGE = 50;
/** Conversations whose last message is looked at, so that the list says something. */
const GLANCES = 30;

export class Inbox implements InboxStore {
  private readonly records = new Map<string, InboxRecord>();
  private readonly asking = new Map<string, Promise<void>>();
  private next: string | null = null;
  private loaded = false;
  private loading: Promise<void> | null = null;
  private error: Error | null = null;
  private readonly store: Observable<InboxSnapshot>;

  constructor(
    private readonly rest: Rest,
    private readonly self: () => string,
    private readonly conversation: (id: string) => Conversation,
    private readonly draft: (id: string) => string | null,
    private readonly report: (error: unknown) => void,
  ) {
    this.store = new Observable((before) => this.snapshot(before));
  }

  readonly subscribe = (listener: () => void): (() => void) => this.store.subscribe(listener);
  readonly getSnapshot = (): InboxSnapshot => this.store.getSnapshot();

  get(id: string): InboxRecord | null {
    return this.records.get(id) ?? null;
  }

  all(): IterableIterator<InboxRecord> {
    return this.records.values();
  }

  refresh(): Promise<void> {
    this.loading ??= this.load(null).finally(() => {
      this.loading = null;
      this.store.changed();
    });
    this.store.changed();
    return this.loading;
  }

  async loadMore(): Promise<void> {
    if (this.next === null || this.loading !== null) return;
    this.loading = this.load(this.next).finally(() => {
      this.loading = null;
      this.store.changed();
    });
    this.store.changed();
    return this.loading;
  }

  /** Ask how one conversation is now. Several at once ask once. */
  ask(id: string): Promise<void> {
    const known = this.asking.get(id);
    if (known !== undefined) return known;
    const asked = this.rest
      .request<ConversationView>("GET", `conversations/${id}`)
      .then((view) => void this.put(view))
      .finally(() => this.asking.delete(id));
    this.asking.set(id, asked);
    return asked;
  }

  /** Entry `seq` changed it: ask how it is now, unless what is known is from after that. */
  renew(id: string, seq: number): void {
    const asked = this.asking.get(id) ?? Promise.resolve();
    const again = async (): Promise<void> => {
      if ((this.records.get(id)?.asOf ?? seq) < seq) await this.ask(id);
    };
    // Who is no member any more may not ask; without a connection the next one asks for all.
    void asked.then(again, again).catch(() => undefined);
  }

  put(view: ConversationView): InboxRecord {
    const known = this.records.get(view.id);
    if (known !== undefined) known.renew(view);
    const record = known ?? new InboxRecord(view, (readSeq) => this.beside(view.id, readSeq));
    this.records.set(view.id, record);
    this.conversation(view.id).infoChanged();
    this.store.changed();
    return record;
  }

  /** An entry arrived for a conversation; one that is not known yet is asked for. */
  receive(entry: Entry): void {
    const record = this.records.get(entry.conversationId);
    if (record === undefined) void this.ask(entry.conversationId).catch(this.report);
    else record.receive(entry, this.self());
    this.store.changed();
  }

  /** What the conversation shows in the list changed. */
  touched(id: string): void {
    this.records.get(id)?.stale();
    this.store.changed();
  }

  drop(id: string): void {
    if (this.records.delete(id)) this.store.changed();
  }

  private beside(id: string, readSeq: number) {
    const conversation = this.conversation(id);
    return { preview: conversation.preview(), typing: conversation.writing(), draft: this.draft(id), silenced: conversation.silencedAfter(readSeq) };
  }

  private async load(cursor: string | null): Promise<void> {
    try {
      const query = `conversations?limit=${PAGE}${cursor === null ? "" : `&cursor=${cursor}`}`;
      const page = await this.rest.request<{ conversations: ConversationView[]; next?: string | null }>("GET", query);
      for (const view of page.conversations) this.put(view);
      if (cursor === this.next || !this.loaded) this.next = page.next ?? null;
      this.loaded = true;
      this.error = null;
      void this.glance(page.conversations.slice(0, GLANCES));
    } catch (error) {
      this.error = error as Error;
    }
  }

  /** The last message of each: one conversation after the other, so that nothing else has to wait. */
  private async glance(views: readonly ConversationView[]): Promise<void> {
    for (const { id } of views) {
      try {
        await this.conversation(id).glance();
      } catch (error) {
        if (!(error instanceof RequestError)) return; // not reachable: the next connection asks again
      }
    }
  }

  private snapshot(before: InboxSnapshot | undefined): InboxSnapshot {
    const sorted = [...this.records.values()].sort((one, other) => other.lastAt - one.lastAt);
    const conversations = sorted.map((record) => record.info);
    const isSame = before?.conversations.length === conversations.length && conversations.every((one, at) => one === before.conversations[at]);
    return {
      conversations: isSame ? before.conversations : conversations,
      unread: conversations.reduce((sum, { unread }) => sum + unread, 0),
      loaded: this.loaded,
      loading: this.loading !== null,
      hasMore: this.next !== null,
      error: this.error,
    };
  }
}
