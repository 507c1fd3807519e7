/** A conversation of the fake server: its log, its members, and what history makes of it. */
import type { ConversationView, Entry, MemberView, MessageView, ReactionView } from "@whispr/client";
import { buildConversation, buildEntry, buildMember, uuid } from "./builders";

/** Who is in a `FakeConversation`, and how far they are. */
export interface FakeMember {
  readonly view: MemberView;
  delivered: number;
  read: number;
}

/** A conversation of a `FakeServer`: its entries and members can be read and changed. */
export class FakeConversation {
  readonly id: string;
  readonly entries: Entry[] = [];
  readonly members = new Map<string, FakeMember>();
  membersVersion = 1;
  settings: Record<string, unknown> = {};

  constructor(
    readonly type: ConversationView["type"],
    readonly createdBy: string,
    id: string = uuid(),
  ) {
    this.id = id;
  }

  /** Somebody becomes a member, from the next entry on; nobody is told. */
  join(userId: string, role: MemberView["role"] = "member"): void {
    this.members.set(userId, { view: buildMember({ userId, role, joinedSeq: this.entries.length + 1 }), delivered: 0, read: 0 });
  }

  /** The next entry of the log. */
  append(given: Partial<Entry>): Entry {
    const seq = this.entries.length + 1;
    const entry = buildEntry({ sentAt: new Date(Date.now() + seq).toISOString(), ...given, messageId: given.messageId ?? uuid(), conversationId: this.id, seq });
    this.entries.push(entry);
    return entry;
  }

  /** An entry by its message id. */
  find(messageId: string): Entry | undefined {
    return this.entries.find((entry) => entry.messageId === messageId);
  }

  /** Take the content from a message and from what changed it. */
  erase(messageId: string): void {
    this.entries.forEach((entry, at) => {
      if (entry.messageId !== messageId && entry.target !== messageId) return;
      this.entries[at] = { ...entry, content: "", metadata: {}, signature: null, mediaId: null };
    });
  }

  /** The conversation as the list of this user's has it. */
  viewFor(userId: string): ConversationView {
    const last = this.entries.at(-1);
    const me = this.members.get(userId);
    const read = me?.read ?? 0;
    const unread = this.entries.filter((entry) => entry.seq > read && entry.senderId !== userId && isMessage(entry)).length;
    return buildConversation({
      id: this.id,
      type: this.type,
      lastSeq: this.entries.length,
      lastSentAt: last?.sentAt ?? null,
      unread,
      membersVersion: this.membersVersion,
      memberCount: this.members.size,
      role: me?.view.role ?? "member",
      leftSeq: me === undefined ? this.entries.length : null,
      deliveredSeq: me?.delivered ?? 0,
      readSeq: read,
      settings: this.settings,
      createdBy: this.createdBy,
      peerId: this.type === "direct" ? ([...this.members.keys()].find((id) => id !== userId) ?? null) : null,
    });
  }

  /** A page as history shows it: the latest edit in the message, the reactions counted. */
  page(userId: string, { before, after, limit = 50 }: { before?: number; after?: number; limit?: number }): { messages: MessageView[]; hasMore: boolean } {
    const all = this.entries.filter((entry) => entry.seq < (before ?? Infinity) && entry.seq > (after ?? 0));
    const cut = after === undefined ? all.slice(-limit) : all.slice(0, limit);
    return { messages: cut.map((entry) => this.now(entry, userId)), hasMore: all.length > cut.length };
  }

  private now(entry: Entry, userId: string): MessageView {
    const changes = this.entries.filter((one) => one.target === entry.messageId);
    const edit = changes.filter((one) => one.type === "edit" && one.content !== "").at(-1);
    const reactions = this.reactions(changes, userId);
    if (edit === undefined || entry.content === "") return { ...entry, edit: null, reactions };
    const { messageId, seq, senderDeviceId, clientRandom, content, metadata, signature, sentAt } = edit;
    return { ...entry, content, metadata, signature, editedAt: sentAt, edit: { messageId, seq, senderDeviceId, clientRandom }, reactions };
  }

  private reactions(changes: readonly Entry[], userId: string): ReactionView[] {
    const users = new Map<string, Set<string>>();
    for (const { type, metadata, senderId } of changes) {
      if (type !== "reaction" || typeof metadata["emoji"] !== "string") continue;
      const found = users.get(metadata["emoji"]) ?? new Set<string>();
      if (metadata["remove"] === true) found.delete(senderId);
      else found.add(senderId);
      users.set(metadata["emoji"], found);
    }
    return [...users].filter(([, ids]) => ids.size > 0).map(([emoji, ids]) => ({ emoji, count: ids.size, userIds: [...ids], mine: ids.has(userId) }));
  }
}

function isMessage({ type }: Entry): boolean {
  return type === "text" || type === "media" || type === "ephemeral";
}
