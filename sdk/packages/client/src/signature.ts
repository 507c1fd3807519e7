/**
 * The device signature (docs/protocol.md "The device signature"): what is signed, signing it, and whether a signature
 * is one.
 *
 * The server's side of it is messaging/signatures.py; `tests/vectors/signatures.json` holds cases that both pass. The
 * signing itself is Ed25519 of WebCrypto, so a private key can be one that no script can read.
 */
import { decodeBase64 } from "./base64";
import { Ed25519UnavailableError, InvalidInputError } from "./errors";
import { canonicalJson, EMPTY, isSame, optionalUuidBytes, packFields, sha256, u64Bytes, utf8Bytes, uuidBytes, type Metadata } from "./fields";

/** What a device signs of a message. `content` is the ciphertext, as bytes or in base64; `ttl` is in seconds. */
export interface Signable {
  readonly conversationId: string;
  readonly senderId: string;
  readonly deviceId: string;
  readonly clientRandom: number;
  readonly type: string;
  readonly content: Uint8Array | string;
  readonly metadata: Metadata;
  readonly replyTo?: string | null;
  readonly target?: string | null;
  readonly mediaId?: string | null;
  readonly ttl?: number | null;
}

/** A device's keys: the private one to sign with, the public one (32 bytes) to register. */
export interface DeviceKeys {
  readonly privateKey: CryptoKey;
  readonly publicKey: Uint8Array<ArrayBuffer>;
}

export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;
const PREFIX = "whispr/msg/v1";
const ALGORITHM = "Ed25519";

/**
 * The bytes that the sending device signs: the prefix, then each field with its length.
 *
 * A number in `metadata` must be one that JSON carries exactly; the server refuses numbers outside ±(1e-7 … 2^53 − 1).
 * Throws InvalidInputError for what is not of the protocol's form or has no canonical JSON.
 */
export function signatureEnvelope(message: Signable): Uint8Array<ArrayBuffer> {
  const content = typeof message.content === "string" ? decodeBase64(message.content) : message.content;
  return packFields(utf8Bytes(PREFIX), [
    uuidBytes(message.conversationId),
    uuidBytes(message.senderId),
    uuidBytes(message.deviceId),
    u64Bytes(message.clientRandom),
    utf8Bytes(message.type),
    optionalUuidBytes(message.replyTo),
    optionalUuidBytes(message.target),
    message.mediaId === null || message.mediaId === undefined ? EMPTY : utf8Bytes(message.mediaId),
    message.ttl === null || message.ttl === undefined ? EMPTY : u64Bytes(message.ttl),
    sha256(content),
    sha256(utf8Bytes(canonicalJson(message.metadata))),
  ]);
}

/** New keys for a device. The private key cannot be exported, but kept in IndexedDB. Throws Ed25519UnavailableError. */
export async function generateDeviceKeys(): Promise<DeviceKeys> {
  try {
    const pair = (await subtle().generateKey(ALGORITHM, false, ["sign", "verify"])) as CryptoKeyPair;
    return { privateKey: pair.privateKey, publicKey: new Uint8Array(await subtle().exportKey("raw", pair.publicKey)) };
  } catch (error) {
    throw new Ed25519UnavailableError({ cause: error });
  }
}

/** The 64 bytes of the signature of `envelope`. Throws Ed25519UnavailableError, InvalidInputError for another kind of key. */
export async function signEnvelope(privateKey: CryptoKey, envelope: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await subtle().sign(ALGORITHM, privateKey, new Uint8Array(envelope)));
  } catch (error) {
    if (!(await isEd25519Available())) throw new Ed25519UnavailableError({ cause: error });
    throw new InvalidInputError("this key cannot sign with Ed25519", { cause: error });
  }
}

/**
 * Whether `signature` is the Ed25519 signature of `envelope` under `publicKey` (its 32 bytes).
 *
 * As strict as the server, and the same in every engine: refused are S not below the group order (a second signature
 * made from the first), points of small order, and keys in a second spelling, which engines treat differently.
 * Throws Ed25519UnavailableError where it cannot be said.
 */
export async function verifySignature(publicKey: Uint8Array, envelope: Uint8Array, signature: Uint8Array): Promise<boolean> {
  if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  const [r, s] = [signature.subarray(0, 32), signature.subarray(32)];
  if (!isBelow(s, GROUP_ORDER) || !isBelow(withoutSign(publicKey), FIELD_PRIME)) return false;
  if (isSmallOrder(publicKey) || isSmallOrder(r)) return false;
  try {
    const key = await subtle().importKey("raw", new Uint8Array(publicKey), ALGORITHM, false, ["verify"]);
    return await subtle().verify(ALGORITHM, key, new Uint8Array(signature), new Uint8Array(envelope));
  } catch (error) {
    // Some engines refuse to import what is no point, each with an error of its own.
    if (await isEd25519Available()) return false;
    throw new Ed25519UnavailableError({ cause: error });
  }
}

/** Whether this environment can sign and verify. */
export async function isEd25519Available(): Promise<boolean> {
  try {
    await subtle().importKey("raw", hexBytes(BASE_POINT), ALGORITHM, false, ["verify"]);
    return true;
  } catch {
    return false;
  }
}

function subtle(): SubtleCrypto {
  const found = (globalThis.crypto as Crypto | undefined)?.subtle as SubtleCrypto | undefined;
  if (found === undefined) throw new Ed25519UnavailableError();
  return found;
}

// --- What RFC 8032 leaves open ---

/** Little-endian, as the numbers in keys and signatures are. */
const BASE_POINT = `58${"66".repeat(31)}`;
const GROUP_ORDER = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
const FIELD_PRIME = `ed${"ff".repeat(30)}7f`;
/** y of the points whose order divides 8: 0, 1, −1, and the two of order 8. */
export const SMALL_ORDER_Y = [
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  `ec${"ff".repeat(30)}7f`,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
] as const;

function isSmallOrder(point: Uint8Array): boolean {
  return SMALL_ORDER_Y.some((y) => isSame(withoutSign(point), hexBytes(y)));
}

/** y alone: the highest bit is the sign of x. */
function withoutSign(point: Uint8Array): Uint8Array {
  const y = point.slice();
  y[31] = (y[31] ?? 0) & 0x7f;
  return y;
}

function isBelow(number: Uint8Array, limit: string): boolean {
  const bound = hexBytes(limit);
  for (let at = 31; at >= 0; at -= 1) {
    const [one, other] = [number[at] ?? 0, bound[at] ?? 0];
    if (one !== other) return one < other;
  }
  return false;
}

/** The few constants of above: reading them for each signature was an eighth of the time that a page of history takes. */
const read = new Map<string, Uint8Array<ArrayBuffer>>();

function hexBytes(hex: string): Uint8Array<ArrayBuffer> {
  const found = read.get(hex) ?? Uint8Array.from({ length: hex.length / 2 }, (_, at) => Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16));
  read.set(hex, found);
  return found;
}
