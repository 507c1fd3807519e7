/**
 * One ciphertext for many devices: the plaintext under a fresh AES-256-GCM key, and that key for each device by HPKE
 * (RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM). Nothing of it is of our own but the order:
 *
 *     u8 version = 1 · u8 suite = 1 · u16 devices · for each [16 device id · 32 enc · 48 sealed key] · 12 nonce · ciphertext
 *
 * Numbers are big-endian. The binding (purpose, conversation, sender, sending device, clientRandom) is HPKE's `info`, with
 * the recipient's device id as its additional data; the binding and the SHA-256 of everything before the nonce are the
 * additional data of the ciphertext. So nothing opens in another place, and no list of recipients but the whole.
 *
 * HPKE's base mode does not say who sealed: the device signature does, over the whole envelope.
 */
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { decodeBase64 } from "../base64";
import { ContentTooLargeError, DecryptionError, NoRecipientsError } from "../errors";
import { isSame, packFields, sha256, u64Bytes, utf8Bytes, uuidBytes } from "../fields";
import { LIMITS } from "../protocol.gen";
import type { Binding, PeerDevice } from "../types/engine";

const VERSION = 1;
const SUITE = 1;
const HEAD_BYTES = 4;
const ID_BYTES = 16;
const ENC_BYTES = 32;
const WRAPPED_BYTES = 48;
const SLOT_BYTES = ID_BYTES + ENC_BYTES + WRAPPED_BYTES;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const DEVICES_MAX = 65_535;

function suite(): CipherSuite {
  return new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });
}

/** What the envelope is bound to, as bytes. */
export function bindingBytes({ purpose = "message", conversationId, senderId, senderDeviceId, clientRandom }: Binding): Uint8Array<ArrayBuffer> {
  const ids = [conversationId, senderId, senderDeviceId].map(uuidBytes);
  return packFields(utf8Bytes("whispr/enc/v1"), [utf8Bytes(purpose), ...ids, u64Bytes(clientRandom)]);
}

/** Encrypt for every device that has a key. Throws NoRecipientsError, ContentTooLargeError. */
export async function sealEnvelope(binding: Binding, plaintext: Uint8Array, devices: readonly PeerDevice[]): Promise<Uint8Array<ArrayBuffer>> {
  const keyed = devices.filter((device) => device.encryptionKey !== null);
  const isForOthers = devices.some((device) => device.userId !== binding.senderId);
  if (keyed.length === 0 || (isForOthers && keyed.every((device) => device.userId === binding.senderId))) throw new NoRecipientsError();
  const size = HEAD_BYTES + keyed.length * SLOT_BYTES + NONCE_BYTES + plaintext.length + TAG_BYTES;
  if (size > LIMITS.contentBytes || keyed.length > DEVICES_MAX) throw new ContentTooLargeError(LIMITS.contentBytes);

  const envelope = new Uint8Array(size);
  const secret = crypto.getRandomValues(new Uint8Array(32));
  const info = bindingBytes(binding);
  envelope.set([VERSION, SUITE, keyed.length >> 8, keyed.length & 255]);
  const slots = await Promise.all(keyed.map((device) => wrap(secret, device, info)));
  slots.forEach((slot, index) => envelope.set(slot, HEAD_BYTES + index * SLOT_BYTES));

  const at = HEAD_BYTES + keyed.length * SLOT_BYTES;
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const key = await crypto.subtle.importKey("raw", secret, "AES-GCM", false, ["encrypt"]);
  const additionalData = contentData(info, envelope.subarray(0, at));
  const ciphertext = await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce, additionalData }, key, new Uint8Array(plaintext));
  envelope.set(nonce, at);
  envelope.set(new Uint8Array(ciphertext), at + NONCE_BYTES);
  return envelope;
}

/** Decrypt with this device's key. Throws DecryptionError where it is not for this device, or not what was sealed. */
export async function openEnvelope(binding: Binding, envelope: Uint8Array, deviceId: string, keys: CryptoKeyPair): Promise<Uint8Array<ArrayBuffer>> {
  if (envelope[0] !== VERSION || envelope[1] !== SUITE) throw new DecryptionError("This is of an encryption that is not known here.");
  const count = ((envelope[2] ?? 0) << 8) | (envelope[3] ?? 0);
  const end = HEAD_BYTES + count * SLOT_BYTES;
  if (envelope.length < end + NONCE_BYTES + TAG_BYTES) throw new DecryptionError();
  const own = uuidBytes(deviceId);
  const slot = slotOf(envelope, count, own);
  if (slot === null) throw new DecryptionError("This is not encrypted for this device.");
  const info = bindingBytes(binding);
  try {
    const enc = slot.slice(ID_BYTES, ID_BYTES + ENC_BYTES);
    const context = await suite().createRecipientContext({ recipientKey: keys, enc: enc.buffer, info: info.buffer });
    const secret = await context.open(slot.slice(ID_BYTES + ENC_BYTES).buffer, new Uint8Array(own).buffer);
    const key = await crypto.subtle.importKey("raw", secret, "AES-GCM", false, ["decrypt"]);
    const iv = envelope.slice(end, end + NONCE_BYTES);
    const additionalData = contentData(info, envelope.subarray(0, end));
    return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv, additionalData }, key, envelope.slice(end + NONCE_BYTES)));
  } catch (error) {
    throw new DecryptionError("This is not what was sealed.", { cause: error });
  }
}

async function wrap(secret: Uint8Array<ArrayBuffer>, device: PeerDevice, info: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const id = new Uint8Array(uuidBytes(device.id));
  const hpke = suite();
  const recipientPublicKey = await hpke.kem.deserializePublicKey(decodeBase64(device.encryptionKey ?? "").buffer);
  const context = await hpke.createSenderContext({ recipientPublicKey, info: info.buffer });
  const wrapped = await context.seal(secret.buffer, id.buffer);
  const slot = new Uint8Array(SLOT_BYTES);
  slot.set(id);
  slot.set(new Uint8Array(context.enc), ID_BYTES);
  slot.set(new Uint8Array(wrapped), ID_BYTES + ENC_BYTES);
  return slot;
}

function slotOf(envelope: Uint8Array, count: number, own: Uint8Array): Uint8Array<ArrayBuffer> | null {
  for (let index = 0; index < count; index += 1) {
    const at = HEAD_BYTES + index * SLOT_BYTES;
    if (isSame(envelope.subarray(at, at + ID_BYTES), own)) return new Uint8Array(envelope.slice(at, at + SLOT_BYTES));
  }
  return null;
}

function contentData(info: Uint8Array, head: Uint8Array): Uint8Array<ArrayBuffer> {
  return packFields(utf8Bytes("whispr/enc/v1/content"), [info, sha256(head)]);
}
