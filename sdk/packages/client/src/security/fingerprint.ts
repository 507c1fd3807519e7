/**
 * Numbers that people compare: 60 decimal digits in 12 groups of five, as messengers show them.
 *
 * A group is five bytes of the digest modulo 100,000, so 12 groups need 60 bytes: two SHA-256 digests, the second one
 * over the first. What is compared are the keys; whoever shows the same number has the same keys, in any order.
 */
import { decodeBase64 } from "../base64";
import { packFields, sha256, utf8Bytes, uuidBytes } from "../fields";
import type { KnownDevice } from "../types/personal";

const GROUPS = 12;
const GROUP_BYTES = 5;

/** The number of one device's keys (base64). */
export function fingerprintOf(userId: string, publicKey: string, encryptionKey: string | null): string {
  const encryption = encryptionKey === null ? new Uint8Array(0) : decodeBase64(encryptionKey);
  return digits(packFields(utf8Bytes("whispr/device/v1"), [uuidBytes(userId), decodeBase64(publicKey), encryption]));
}

/** The number of two people's keys, the same for both. Null where one has none; `of` gives a user's live devices. */
export function safetyNumberOf(users: readonly string[], of: (userId: string) => readonly KnownDevice[]): string | null {
  const people = [...users].sort().map((userId) => keysOf(userId, of(userId)));
  if (people.includes(null)) return null;
  return digits(packFields(utf8Bytes("whispr/safety/v1"), people.filter((one) => one !== null)));
}

function keysOf(userId: string, devices: readonly KnownDevice[]): Uint8Array | null {
  if (devices.length === 0) return null;
  const ordered = [...devices].sort((one, other) => (one.deviceId < other.deviceId ? -1 : 1));
  const keys = ordered.map((device) => packFields(uuidBytes(device.deviceId), [bytesOf(device.publicKey), bytesOf(device.encryptionKey)]));
  return sha256(packFields(utf8Bytes("whispr/keys/v1"), [uuidBytes(userId), ...keys]));
}

function bytesOf(key: string | null): Uint8Array {
  return key === null ? new Uint8Array(0) : decodeBase64(key);
}

function digits(bytes: Uint8Array): string {
  const first = sha256(bytes);
  const digest = [...first, ...sha256(first)];
  const groups: string[] = [];
  for (let group = 0; group < GROUPS; group += 1) {
    const value = digest.slice(group * GROUP_BYTES, (group + 1) * GROUP_BYTES).reduce((sum, byte) => sum * 256 + byte, 0);
    groups.push(String(value % 100_000).padStart(5, "0"));
  }
  return groups.join(" ");
}
