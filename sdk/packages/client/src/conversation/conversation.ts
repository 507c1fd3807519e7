/** One conversation, as the application uses it. */
import { decodeBase64, encodeBase64, isSame, utf8Bytes } from "../base64";
import { DecryptionError, InvalidInputError, RequestError } from "../errors";
import { Handle } from "../outbox/handle";
import type { NewItem } from "../outbox/outbox";
import { LIMITS } from "../protocol.gen";
import type { MediaReference, MessageBody } from "../types/body";
import type { ConversationStore, Integrity, SendInput, SendOptions, UploadOptions } from "../types/conversation";
import type { MessageHandle } from "../types/outbox";
import type { ScheduledItem } from "../types/personal";
import type { MessageItem } from "../types/timeline";
import type { DeliveryReport, MemberRole, MemberView } from "../types/wire";
import { isMessage } from "./fold";
import { ConversationState } from "./state";

/** How far back `reveal` looks. */
const REVEAL_MAX = 2_000;

export class Conversation extends ConversationState implements ConversationStore {
  open(): () => void {
    this.openCount += 1;
    if (this.openCount === 1 && this.loaded) this.markFirstUnread();
    if (!this.loaded && this.core.isOnline()) void this.load();
    this.core.looked();
    const unwatch = this.core.link.watch(this.id);
    let isOpen = true;
    return () => {
      if (!isOpen) return;
      isOpen = false;
      unwatch();
      this.openCount -= 1;
      if (this.openCount > 0) return;
      this.presence = [];
      this.typing.set(false);
      this.changed();
    };
  }

  async reveal(messageId: string): Promise<string | null> {
    if (!this.loaded) await this.load();
    for (let read = 0; read < REVEAL_MAX && this.find(messageId) === null && this.hasEarlier; read += LIMITS.pageMax) {
      await this.loadEarlier(LIMITS.pageMax);
    }
    return this.find(messageId)?.key ?? null;
  }

  find(messageId: string): MessageItem | null {
    return this.items.find(messageId, this.summary());
  }

  send(input: SendInput, options: SendOptions = {}): MessageHandle {
    const body = bodyOf(input);
    if (body.text.trim() === "" && body.media === undefined && body.extra === undefined) throw new InvalidInputError("an empty message");
    checkOptions(options);
    this.typing.ended();
    this.core.drafts.sent(this.id);
    return this.keep({ kind: "send", conversationId: this.id, body, options: { ...options } });
  }

  edit(messageId: string, input: SendInput): MessageHandle {
    const found = this.find(messageId);
    const body = typeof input === "string" ? { ...found?.body, text: input } : input;
    const { ttl: _, ...rest } = body as MessageBody;
    return this.keep({ kind: "edit", conversationId: this.id, target: messageId, body: rest, options: { metadata: found?.metadata ?? {} } });
  }

  react(messageId: string, emoji: string, remove = false): MessageHandle {
    if (utf8Bytes(emoji).length > LIMITS.emojiBytes || emoji === "") throw new InvalidInputError("not an emoji");
    return this.keep({ kind: "react", conversationId: this.id, target: messageId, options: { emoji, remove } });
  }

  async remove(messageId: string, { forEveryone }: { readonly forEveryone: boolean }): Promise<void> {
    const handle = this.keep({ kind: "delete", conversationId: this.id, target: messageId, options: { forEveryone } });
    await storedOrRefused(handle);
    if (!forEveryone) this.hide([messageId]);
  }

  markRead(seq?: number): void {
    let upTo = Math.min(seq ?? this.log.held, this.log.held);
    const record = this.core.record(this.id);
    if (upTo <= 0 || record === null) return;
    const { userId } = this.core.self();
    // What follows and is not shown, nobody can scroll to.
    for (let next = this.log.at(upTo + 1); upTo < this.log.held && next !== null && !this.items.isNews(next.entry); next = this.log.at(upTo + 1)) upTo += 1;
    let left = 0;
    for (const { entry } of this.log.between(upTo + 1, this.log.held)) if (isMessage(entry) && entry.senderId !== userId) left += 1;
    if (!record.read(upTo, left)) return;
    this.core.acks.read(this.id, upTo);
    this.items.read(userId, upTo, Date.now());
    this.changed();
  }

  setTyping(active: boolean): void {
    if (this.core.isOnline()) this.typing.set(active);
  }

  setDraft(text: string): void {
    this.core.drafts.set(this.id, text);
  }

  async schedule(input: SendInput, at: Date, options: SendOptions = {}): Promise<ScheduledItem> {
    checkOptions(options);
    const item = await this.core.scheduled.create(this.id, bodyOf(input), at, options);
    this.core.drafts.sent(this.id);
    return item;
  }

  async upload(data: Blob | Uint8Array, options: UploadOptions = {}): Promise<MediaReference> {
    const bytes = data instanceof Uint8Array ? data : new Uint8Array(await data.arrayBuffer());
    const named = data instanceof Uint8Array ? {} : { name: (data as { name?: string }).name ?? "", mimeType: data.type };
    const { signal, name, mimeType, ...shape } = { ...named, ...options };
    const sealed = await this.core.engine.sealMedia(bytes);
    const stored = sealed?.data ?? bytes;
    const { sha256 } = await import("../fields");
    const { mediaId } = await this.core.rest.upload(new Uint8Array(stored), signal);
    return {
      mediaId,
      name: name ?? "",
      mimeType: mimeType ?? "application/octet-stream",
      size: bytes.length,
      ...shape,
      ...(sealed === null ? {} : { key: sealed.key }),
      sha256: encodeBase64(sha256(stored)),
    };
  }

  async download(media: MediaReference): Promise<Uint8Array> {
    const stored = await this.core.rest.download(media.mediaId);
    const { sha256 } = await import("../fields");
    if (media.sha256 !== undefined && !isSame(sha256(stored), decodeBase64(media.sha256))) {
      throw new DecryptionError("The medium is not the one that was sent.");
    }
    return media.key === undefined ? stored : this.core.engine.openMedia(stored, media.key);
  }

  async refreshMembers(): Promise<readonly MemberView[]> {
    const { members } = await this.core.rest.request<{ members: readonly MemberView[] }>("GET", this.path("members"));
    this.members = members;
    this.changed();
    return members;
  }

  async addMembers(userIds: readonly string[]): Promise<void> {
    await this.core.rest.request("POST", this.path("members"), { userIds });
    await this.membersChanged();
  }

  async removeMember(userId: string): Promise<void> {
    await this.core.rest.request("DELETE", this.path(`members/${userId}`));
    await this.membersChanged();
  }

  async setRole(userId: string, role: MemberRole): Promise<void> {
    await this.core.rest.request("PATCH", this.path(`members/${userId}`), { role });
    await this.membersChanged();
  }

  async leave(): Promise<void> {
    await this.core.rest.request("DELETE", this.path(`members/${this.core.self().userId}`));
    await this.core.refresh(this.id).catch(() => undefined);
    this.changed();
  }

  async update(settings: Readonly<Record<string, unknown>>): Promise<void> {
    await this.core.rest.request("PATCH", this.path(), { settings });
    await this.core.refresh(this.id);
    this.changed();
  }

  async delete(): Promise<void> {
    await this.core.rest.request("DELETE", this.path());
  }

  delivery(messageId: string): Promise<DeliveryReport> {
    return this.core.rest.request("GET", `messages/${messageId}/delivery`);
  }

  async verify(): Promise<Integrity> {
    const { verifyLog } = await import("./verify"); // the chain's hashes are not needed before
    this.integrity = await verifyLog(this.id, this.log, this.core.rest);
    this.changed();
    return this.integrity;
  }

  private keep(item: NewItem): MessageHandle {
    const record = this.core.outbox.add(item);
    return new Handle(record.id, this.id, this.core.outbox, this);
  }

  private async membersChanged(): Promise<void> {
    this.core.directory.forget(this.id);
    await this.core.refresh(this.id).catch(this.core.report);
    await this.refreshMembers();
  }

  private path(rest?: string): string {
    return `conversations/${this.id}${rest === undefined ? "" : `/${rest}`}`;
  }
}

/** Resolves when it is stored. Refused for good it is put away, and the refusal thrown: nobody can change a deletion. */
function storedOrRefused(handle: MessageHandle): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const { status, failure } = handle.getSnapshot();
      if (status !== "failed" || failure === null) return;
      end();
      handle.discard().catch(() => undefined);
      reject(new RequestError(failure.code, failure.message));
    };
    const end = handle.subscribe(look);
    handle.stored.then(resolve, reject).finally(end);
    look();
  });
}

function bodyOf(input: SendInput): MessageBody {
  return typeof input === "string" ? { text: input } : input;
}

function checkOptions({ ttl, metadata }: SendOptions): void {
  if (ttl !== undefined && !(Number.isInteger(ttl) && ttl >= LIMITS.ttlMinSeconds && ttl <= LIMITS.ttlMaxSeconds)) {
    throw new InvalidInputError(`ttl is a whole number of seconds, ${LIMITS.ttlMinSeconds} … ${LIMITS.ttlMaxSeconds}`);
  }
  if (metadata !== undefined && utf8Bytes(JSON.stringify(metadata)).length > LIMITS.metadataBytes) {
    throw new InvalidInputError(`metadata is over ${LIMITS.metadataBytes} bytes`);
  }
}
