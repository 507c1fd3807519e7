/**
 * A conversation's entries by seq, and how far they are without a hole.
 *
 * The log has no gaps, so `upTo` is both the cursor for the next join and what may be acknowledged: every entry from
 * `first` to `upTo` is here.
 */
import { decodeContent, type Entry } from "./wire";

/** A message as it is shown: an entry with the later entries that changed it applied. */
export interface Shown {
  readonly entry: Entry;
  readonly kind: "message" | "notice";
  /** The text, or null where it is another client's ciphertext. */
  readonly text: string | null;
  readonly edited: boolean;
  readonly gone: "deleted" | "expired" | null;
}

export class Timeline {
  private readonly entries = new Map<number, Entry>();
  private readonly byRandom = new Map<string, Entry>();
  private firstSeq: number | null = null;
  private heldUpTo = 0;

  /** The highest seq up to which nothing is missing. */
  get upTo(): number {
    return this.heldUpTo;
  }

  /** The lowest seq held without a hole below `upTo`; null while nothing is here. */
  get first(): number | null {
    return this.firstSeq;
  }

  /** Whether an entry above a hole is here. */
  get hasGap(): boolean {
    return this.newest > this.heldUpTo;
  }

  get newest(): number {
    return this.entries.size === 0 ? 0 : Math.max(...this.entries.keys());
  }

  /** Take an entry. Returns whether it is new; one that is already here changes nothing. */
  add(entry: Entry): boolean {
    if (this.entries.has(entry.seq)) return false;
    this.entries.set(entry.seq, entry);
    if (entry.clientRandom !== null) this.byRandom.set(randomKey(entry.senderId, entry.clientRandom), entry);
    if (this.firstSeq === null) {
      this.firstSeq = entry.seq;
      this.heldUpTo = entry.seq;
    }
    while (this.entries.has(this.heldUpTo + 1)) this.heldUpTo += 1;
    while (this.entries.has(this.firstSeq - 1)) this.firstSeq -= 1;
    return true;
  }

  /** Take a page of history; with `after`, the page continues what is here. Entries may come in any order. */
  addPage(entries: readonly Entry[]): void {
    for (const entry of [...entries].sort((one, other) => one.seq - other.seq)) this.add(entry);
  }

  /** Forget everything: the server says that its log is another one now. */
  clear(): void {
    this.entries.clear();
    this.byRandom.clear();
    this.firstSeq = null;
    this.heldUpTo = 0;
  }

  /** The entry at a place, if it is here. */
  at(seq: number): Entry | null {
    return this.entries.get(seq) ?? null;
  }

  /** The entry that a sender stored under this key, if it is here. */
  find(senderId: string, clientRandom: number): Entry | null {
    return this.byRandom.get(randomKey(senderId, clientRandom)) ?? null;
  }

  /** What a reader sees, in order: edits and deletions applied, reactions left out. */
  shown(): Shown[] {
    const ordered = [...this.entries.values()].sort((one, other) => one.seq - other.seq);
    const edits = new Map<string, Entry>();
    const gone = new Map<string, "deleted" | "expired">();
    for (const entry of ordered) {
      if (entry.type === "edit" && entry.target !== null) edits.set(entry.target, entry);
      const event = entry.type === "system" ? entry.metadata["event"] : null;
      const messageId = entry.metadata["messageId"];
      if (typeof messageId !== "string") continue;
      if (event === "message_deleted") gone.set(messageId, "deleted");
      if (event === "message_expired") gone.set(messageId, "expired");
    }
    const result: Shown[] = [];
    for (const entry of ordered) {
      if (entry.type === "edit" || entry.type === "reaction") continue;
      if (entry.type === "system") {
        const text = noticeText(entry);
        if (text !== null) result.push({ entry, kind: "notice", text, edited: false, gone: null });
        continue;
      }
      const edit = edits.get(entry.messageId);
      const lost = gone.get(entry.messageId) ?? null;
      const text = lost === null ? decodeContent((edit ?? entry).content) : "";
      result.push({ entry, kind: "message", text, edited: edit !== undefined || entry.editedAt !== null, gone: lost });
    }
    return result;
  }
}

function randomKey(senderId: string, clientRandom: number): string {
  return `${senderId}/${clientRandom}`;
}

/** The sentence for a system entry, null for one that says nothing by itself. */
function noticeText(entry: Entry): string | null {
  switch (entry.metadata["event"]) {
    case "conversation_created":
      return "The conversation begins here.";
    case "conversation_updated":
      return "The conversation's settings were changed.";
    case "member_added":
      return "Somebody joined.";
    case "member_removed":
      return "Somebody left.";
    default:
      return null;
  }
}
