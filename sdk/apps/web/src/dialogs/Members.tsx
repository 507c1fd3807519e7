import type { ConversationSnapshot, ConversationStore, MemberView } from "@whispr/client";
import { Avatar, Menu, useCatalog, useClient, useNames, useStore, type MenuEntry } from "@whispr/react";
import { useState, type ReactNode } from "react";
import type { Person } from "../people";
import { openConversation } from "../route";
import { useTexts } from "../texts/context";
import { Section } from "../ui/Dialog";
import { PeoplePicker } from "../ui/PeoplePicker";
import { useToasts } from "../ui/toast";

export interface MembersProps {
  readonly store: ConversationStore;
  readonly snapshot: ConversationSnapshot;
  readonly people: readonly Person[];
  /** Another conversation is opened. */
  readonly onClose: () => void;
}

/** Who is in a group, with their roles; owners and admins add, remove, and change roles. */
export function Members({ store, snapshot, people, onClose }: MembersProps): ReactNode {
  const texts = useTexts();
  const toasts = useToasts();
  const [isAdding, setAdding] = useState(false);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const role = snapshot.info?.role ?? "member";
  const canManage = role !== "member" && snapshot.info?.left !== true;
  const there = new Set(snapshot.members.map(({ userId }) => userId));
  const add = async (): Promise<void> => {
    try {
      await store.addMembers([...chosen]);
      setChosen(new Set());
      setAdding(false);
    } catch (error) {
      toasts.fail(error);
    }
  };
  return (
    <Section title={texts.membersTitle}>
      <ul className="rows">
        {snapshot.members.map((member) => (
          <Member key={member.userId} member={member} store={store} canManage={canManage} isOwner={role === "owner"} onClose={onClose} />
        ))}
      </ul>
      {canManage && !isAdding && (
        <button type="button" className="wh-button" onClick={() => setAdding(true)}>
          {texts.addMembers}
        </button>
      )}
      {isAdding && (
        <div className="stack">
          <PeoplePicker label={texts.addMembers} people={people.filter(({ userId }) => !there.has(userId))} chosen={chosen} onChange={setChosen} />
          <div className="buttons">
            <button type="button" className="wh-button wh-primary" disabled={chosen.size === 0} onClick={() => void add()}>
              {texts.add}
            </button>
            <button type="button" className="wh-button" onClick={() => setAdding(false)}>
              {texts.cancel}
            </button>
          </div>
        </div>
      )}
    </Section>
  );
}

interface MemberProps {
  readonly member: MemberView;
  readonly store: ConversationStore;
  readonly canManage: boolean;
  readonly isOwner: boolean;
  readonly onClose: () => void;
}

function Member({ member, store, canManage, isOwner, onClose }: MemberProps): ReactNode {
  const texts = useTexts();
  const catalog = useCatalog();
  const nameOf = useNames();
  const client = useClient();
  const toasts = useToasts();
  const isMe = member.userId === client.identity?.userId;
  const write = async (): Promise<void> => {
    const { id } = await client.createConversation({ type: "direct", members: [member.userId] });
    onClose();
    openConversation(id);
  };
  const name = isMe ? catalog.you : nameOf(member.userId);
  const { userIds: blocked, loaded } = useStore(client.blocks);
  const isBlocked = blocked.has(member.userId);
  const entries: MenuEntry[] = [];
  if (!isMe) entries.push({ key: "write", label: texts.writeTo, icon: "send", onSelect: () => void write().catch(toasts.fail) });
  if (canManage && !isMe && member.role !== "owner") {
    if (isOwner) {
      const to = member.role === "admin" ? "member" : "admin";
      entries.push({ key: "role", label: to === "admin" ? texts.makeAdmin : texts.makeMember, onSelect: () => void store.setRole(member.userId, to).catch(toasts.fail) });
    }
    entries.push({ key: "remove", label: texts.remove, isDanger: true, onSelect: () => void store.removeMember(member.userId).catch(toasts.fail) });
  }
  if (!isMe && loaded) {
    const change = (): Promise<void> => (isBlocked ? client.blocks.unblock(member.userId) : client.blocks.block(member.userId));
    entries.push({ key: "block", label: isBlocked ? texts.unblock : texts.block, icon: "block", isDanger: !isBlocked, onSelect: () => void change().catch(toasts.fail) });
  }
  const seen = member.online === true ? catalog.online : member.lastSeen ? catalog.lastSeen(catalog.dateTime(Date.parse(member.lastSeen))) : "";
  return (
    <li>
      <Avatar id={member.userId} name={nameOf(member.userId)} size="small" isOnline={member.online === true} />
      <span>
        <span dir="auto">{name}</span>
        <small>{[texts.roles[member.role], isBlocked && texts.blockedOne, seen].filter(Boolean).join(" · ")}</small>
      </span>
      {entries.length > 0 && <Menu label={`${texts.menu}: ${name}`} entries={entries} />}
    </li>
  );
}
