/**
 * A message as it is now: its entry, and the later entries that changed it (docs/protocol.md "Two readings").
 *
 * The log and the history come to the same: what history shows includes every change up to `asOf`, and what comes after
 * is applied to it by the same rules. A change that is applied twice changes nothing.
 */
import type { Reaction } from "../types/timeline";
import type { Entry } from "../types/wire";
import type { Held, Placed } from "./log";

/** What a message comes to, before anything is decrypted. */
export interface Folded {
  readonly entry: Held;
  /** The entry whose content is shown: the message's own, or that of its latest edit. */
  readonly source: Source;
  readonly edited: boolean;
  readonly editedAt: string | null;
  readonly gone: "deleted" | "expired" | null;
  readonly reactions: readonly Reaction[];
}

/** With what the content that is shown was encrypted and signed. */
export interface Source {
  readonly messageId: string;
  readonly senderDeviceId: string | null;
  readonly clientRandom: number | null;
  readonly type: Entry["type"];
  readonly target: string | null;
  readonly content: string;
  readonly metadata: Entry["metadata"];
  readonly signature: string | null;
}

const SHOWN = new Set<Entry["type"]>(["text", "media", "ephemeral"]);

/** Whether an entry is a message of its own. */
export function isMessage(entry: Entry): boolean {
  return SHOWN.has(entry.type);
}

/** Which messages an entry changes; none for a message or for what says nothing of others. */
export function targetsOf(entry: Entry): readonly string[] {
  if (entry.type === "edit" || entry.type === "reaction") return entry.target === null ? [] : [entry.target];
  if (entry.type !== "system") return [];
  const { event, messageId, messageIds } = entry.metadata as { event?: string; messageId?: string; messageIds?: string[] };
  if (event !== "message_deleted" && event !== "message_expired") return [];
  return messageIds ?? (messageId === undefined ? [] : [messageId]);
}

/** The message after `changes`, which are in the order of seq. `now` is in ms since 1970, `self` the reading user. */
export function fold(placed: Placed, changes: readonly Entry[], self: string, now: number): Folded {
  const { entry, asOf } = placed;
  let source = sourceOf(entry);
  let editedAt = entry.edit == null ? null : entry.editedAt;
  let gone: Folded["gone"] = entry.content === "" ? wayGone(entry, now) : null;
  const reactions = reactionSets(entry, self);
  for (const change of changes) {
    if (change.type === "system") gone = change.metadata["event"] === "message_deleted" ? "deleted" : (gone ?? "expired");
    if (change.seq <= Math.max(asOf, entry.edit?.seq ?? 0)) continue;
    if (change.type === "edit" && change.content !== "") {
      source = { ...sourceOf(change), messageId: change.messageId };
      editedAt = change.sentAt;
    }
    if (change.type === "reaction") applyReaction(reactions, change, self);
  }
  if (gone === null && entry.expiresAt !== null && Date.parse(entry.expiresAt) <= now) gone = "expired";
  return {
    entry,
    source,
    edited: editedAt !== null,
    editedAt,
    gone,
    reactions: gone === null ? reactionsOf(reactions, self) : [],
  };
}

function wayGone(entry: Entry, now: number): "deleted" | "expired" {
  return entry.expiresAt !== null && Date.parse(entry.expiresAt) <= now ? "expired" : "deleted";
}

function sourceOf(entry: Held): Source {
  const edit = entry.edit ?? null;
  return {
    messageId: edit?.messageId ?? entry.messageId,
    senderDeviceId: edit === null ? entry.senderDeviceId : edit.senderDeviceId,
    clientRandom: edit === null ? entry.clientRandom : edit.clientRandom,
    type: edit === null ? entry.type : "edit",
    target: edit === null ? entry.target : entry.messageId,
    content: entry.content,
    metadata: entry.metadata,
    signature: entry.signature,
  };
}

/** Who reacted; `more` are those whom history only counted. */
interface ReactionSet {
  readonly users: Set<string>;
  more: number;
  mineAmongMore: boolean;
}

function reactionSets(entry: Held, self: string): Map<string, ReactionSet> {
  const sets = new Map<string, ReactionSet>();
  for (const { emoji, userIds, count, mine } of entry.reactions ?? []) {
    sets.set(emoji, { users: new Set(userIds), more: Math.max(0, count - userIds.length), mineAmongMore: mine && !userIds.includes(self) });
  }
  return sets;
}

function applyReaction(sets: Map<string, ReactionSet>, change: Entry, self: string): void {
  const { emoji, remove } = change.metadata as { emoji?: string; remove?: boolean };
  if (emoji === undefined) return;
  const found = sets.get(emoji) ?? { users: new Set<string>(), more: 0, mineAmongMore: false };
  sets.set(emoji, found);
  if (remove !== true) found.users.add(change.senderId);
  else if (!found.users.delete(change.senderId)) found.more = Math.max(0, found.more - 1);
  if (change.senderId === self) found.mineAmongMore = false;
}

function reactionsOf(sets: Map<string, ReactionSet>, self: string): Reaction[] {
  const shown: Reaction[] = [];
  for (const [emoji, { users, more, mineAmongMore }] of sets) {
    if (users.size + more === 0) continue;
    shown.push({ emoji, count: users.size + more, userIds: [...users], mine: users.has(self) || mineAmongMore });
  }
  return shown;
}
