/** How the hash chain and the device signature write their fields: each with its length, u32 big-endian. */
import { sha256 } from "@noble/hashes/sha2.js";
import canonicalize from "canonicalize";
import { InvalidInputError } from "./errors";

/** A JSON object, as JSON.parse gives it. */
export type Metadata = Readonly<Record<string, unknown>>;

export const EMPTY = new Uint8Array(0);
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const U64_LIMIT = 2n ** 64n;
const LENGTH_BYTES = 4;
const UUID_BYTES = 16;

export { isSame, utf8Bytes } from "./base64";
export { sha256 };

/** `prefix`, then each field behind its length. */
export function packFields(prefix: Uint8Array, fields: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const total = fields.reduce((sum, field) => sum + LENGTH_BYTES + field.length, prefix.length);
  const packed = new Uint8Array(total);
  const view = new DataView(packed.buffer);
  packed.set(prefix);
  let at = prefix.length;
  for (const field of fields) {
    view.setUint32(at, field.length);
    packed.set(field, at + LENGTH_BYTES);
    at += LENGTH_BYTES + field.length;
  }
  return packed;
}

/** The 16 bytes of a UUID. Throws InvalidInputError. */
export function uuidBytes(text: string): Uint8Array {
  if (!UUID.test(text)) throw new InvalidInputError("not a UUID");
  // Without Uint8Array.from and its callback: each entry that is read needs a dozen of these.
  const digits = text.replaceAll("-", "");
  const bytes = new Uint8Array(UUID_BYTES);
  for (let at = 0; at < UUID_BYTES; at += 1) bytes[at] = Number.parseInt(digits.slice(2 * at, 2 * at + 2), 16);
  return bytes;
}

/** The 16 bytes of a UUID, none for null. */
export function optionalUuidBytes(text: string | null | undefined): Uint8Array {
  return text === null || text === undefined ? EMPTY : uuidBytes(text);
}

/** A whole number as 8 bytes, big-endian. Throws InvalidInputError for one that a number cannot hold exactly. */
export function u64Bytes(value: number | bigint): Uint8Array {
  const isWhole = typeof value === "bigint" ? value < U64_LIMIT : Number.isSafeInteger(value);
  if (!isWhole || value < 0) throw new InvalidInputError("not an unsigned 64-bit integer");
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

/** `metadata` in RFC 8785 canonical JSON. Throws InvalidInputError for what has none: NaN, Infinity, a lone surrogate, a circle. */
export function canonicalJson(metadata: Metadata): string {
  let text: string | undefined;
  try {
    text = canonicalize(metadata);
  } catch (error) {
    throw new InvalidInputError("metadata has no canonical JSON", { cause: error });
  }
  if (text === undefined) throw new InvalidInputError("metadata has no canonical JSON");
  return text;
}
