/**
 * Bytes as text and back. Base64 as the protocol has it: the standard alphabet, padded, without white space.
 *
 * React Native had no btoa and atob before 0.74, and its engine has no TextDecoder; where they are, they are quicker.
 */
import { InvalidInputError } from "./errors";

const FORM = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** Arguments of one call: engines take about 65,000 before the stack is full. */
const CHUNK = 8_192;
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The base64 of `bytes`. */
export function encodeBase64(bytes: Uint8Array): string {
  if (typeof btoa !== "function") return encodeByHand(bytes);
  let binary = "";
  for (let at = 0; at < bytes.length; at += CHUNK) binary += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return btoa(binary);
}

/** The bytes that `text` stands for. Throws InvalidInputError where it is no base64, which `atob` would be lenient about. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  if (!FORM.test(text)) throw new InvalidInputError("not base64");
  if (typeof atob !== "function") return decodeByHand(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

function encodeByHand(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 3) {
    const [one = 0, two = 0, three = 0] = bytes.subarray(at, at + 3);
    const bits = (one << 16) | (two << 8) | three;
    for (let shift = 18; shift >= 0; shift -= 6) text += ALPHABET[(bits >> shift) & 63];
  }
  const missing = (3 - (bytes.length % 3)) % 3;
  return text.slice(0, text.length - missing) + "=".repeat(missing);
}

function decodeByHand(text: string): Uint8Array<ArrayBuffer> {
  const digits = text.replace(/=+$/, "");
  const bytes = new Uint8Array(Math.floor((digits.length * 3) / 4));
  let bits = 0;
  let at = 0;
  for (let digit = 0; digit < digits.length; digit += 1) {
    bits = ((bits << 6) | ALPHABET.indexOf(digits.charAt(digit))) & 0xffffff;
    // Each digit but the first of four completes a byte.
    if (digit % 4 > 0) bytes[at++] = bits >> (6 - 2 * (digit % 4));
  }
  return bytes;
}

/** The text that `bytes` are in UTF-8. Throws for bytes that are none. */
export function utf8Text(bytes: Uint8Array): string {
  if (typeof TextDecoder === "function") return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  let escaped = "";
  for (const byte of bytes) escaped += `%${byte.toString(16).padStart(2, "0")}`;
  return decodeURIComponent(escaped);
}

/** Made when it is needed first: nothing is done at import. */
let encoder: TextEncoder | null = null;

/** Text in UTF-8. */
export function utf8Bytes(text: string): Uint8Array {
  encoder ??= new TextEncoder();
  return encoder.encode(text);
}

/** Whether two byte strings are the same. Not in constant time: nothing here is a secret. */
export function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}
