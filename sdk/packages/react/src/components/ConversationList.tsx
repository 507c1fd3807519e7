import type { InboxConversation, MessageItem } from "@whispr/client";
import { memo, type ReactNode } from "react";
import type { Catalog } from "../i18n/catalog";
import { useNow } from "../hooks/clock";
import { useCatalog } from "../i18n/context";
import { useNames, type NameOf } from "../provider";
import { useSlot } from "../slots";
import { Avatar } from "./Avatar";
import { Icon } from "./icons";
import { MessageStatus } from "./MessageStatus";

/** What a conversation is called: the other one's name, a group's own, or its members'. */
export function titleOf(conversation: InboxConversation, nameOf: NameOf, catalog: Catalog): string {
  if (conversation.type === "direct") return conversation.peerId === null ? catalog.onlyYou : nameOf(conversation.peerId);
  const { name } = conversation.settings;
  return typeof name === "string" && name !== "" ? name : catalog.group;
}

/** The line under a conversation's name. */
export function previewOf(message: MessageItem | null, catalog: Catalog): string {
  if (message === null) return "";
  if (message.gone === "deleted") return message.mine ? catalog.deletedByYou : catalog.deleted;
  if (message.gone === "expired") return catalog.expired;
  return (message.text || message.media?.name) ?? (message.security === "opening" ? "" : catalog.unreadable);
}

/** What `ConversationRow` shows, and whom it tells. */
export interface ConversationRowProps {
  readonly conversation: InboxConversation;
  readonly isSelected: boolean;
  readonly isOnline: boolean;
  /** Whether its notifications are switched off. */
  readonly isMuted?: boolean;
  readonly now: number;
  /** A conversation is chosen. */
  readonly onSelect: (id: string) => void;
}

function ConversationRowView({ conversation, isSelected, isOnline, isMuted = false, now, onSelect }: ConversationRowProps): ReactNode {
  const catalog = useCatalog();
  const nameOf = useNames();
  const Face = useSlot("Avatar", Avatar);
  const { id, type, unread, typing, draft, preview } = conversation;
  const title = titleOf(conversation, nameOf, catalog);
  const showsDraft = !isSelected && draft !== null && draft !== "";
  return (
    <button type="button" className="wh-conversation" aria-current={isSelected || undefined} onClick={() => onSelect(id)} data-unread={unread > 0 || undefined} data-muted={isMuted || undefined}>
      <Face id={conversation.peerId ?? id} name={title} isGroup={type === "group"} isOnline={isOnline} />
      <span className="wh-conversation-text">
        <span className="wh-conversation-title" dir="auto">
          {title}
          {isMuted && (
            <span className="wh-conversation-muted" title={catalog.muted}>
              <Icon name="muted" />
              <span className="wh-sr">{catalog.muted}</span>
            </span>
          )}
        </span>
        <span className="wh-conversation-preview" dir="auto">
          {typing.length > 0 ? (
            <em>{catalog.typing(typing.map(nameOf))}</em>
          ) : showsDraft ? (
            <>
              <b>{catalog.draft}:</b> {draft}
            </>
          ) : (
            <>
              {preview?.status != null && preview.gone === null && <MessageStatus status={preview.status} />}
              {type === "group" && preview !== null && !preview.mine && <span>{nameOf(preview.senderId)}: </span>}
              {previewOf(preview, catalog)}
            </>
          )}
        </span>
      </span>
      <span className="wh-conversation-side">
        <time dateTime={new Date(conversation.lastAt).toISOString()}>{now === 0 ? "" : catalog.activity(conversation.lastAt, now)}</time>
        {unread > 0 && (
          <span className="wh-badge">
            <span aria-hidden="true">{unread > 99 ? "99+" : unread}</span>
            <span className="wh-sr">{catalog.unread(unread)}</span>
          </span>
        )}
      </span>
    </button>
  );
}

/** One conversation: who, the last of it, when, and what is new. Drawn again where it changed, not where another did. */
export const ConversationRow = memo(ConversationRowView);

/** What `ConversationList` shows, and whom it tells. */
export interface ConversationListProps {
  readonly conversations: readonly InboxConversation[];
  readonly selectedId: string | null;
  /** A conversation is chosen. */
  readonly onSelect: (id: string) => void;
  /** Users who are known to be there. */
  readonly online?: ReadonlySet<string>;
  /** Conversations whose notifications are switched off. */
  readonly muted?: ReadonlySet<string>;
  /** Shown while there is none. */
  readonly empty?: ReactNode;
}

const NOBODY: ReadonlySet<string> = new Set();

/** All conversations, the latest first. */
export function ConversationList({ conversations, selectedId, onSelect, online = NOBODY, muted = NOBODY, empty }: ConversationListProps): ReactNode {
  const catalog = useCatalog();
  const Row = useSlot("ConversationRow", ConversationRow);
  const now = useNow(false);
  if (conversations.length === 0) return <>{empty ?? <p className="wh-empty">{catalog.noConversations}</p>}</>;
  return (
    <ul className="wh-conversations" aria-label={catalog.conversations}>
      {conversations.map((conversation) => (
        <li key={conversation.id}>
          <Row
            conversation={conversation}
            isSelected={conversation.id === selectedId}
            isOnline={conversation.type === "direct" && conversation.peerId !== null && online.has(conversation.peerId)}
            isMuted={muted.has(conversation.id)}
            now={now}
            onSelect={onSelect}
          />
        </li>
      ))}
    </ul>
  );
}
