/**
 * The hash chain of a conversation: each entry's hash covers the one before (docs/protocol.md "The hash chain").
 *
 * The server's side of it is messaging/chain.py; `tests/vectors/hash_chain.json` holds cases that both pass.
 *
 * The hash is computed synchronously, by @noble/hashes: WebCrypto's costs a turn of the event loop three times an entry,
 * and is not there on a page that came over plain HTTP or in React Native.
 */
import { decodeBase64 } from "./base64";
import { ChainBrokenError, InvalidInputError } from "./errors";
import { canonicalJson, isSame, optionalUuidBytes, packFields, sha256, u64Bytes, utf8Bytes, uuidBytes, type Metadata } from "./fields";

/** What the chain covers of an entry, as `new_message` and `sync` carry it; `content` is base64. */
export interface ChainEntry {
  readonly messageId: string;
  readonly conversationId: string;
  readonly seq: number;
  readonly senderId: string;
  readonly type: string;
  readonly content: string;
  readonly metadata: Metadata;
  readonly replyTo: string | null;
  readonly target: string | null;
  readonly sentAt: string;
  readonly editedAt?: string | null;
}

/** A place in a log, and the hash of the entry there. */
export interface ChainPoint {
  readonly seq: number;
  readonly hash: Uint8Array;
}

/** `chain` of a conversation of `POST sync`, as it is in the JSON. */
export interface WireChain {
  readonly seq: number;
  readonly head: string;
  readonly links: readonly (string | null)[];
}

/** What verifyChain came to. */
export interface ChainProof {
  /** Entries that were shown to be what was appended, at their place. */
  readonly proven: number;
  /** Entries whose link was taken as given: not whole, or the first one of a reader that holds nothing before it. */
  readonly given: number;
  /** Entries without a link, of a time when the server had the chain off. Nothing is known of them. */
  readonly unlinked: number;
  /** To be passed as `after` with the entries that follow; null where the last entry has no link. */
  readonly head: ChainPoint | null;
}

export const LINK_BYTES = 32;
const PREFIX = "whispr/log/v1";
const MOMENT = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(Z|[+-]\d\d:\d\d)$/;

/** What the first link is made on: at seq 1, or where the chain was switched on. */
export function genesis(): Uint8Array {
  return new Uint8Array(LINK_BYTES);
}

/** The place before seq 1: `after` for a log that is read from its beginning. */
export function chainStart(): ChainPoint {
  return { seq: 0, hash: genesis() };
}

/**
 * The entry's hash: SHA-256 over the hash before and the entry's fields.
 *
 * `entry` must be as it was appended: with its content and its metadata. Throws InvalidInputError for a `previous` that
 * is not 32 bytes and for an entry that is not of the protocol's form.
 */
export function entryLink(previous: Uint8Array, entry: ChainEntry): Uint8Array {
  if (previous.length !== LINK_BYTES) throw new InvalidInputError("a link is 32 bytes");
  const fields = [
    uuidBytes(entry.conversationId),
    u64Bytes(entry.seq),
    uuidBytes(entry.messageId),
    uuidBytes(entry.senderId),
    utf8Bytes(entry.type),
    sha256(decodeBase64(entry.content)),
    sha256(utf8Bytes(canonicalJson(entry.metadata))),
    optionalUuidBytes(entry.target),
    optionalUuidBytes(entry.replyTo),
    u64Bytes(microseconds(entry.sentAt)),
  ];
  const body = packFields(utf8Bytes(PREFIX), fields);
  return sha256.create().update(previous).update(body).digest();
}

/** Whether the entry is shown as it was appended: not erased, not blank, not with the content of a later edit. */
export function isWhole(entry: ChainEntry): boolean {
  if (entry.editedAt !== null && entry.editedAt !== undefined) return false;
  if (entry.type === "system") return !JSON.stringify(entry.metadata).includes('"withheld"');
  if (entry.type === "reaction") return JSON.stringify(entry.metadata).includes('"emoji"');
  return entry.content !== "";
}

/**
 * Check a slice of a log, in order, against its links (one an entry; null for an entry of a time without the chain).
 *
 * `after` is the place before the first entry as the reader holds it: `head` of an earlier proof, `chainStart()` before
 * seq 1, null where it holds none; then the first link is taken as given. So are the links of entries that are not
 * whole. `head`, if it is given, must be the last link. A reader that held a head and then gets entries without links
 * is told so by `unlinked` alone: the operator may have switched the chain off, and a server that wants to hide
 * something can say that it was.
 *
 * Throws ChainBrokenError for an entry that does not fit or where a seq is left out, InvalidInputError for what is not
 * of the protocol's form, among it another number of links than of entries.
 */
export function verifyChain(given: {
  readonly entries: readonly ChainEntry[];
  readonly links: readonly (Uint8Array | null)[];
  readonly head?: ChainPoint;
  readonly after?: ChainPoint | null;
}): ChainProof {
  const { entries, links, head, after = null } = given;
  if (links.length !== entries.length) throw new InvalidInputError("not one link for each entry");
  const counts = { proven: 0, given: 0, unlinked: 0 };
  let at = after?.seq ?? null;
  let previous = after?.hash ?? null;
  for (const [index, entry] of entries.entries()) {
    if (at !== null && entry.seq !== at + 1) throw new ChainBrokenError(entry.seq, "order");
    at = entry.seq;
    const link = links[index] ?? null;
    if (link === null) {
      counts.unlinked += 1;
      previous = genesis(); // switched on again, the chain begins anew
      continue;
    }
    if (link.length !== LINK_BYTES) throw new InvalidInputError("a link is 32 bytes");
    if (previous === null || !isWhole(entry)) counts.given += 1;
    else if (isSame(entryLink(previous, entry), link)) counts.proven += 1;
    else throw new ChainBrokenError(entry.seq, "link");
    previous = link;
  }
  const last = links.length === 0 ? after : lastPoint(at, links.at(-1) ?? null);
  if (head !== undefined && (last === null || head.seq !== last.seq || !isSame(head.hash, last.hash))) {
    throw new ChainBrokenError(head.seq, "head");
  }
  return { ...counts, head: last };
}

/** `verifyChain` on a conversation of `POST sync`: `entries` are its `messages`, `chain` is its `chain`. */
export function verifySync(entries: readonly ChainEntry[], chain: WireChain, after: ChainPoint | null): ChainProof {
  const links = chain.links.map((link) => (link === null ? null : decodeBase64(link)));
  return verifyChain({ entries, links, head: { seq: chain.seq, hash: decodeBase64(chain.head) }, after });
}

function lastPoint(seq: number | null, link: Uint8Array | null): ChainPoint | null {
  return seq === null || link === null ? null : { seq, hash: link };
}

/** Microseconds since 1970 of a time in ISO 8601: more than a Date holds, and from 2255 on more than a number. */
function microseconds(moment: string): bigint {
  const [, seconds, fraction = "", zone] = MOMENT.exec(moment) ?? [];
  const milliseconds = Date.parse(`${seconds}${zone}`);
  if (seconds === undefined || Number.isNaN(milliseconds)) throw new InvalidInputError("not a time in ISO 8601 with a zone");
  return BigInt(milliseconds) * 1_000n + BigInt(fraction.padEnd(6, "0"));
}
