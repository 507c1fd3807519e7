import type { ConversationSnapshot, ConversationStore } from "@whispr/client";
import { Avatar, Icon, TTL_CHOICES, titleOf, useCatalog, useClient, useConversation, useNames, useStore } from "@whispr/react";
import { useEffect, useId, useState, type ReactNode } from "react";
import type { Person } from "../people";
import { closeConversation } from "../route";
import { useTexts } from "../texts/context";
import { Dialog, Section, Switch } from "../ui/Dialog";
import { useToasts } from "../ui/toast";
import { Members } from "./Members";
import { Mute } from "./Mute";
import { Safety } from "./Safety";
import { Scheduled } from "./Scheduled";

export interface InfoDialogProps {
  readonly id: string;
  readonly people: readonly Person[];
  readonly onClose: () => void;
}

/** Everything about a conversation: members, settings, what is scheduled, whether it is safe, and the ways out. */
export function InfoDialog({ id, people, onClose }: InfoDialogProps): ReactNode {
  const texts = useTexts();
  const catalog = useCatalog();
  const nameOf = useNames();
  const [store, snapshot] = useConversation(id);
  const { info } = snapshot;
  if (info === null) return null;
  const title = titleOf(info, nameOf, catalog);
  const isGroup = info.type === "group";
  return (
    <Dialog title={texts.info} onClose={onClose}>
      <div className="info-head">
        <Avatar id={info.peerId ?? id} name={title} isGroup={isGroup} size="large" />
        <p className="info-title" dir="auto">
          {title}
        </p>
        <p className="muted">{texts.members(info.memberCount)}</p>
      </div>
      {isGroup ? <Members store={store} snapshot={snapshot} people={people} onClose={onClose} /> : info.peerId !== null && <Safety peerId={info.peerId} />}
      <Integrity store={store} snapshot={snapshot} />
      <Scheduled snapshot={snapshot} />
      {info.left ? null : (
        <Section title={texts.mute}>
          <Mute conversationId={id} />
        </Section>
      )}
      {info.left ? null : <ConversationSettings store={store} snapshot={snapshot} />}
      {isGroup ? !info.left && <Leave store={store} isOwner={info.role === "owner"} onLeft={onClose} /> : info.peerId !== null && <Block peerId={info.peerId} />}
    </Dialog>
  );
}

function Integrity({ store, snapshot }: { readonly store: ConversationStore; readonly snapshot: ConversationSnapshot }): ReactNode {
  const texts = useTexts();
  const toasts = useToasts();
  const { integrity } = snapshot;
  return (
    <Section title={texts.integrity[integrity]}>
      <div className="side-by-side">
        <p className="muted">{texts.integrityHint[integrity]}</p>
        {integrity !== "off" && (
          <button type="button" className="wh-button" onClick={() => void store.verify().catch(toasts.fail)}>
            {texts.checkNow}
          </button>
        )}
      </div>
    </Section>
  );
}

function ConversationSettings({ store, snapshot }: { readonly store: ConversationStore; readonly snapshot: ConversationSnapshot }): ReactNode {
  const texts = useTexts();
  const catalog = useCatalog();
  const toasts = useToasts();
  const id = useId();
  const { info } = snapshot;
  if (info === null) return null;
  const isGroup = info.type === "group";
  if (isGroup && info.role === "member") return null;
  const { settings } = info;
  const change = (settings: Record<string, unknown>): void => void store.update(settings).catch(toasts.fail);
  const ttl = typeof settings["ttl"] === "number" ? settings["ttl"] : 0;
  return (
    <Section title={texts.conversationSettings}>
      {isGroup && <GroupName name={typeof settings["name"] === "string" ? settings["name"] : ""} onRename={(name) => change({ name })} />}
      <label className="stack-field" htmlFor={id}>
        {texts.defaultTtl}
        <select id={id} value={ttl} onChange={(event) => change({ ttl: Number(event.target.value) || null })}>
          {[0, ...TTL_CHOICES.filter((seconds) => seconds >= 60)].map((seconds) => (
            <option key={seconds} value={seconds}>
              {seconds === 0 ? texts.off : catalog.duration(seconds)}
            </option>
          ))}
        </select>
      </label>
      <Switch label={texts.readReceipts} isOn={settings["readReceipts"] !== false} onChange={(isOn) => change({ readReceipts: isOn ? null : false })} />
      {isGroup && info.role === "owner" && (
        <Switch label={texts.sharedHistory} hint={texts.sharedHistoryHint} isOn={settings["sharedHistory"] === true} onChange={(isOn) => change({ sharedHistory: isOn })} />
      )}
    </Section>
  );
}

function GroupName({ name, onRename }: { readonly name: string; readonly onRename: (name: string) => void }): ReactNode {
  const texts = useTexts();
  const [value, setValue] = useState(name);
  const id = useId();
  useEffect(() => setValue(name), [name]);
  return (
    <form
      className="stack-field"
      onSubmit={(event) => {
        event.preventDefault();
        onRename(value.trim());
      }}
    >
      <label htmlFor={id}>{texts.groupName}</label>
      <span className="welcome-row">
        <input id={id} type="text" dir="auto" maxLength={80} value={value} onChange={(event) => setValue(event.target.value)} aria-describedby={`${id}-hint`} />
        <button type="submit" className="wh-button" disabled={value.trim() === name || value.trim() === ""}>
          {texts.save}
        </button>
      </span>
      <small id={`${id}-hint`}>{texts.groupNameHint}</small>
    </form>
  );
}

function Leave({ store, isOwner, onLeft }: { readonly store: ConversationStore; readonly isOwner: boolean; readonly onLeft: () => void }): ReactNode {
  const texts = useTexts();
  const toasts = useToasts();
  const leave = async (): Promise<void> => {
    if (!window.confirm(texts.leaveSure)) return;
    try {
      await store.leave();
      onLeft();
      closeConversation();
    } catch (error) {
      toasts.fail(error);
    }
  };
  return (
    <div className="section stack">
      <button type="button" className="wh-button wh-danger" onClick={() => void leave()}>
        <Icon name="leave" /> {texts.leave}
      </button>
      {isOwner && <DeleteGroup store={store} onDeleted={onLeft} />}
    </div>
  );
}

/** Take the group from everybody: its owner alone may. */
function DeleteGroup({ store, onDeleted }: { readonly store: ConversationStore; readonly onDeleted: () => void }): ReactNode {
  const texts = useTexts();
  const toasts = useToasts();
  const remove = async (): Promise<void> => {
    if (!window.confirm(texts.deleteGroupSure)) return;
    try {
      await store.delete();
      onDeleted();
    } catch (error) {
      toasts.fail(error);
    }
  };
  return (
    <button type="button" className="wh-button wh-danger" onClick={() => void remove()}>
      <Icon name="trash" /> {texts.deleteGroup}
    </button>
  );
}

/** Block or unblock the other one of a direct conversation. */
function Block({ peerId }: { readonly peerId: string }): ReactNode {
  const texts = useTexts();
  const client = useClient();
  const toasts = useToasts();
  const { userIds, loaded } = useStore(client.blocks);
  const isBlocked = userIds.has(peerId);
  const change = (): void => void (isBlocked ? client.blocks.unblock(peerId) : client.blocks.block(peerId)).catch(toasts.fail);
  return (
    <div className="section stack">
      {isBlocked && <p role="status">{texts.blocked}</p>}
      <button type="button" className="wh-button wh-danger" disabled={!loaded} onClick={change}>
        <Icon name="block" /> {isBlocked ? texts.unblock : texts.block}
      </button>
    </div>
  );
}
