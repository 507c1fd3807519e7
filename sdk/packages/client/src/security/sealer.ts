/** Between bodies and entries: what is encrypted and signed for a conversation, and what of an entry can be read. */
import { decodeBase64, encodeBase64 } from "../base64";
import type { Folded } from "../conversation/fold";
import { ContentTooLargeError } from "../errors";
import { LIMITS } from "../protocol.gen";
import type { Frozen } from "../outbox/record";
import type { Signable } from "../signature";
import type { BodyCodec, MessageBody } from "../types/body";
import type { Identity } from "../types/connection";
import type { EncryptionEngine } from "../types/engine";
import type { KnownDevice } from "../types/personal";
import type { MessageSecurity } from "../types/timeline";
import type { Entry } from "../types/wire";
import type { Directory } from "./directory";

export interface Sealable {
  readonly conversationId: string;
  readonly clientRandom: number;
  readonly type: Entry["type"];
  /** Null for a reaction, which has no content. */
  readonly body: MessageBody | null;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly replyTo?: string | undefined;
  readonly target?: string | undefined;
  readonly ttl?: number | undefined;
}

export interface Opened {
  readonly body: MessageBody | null;
  readonly security: MessageSecurity;
}

export const OPENING: Opened = { body: null, security: "opening" };

export class Sealer {
  constructor(
    private readonly engine: EncryptionEngine,
    private readonly codec: BodyCodec,
    private readonly directory: Directory,
    private readonly self: () => Identity,
  ) {}

  /** Encrypt for everybody who is a member now, and sign. Throws what the engine and the key directory throw. */
  async seal(message: Sealable): Promise<Frozen> {
    const { conversationId, clientRandom, body, ttl } = message;
    const { userId, deviceId } = this.self();
    let content: Uint8Array = new Uint8Array(0);
    let membersVersion: number | null = null;
    if (body !== null) {
      const plaintext = this.codec.encode(ttl === undefined ? body : { ...body, ttl });
      const roster = this.engine.encrypts ? await this.directory.roster(conversationId) : null;
      membersVersion = roster?.membersVersion ?? null;
      const binding = { conversationId, senderId: userId, senderDeviceId: deviceId, clientRandom };
      content = await this.engine.seal({ binding, plaintext, devices: roster?.devices ?? [] });
    }
    if (content.length > LIMITS.contentBytes) throw new ContentTooLargeError(LIMITS.contentBytes);
    const signature = await this.engine.sign({
      ...message,
      replyTo: message.replyTo ?? null,
      target: message.target ?? null,
      mediaId: message.type === "media" ? (body?.media?.mediaId ?? null) : null,
      ttl: ttl ?? null,
      senderId: userId,
      deviceId,
      content,
    });
    return { content: encodeBase64(content), signature: signature === null ? null : encodeBase64(signature), membersVersion };
  }

  /** What the message says, and how sure that is. Never throws: what cannot be read says so. */
  async open({ entry, source }: Pick<Folded, "entry" | "source">): Promise<Opened> {
    const { senderDeviceId, clientRandom } = source;
    let body: MessageBody | null = null;
    try {
      const content = decodeBase64(source.content);
      const binding = { conversationId: entry.conversationId, senderId: entry.senderId, senderDeviceId: senderDeviceId ?? "", clientRandom: clientRandom ?? 0 };
      body = this.codec.decode(await this.engine.open({ binding, content }));
    } catch {
      body = null;
    }
    if (body === null) return { body: null, security: "undecryptable" };
    if (source.signature === null || senderDeviceId === null || clientRandom === null) return { body, security: "unsigned" };
    const device = await this.directory.device(entry.conversationId, senderDeviceId);
    if (device === null || device.publicKey === null) return { body, security: "unsigned" };
    if (device.userId !== entry.senderId) return { body: null, security: "forged" };
    const verdict = await this.judge(entry, source, body, device);
    return verdict === "forged" ? { body: null, security: verdict } : { body, security: verdict };
  }

  /** By the key that is known; by one that the device had before; and by one that it may have made since. */
  private async judge(entry: Entry, source: Folded["source"], body: MessageBody, device: KnownDevice): Promise<MessageSecurity> {
    // What cannot even be written down for the check was not signed by anybody.
    const check = (key: string | null) => this.verify(entry, source, body, key ?? "").catch(() => "forged" as const);
    const verdict = await check(device.publicKey);
    if (verdict !== "forged") return verdict === "verified" && device.changed ? "changed_key" : verdict;
    for (const key of device.formerKeys ?? []) if ((await check(key)) === "verified") return "verified";
    const anew = await this.directory.deviceAnew(entry.conversationId, device);
    if (anew.publicKey === device.publicKey || (await check(anew.publicKey)) !== "verified") return "forged";
    return anew.changed ? "changed_key" : "verified";
  }

  private async verify(entry: Entry, source: Folded["source"], body: MessageBody, publicKey: string) {
    const isEdit = source.type === "edit";
    const signable: Signable = {
      conversationId: entry.conversationId,
      senderId: entry.senderId,
      deviceId: source.senderDeviceId ?? "",
      clientRandom: source.clientRandom ?? 0,
      type: source.type,
      content: source.content,
      metadata: source.metadata,
      replyTo: isEdit ? null : entry.replyTo,
      target: source.target,
      mediaId: isEdit ? null : entry.mediaId,
      // An entry tells when it expires, not of what it was signed with: that is inside, where it cannot be changed.
      ttl: isEdit ? null : (body.ttl ?? null),
    };
    return this.engine.verify({ signable, signature: decodeBase64(source.signature ?? ""), publicKey });
  }
}
