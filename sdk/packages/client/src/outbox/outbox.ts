/**
 * What was written here and the server has not confirmed: kept in the storage, in the order of writing.
 *
 * It knows neither sockets nor encryption: the runner sends, and reports what came back. Every change is stored before
 * it counts; where the storage refuses, the item lives on in memory and the snapshot says that it is not durable.
 */
import { DiscardedError, InvalidInputError, OutboxBusyError, OutboxFullError } from "../errors";
import { Observable } from "../observable";
import type { MessageBody } from "../types/body";
import type { OutboxItem, OutboxSnapshot, OutboxStore, SentMessage } from "../types/outbox";
import type { ClientStorage } from "../types/storage";
import { anew, itemOf, resumed, woken, type OutboxRecord, type RecordOptions } from "./record";
import { drawClientRandom, drawId } from "./random";

const TABLE = "outbox";

/** What another tab of the same device has to know. */
export type OutboxNews =
  | { readonly op: "put"; readonly record: OutboxRecord }
  | { readonly op: "gone"; readonly id: string; readonly sent: SentMessage | null };

export interface NewItem {
  readonly kind: OutboxRecord["kind"];
  readonly conversationId: string;
  readonly target?: string;
  readonly body?: MessageBody;
  readonly options?: RecordOptions;
}

interface Waiting {
  readonly promise: Promise<SentMessage>;
  readonly resolve: (sent: SentMessage) => void;
  readonly reject: (error: Error) => void;
}

export class Outbox implements OutboxStore {
  private records = new Map<string, OutboxRecord>();
  private readonly items = new WeakMap<OutboxRecord, OutboxItem>();
  private readonly outcomes = new Map<string, Waiting>();
  private readonly saves = new Map<string, Promise<void>>();
  private isDurable: boolean;
  private written = 0;
  private readonly store: Observable<OutboxSnapshot>;

  /** `changed`: something is to be sent or shown anew, `news` is for other tabs. */
  constructor(
    private readonly storage: ClientStorage,
    private readonly limit: number,
    private readonly changed: (conversationId: string, news: OutboxNews) => void,
  ) {
    this.isDurable = storage.durable;
    this.store = new Observable(() => this.snapshot());
  }

  readonly subscribe = (listener: () => void): (() => void) => this.store.subscribe(listener);
  readonly getSnapshot = (): OutboxSnapshot => this.store.getSnapshot();

  /** Read what is stored. What was under way then is waiting now: its outcome is not known. */
  async load(): Promise<void> {
    const stored = await this.storage.entries(TABLE);
    this.isDurable = this.storage.durable; // known once it is open
    for (const [, value] of stored) {
      const record = value as OutboxRecord;
      if (this.records.has(record.id)) continue;
      const isUncertain = record.isUncertain || record.state === "sending" || record.state === "accepted";
      this.records.set(record.id, record.state === "failed" ? record : woken({ ...record, state: "waiting", notBefore: record.notBefore ?? null, isUncertain }));
    }
    this.sort();
    this.store.changed();
  }

  add({ kind, conversationId, target, body, options }: NewItem): OutboxRecord {
    if (this.records.size >= this.limit) throw new OutboxFullError(this.limit);
    const writtenAt = Date.now();
    const record: OutboxRecord = {
      id: drawId(),
      place: `${String(writtenAt).padStart(15, "0")}.${String((this.written += 1)).padStart(9, "0")}`,
      kind,
      conversationId,
      target: target ?? null,
      options: options ?? {},
      writtenAt,
      body: body ?? null,
      clientRandom: kind === "delete" ? null : drawClientRandom(),
      frozen: null,
      state: "waiting",
      attempts: 0,
      renewals: 0,
      nextTryAt: null,
      notBefore: null,
      failure: null,
      isUncertain: false,
    };
    void this.put(record);
    return record;
  }

  get(id: string): OutboxRecord | null {
    return this.records.get(id) ?? null;
  }

  list(conversationId?: string): OutboxRecord[] {
    const all = [...this.records.values()];
    return conversationId === undefined ? all : all.filter((record) => record.conversationId === conversationId);
  }

  findByKey(clientRandom: number): OutboxRecord | null {
    return this.list().find((record) => record.clientRandom === clientRandom) ?? null;
  }

  /** Keep a changed record. Resolves when it is stored. Nothing happens for one that is gone. */
  put(record: OutboxRecord): Promise<void> {
    this.records.set(record.id, record);
    this.tell(record.conversationId, { op: "put", record });
    const after = this.saves.get(record.id) ?? Promise.resolve();
    const saved = after.then(() => this.save(record));
    this.saves.set(record.id, saved);
    return saved;
  }

  update(id: string, change: (record: OutboxRecord) => OutboxRecord): Promise<void> {
    const record = this.records.get(id);
    return record === undefined ? Promise.resolve() : this.put(change(record));
  }

  /** The server holds it: nothing is left to do. */
  confirm(id: string, sent: SentMessage): void {
    this.remove(id, sent);
    this.outcomes.get(id)?.resolve(sent);
    this.outcomes.delete(id);
  }

  /** Resolves when the item is stored by the server, rejects when it is given up. */
  outcome(id: string): Promise<SentMessage> {
    const known = this.outcomes.get(id);
    if (known !== undefined) return known.promise;
    let resolve: Waiting["resolve"] = () => undefined;
    let reject: Waiting["reject"] = () => undefined;
    const promise = new Promise<SentMessage>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    promise.catch(() => undefined); // nobody has to wait for it
    this.outcomes.set(id, { promise, resolve, reject });
    return promise;
  }

  /** What another tab did. */
  heard(news: OutboxNews): void {
    if (news.op === "put") {
      this.records.set(news.record.id, news.record);
      this.sort();
    } else {
      this.records.delete(news.id);
      const waiting = this.outcomes.get(news.id);
      this.outcomes.delete(news.id);
      if (news.sent === null) waiting?.reject(new DiscardedError());
      else waiting?.resolve(news.sent);
    }
    this.store.changed();
  }

  async retry(id: string): Promise<void> {
    await this.update(id, resumed);
  }

  async retryAll(): Promise<void> {
    await Promise.all(this.list().map((record) => this.retry(record.id)));
  }

  async discard(id: string): Promise<void> {
    const record = this.free(id);
    if (record === null) return;
    this.remove(id, null);
    this.outcomes.get(id)?.reject(new DiscardedError());
    this.outcomes.delete(id);
  }

  async edit(id: string, body: MessageBody | string): Promise<void> {
    const record = this.free(id);
    if (record === null) return;
    if (record.body === null) throw new InvalidInputError("this has no text");
    const next = typeof body === "string" ? { ...record.body, text: body } : body;
    // Another text is another message: it must not meet an old try under the same key.
    await this.put(resumed({ ...anew(record, drawClientRandom), body: next }));
  }

  private free(id: string): OutboxRecord | null {
    const record = this.records.get(id) ?? null;
    if (record !== null && (record.isUncertain || record.state === "sending" || record.state === "accepted")) throw new OutboxBusyError();
    return record;
  }

  private remove(id: string, sent: SentMessage | null): void {
    const record = this.records.get(id);
    if (record === undefined) return;
    this.records.delete(id);
    const after = this.saves.get(id) ?? Promise.resolve();
    this.saves.delete(id);
    void after.then(() => this.storage.delete(TABLE, keyOf(record))).catch(() => undefined);
    this.tell(record.conversationId, { op: "gone", id, sent });
  }

  private async save(record: OutboxRecord): Promise<void> {
    if (this.records.get(record.id) !== record) return; // a later state is on its way
    try {
      await this.storage.put(TABLE, keyOf(record), record);
    } catch {
      // A full or forbidden storage costs the copy that survives a reload, not the message.
      this.isDurable = false;
      this.store.changed();
    }
  }

  private tell(conversationId: string, news: OutboxNews): void {
    this.store.changed();
    this.changed(conversationId, news);
  }

  private sort(): void {
    this.records = new Map([...this.records].sort(([, one], [, other]) => (one.place < other.place ? -1 : 1)));
  }

  private snapshot(): OutboxSnapshot {
    const items = this.list().map((record) => {
      const item = this.items.get(record) ?? itemOf(record);
      this.items.set(record, item);
      return item;
    });
    return { items, failed: items.filter((item) => item.state === "failed").length, durable: this.isDurable };
  }
}

function keyOf(record: OutboxRecord): string {
  return `${record.place}-${record.id}`;
}
