/** Messages that wait at the server for their time; held ones are encrypted again for whoever is there by then. */
import { decodeBase64 } from "../base64";
import { InvalidInputError } from "../errors";
import { Observable } from "../observable";
import { drawClientRandom } from "../outbox/random";
import type { Rest } from "../rest";
import type { Sealer } from "../security/sealer";
import type { BodyCodec, MessageBody } from "../types/body";
import type { Identity } from "../types/connection";
import type { SendOptions } from "../types/conversation";
import type { EncryptionEngine } from "../types/engine";
import type { ScheduledItem, ScheduledSnapshot, ScheduledStore } from "../types/personal";
import type { Entry, ScheduledView } from "../types/wire";

const NOTHING: readonly ScheduledItem[] = [];

export class Scheduled implements ScheduledStore {
  private readonly items = new Map<string, ScheduledItem>();
  private byConversation = new Map<string, readonly ScheduledItem[]>();
  private loaded = false;
  private readonly store: Observable<ScheduledSnapshot>;

  constructor(
    private readonly rest: Rest,
    private readonly sealer: () => Sealer,
    private readonly engine: EncryptionEngine,
    private readonly codec: BodyCodec,
    private readonly self: () => Identity,
    private readonly changed: (conversationId: string) => void,
    private readonly report: (error: unknown) => void,
  ) {
    this.store = new Observable<ScheduledSnapshot>(() => ({ items: [...this.items.values()].sort((one, other) => one.at - other.at), loaded: this.loaded }));
  }

  readonly subscribe = (listener: () => void): (() => void) => this.store.subscribe(listener);
  readonly getSnapshot = (): ScheduledSnapshot => this.store.getSnapshot();

  of(conversationId: string): readonly ScheduledItem[] {
    return this.byConversation.get(conversationId) ?? NOTHING;
  }

  async create(conversationId: string, body: MessageBody, at: Date, options: SendOptions): Promise<ScheduledItem> {
    const clientRandom = drawClientRandom();
    const send = await this.sendOf(conversationId, clientRandom, body, options);
    const view = await this.rest.request<ScheduledView>("POST", "messages/scheduled", { ...send, scheduledFor: at.toISOString() });
    return this.keep(view, body);
  }

  async reschedule(id: string, at: Date): Promise<void> {
    const view = await this.rest.request<ScheduledView>("PUT", `messages/scheduled/${id}`, { scheduledFor: at.toISOString() });
    this.keep(view, this.items.get(id)?.body ?? null);
  }

  async edit(id: string, input: MessageBody | string): Promise<void> {
    const view = await this.rest.request<ScheduledView>("GET", `messages/scheduled/${id}`);
    if (view.deviceId !== this.self().deviceId) throw new InvalidInputError("the device that wrote it alone can change what it says");
    const before = this.items.get(id)?.body ?? (await this.open(view));
    await this.replace(view, typeof input === "string" ? { ...before, text: input } : input);
  }

  async cancel(id: string): Promise<void> {
    await this.rest.request("DELETE", `messages/scheduled/${id}`);
    this.drop(id);
  }

  async refresh(): Promise<void> {
    const { scheduled } = await this.rest.request<{ scheduled: readonly ScheduledView[] }>("GET", "messages/scheduled?limit=200");
    const listed = new Set(scheduled.map((view) => view.id));
    for (const id of [...this.items.keys()]) if (!listed.has(id)) this.drop(id);
    for (const view of scheduled) await this.heard(view);
    this.loaded = true;
    this.store.changed();
  }

  /** What the server says of one; without its content it is asked for where this device does not know it. */
  async heard(view: ScheduledView | (Omit<ScheduledView, "state"> & { readonly state: "cancelled" })): Promise<void> {
    if (view.state === "cancelled" || view.state === "sent") return this.drop(view.id);
    let body = this.items.get(view.id)?.body ?? null;
    if (body === null || view.state === "needs_reencrypt") {
      const whole = view.content == null ? await this.rest.request<ScheduledView>("GET", `messages/scheduled/${view.id}`) : view;
      body = (await this.open(whole)) ?? body;
      if (view.state === "needs_reencrypt" && body !== null) return this.again(whole, body);
    }
    this.keep(view, body);
  }

  /** Members or devices came or went since: the same message for those who are there now. */
  private async again(view: ScheduledView, body: MessageBody): Promise<void> {
    this.keep(view, body);
    if (view.deviceId !== this.self().deviceId) return; // it is sent as that device, which alone can sign for it
    await this.replace(view, body).catch(this.report);
  }

  /** The whole send anew, under its key. */
  private async replace(view: ScheduledView, body: MessageBody): Promise<void> {
    const options: SendOptions = {
      ...(view.replyTo == null ? {} : { replyTo: view.replyTo }),
      ...(view.ttl == null ? {} : { ttl: view.ttl, ttlStart: view.ttlStart === "read" ? "read" : "send" }),
      ...(view.metadata == null ? {} : { metadata: view.metadata }),
    };
    const send = await this.sendOf(view.conversationId, view.clientRandom, body, options);
    this.keep(await this.rest.request<ScheduledView>("PUT", `messages/scheduled/${view.id}`, send), body);
  }

  private async sendOf(conversationId: string, clientRandom: number, body: MessageBody, options: SendOptions): Promise<object> {
    const { replyTo, ttl, ttlStart, metadata = {} } = options;
    const type: Entry["type"] = body.media !== undefined ? "media" : ttl === undefined ? "text" : "ephemeral";
    const frozen = await this.sealer().seal({ conversationId, clientRandom, type, body, metadata, replyTo, ttl });
    const { content, signature, membersVersion } = frozen;
    return { conversationId, type, content, clientRandom, metadata, replyTo, mediaId: body.media?.mediaId, ttl, ttlStart, signature, membersVersion };
  }

  private async open(view: ScheduledView): Promise<MessageBody | null> {
    if (view.content == null) return null;
    const { conversationId, deviceId, clientRandom } = view;
    const binding = { conversationId, senderId: this.self().userId, senderDeviceId: deviceId, clientRandom };
    try {
      return this.codec.decode(await this.engine.open({ binding, content: decodeBase64(view.content) }));
    } catch {
      return null;
    }
  }

  private keep(view: Pick<ScheduledView, "id" | "conversationId" | "scheduledFor" | "state" | "reason" | "messageId">, body: MessageBody | null): ScheduledItem {
    const { id, conversationId, state, reason, messageId } = view;
    const item = { id, conversationId, body, at: Date.parse(view.scheduledFor), state, reason, messageId };
    this.items.set(id, item);
    this.tell(conversationId);
    return item;
  }

  private drop(id: string): void {
    const item = this.items.get(id);
    if (item === undefined) return;
    this.items.delete(id);
    this.tell(item.conversationId);
  }

  private tell(conversationId: string): void {
    const own = [...this.items.values()].filter((item) => item.conversationId === conversationId);
    this.byConversation.set(conversationId, own.sort((one, other) => one.at - other.at));
    this.store.changed();
    this.changed(conversationId);
  }
}
