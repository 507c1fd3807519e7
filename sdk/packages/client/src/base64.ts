/** Bytes as text and back. Base64 as the protocol has it: the standard alphabet, padded, without white space. */
import { InvalidInputError } from "./errors";

const FORM = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** Arguments of one call: engines take about 65,000 before the stack is full. */
const CHUNK = 8_192;

/** The base64 of `bytes`. */
export function encodeBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += CHUNK) binary += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return btoa(binary);
}

/** The bytes that `text` stands for. Throws InvalidInputError where it is no base64, which `atob` would be lenient about. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  if (!FORM.test(text)) throw new InvalidInputError("not base64");
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** Text in UTF-8. */
export function utf8Bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Whether two byte strings are the same. Not in constant time: nothing here is a secret. */
export function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}
