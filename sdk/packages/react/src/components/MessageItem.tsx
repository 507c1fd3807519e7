import type { MessageItem as Message } from "@whispr/client";
import { memo, type ReactNode } from "react";
import type { Download } from "../hooks/media";
import type { Catalog } from "../i18n/catalog";
import { useCatalog } from "../i18n/context";
import { useNames } from "../provider";
import { useSlot } from "../slots";
import { Avatar, toneOf } from "./Avatar";
import { Icon } from "./icons";
import { MediaView } from "./MediaView";
import { Menu, type MenuEntry } from "./Menu";
import { Expiry, Reactions, ReplyQuote } from "./MessageParts";
import { MessageStatus } from "./MessageStatus";
import { MessageText } from "./MessageText";
import { ReactionPicker } from "./ReactionPicker";

/** What one can do with a message. What is left out is not offered. */
export interface MessageActions {
  /** Without one of these the menu has no such entry. */
  readonly onReply?: (message: Message) => void;
  /** One's own text is to be changed. */
  readonly onEdit?: (message: Message) => void;
  /** A reaction is to be added, or taken back. */
  readonly onReact?: (message: Message, emoji: string, remove: boolean) => void;
  /** For oneself, or for everybody. */
  readonly onDelete?: (message: Message, forEveryone: boolean) => void;
  /** Who got it, and when. */
  readonly onDetails?: (message: Message) => void;
  /** The message that it answers is to be shown. */
  readonly onJump?: (messageId: string) => void;
  readonly download: Download;
}

/** What `MessageItem` shows, and whom it tells. */
export interface MessageItemProps {
  readonly message: Message;
  /** The message that it answers, where it is here. */
  readonly replied: Message | null;
  readonly me: string | null;
  /** First and last of several messages of one sender in a row. */
  readonly isFirst: boolean;
  readonly isLast: boolean;
  /** Names and pictures are shown where there are more than two. */
  readonly isGroup: boolean;
  /** Whether the word of the state is shown, not its picture alone. */
  readonly showState: boolean;
  readonly tabIndex: number;
  readonly actions: MessageActions;
}

function entriesFor(message: Message, actions: MessageActions, catalog: Catalog): MenuEntry[] {
  const entries: MenuEntry[] = [];
  const isThere = message.messageId !== null && message.gone === null;
  const { onReply, onEdit, onDelete, onDetails } = actions;
  const { text } = message;
  if (isThere && onReply) entries.push({ key: "reply", label: catalog.reply, icon: "reply", onSelect: () => onReply(message) });
  if (isThere && message.mine && onEdit && text !== null && message.media === null) {
    entries.push({ key: "edit", label: catalog.edit, icon: "edit", onSelect: () => onEdit(message) });
  }
  if (text) entries.push({ key: "copy", label: catalog.copy, icon: "copy", onSelect: () => void navigator.clipboard?.writeText(text) });
  if (message.messageId !== null && onDetails) {
    entries.push({ key: "details", label: catalog.details, icon: "info", onSelect: () => onDetails(message) });
  }
  if (message.messageId !== null && onDelete) {
    entries.push({ key: "forMe", label: catalog.deleteForMe, icon: "trash", onSelect: () => onDelete(message, false) });
    if (isThere && message.mine) {
      entries.push({ key: "forAll", label: catalog.deleteForEveryone, icon: "trash", isDanger: true, onSelect: () => onDelete(message, true) });
    }
  }
  return entries;
}

/** Why there is nothing to read, or null. */
function absence(message: Message, catalog: Catalog): string | null {
  if (message.gone === "deleted") return message.mine ? catalog.deletedByYou : catalog.deleted;
  if (message.gone === "expired") return catalog.expired;
  if (message.security === "forged") return catalog.forged;
  if (message.security === "undecryptable") return catalog.unreadable;
  if (message.security === "opening" && message.text === null) return catalog.opening;
  return null;
}

/** What one should know of its protection; nothing where all is well. */
function Protection({ message }: { readonly message: Message }): ReactNode {
  const catalog = useCatalog();
  const warning = { changed_key: catalog.changedKey, forged: catalog.forged, unsigned: message.mine ? null : catalog.unverified }[message.security as string];
  if (!warning) return null;
  return (
    <span className="wh-protection" title={warning}>
      <Icon name="warning" />
      <span className="wh-sr">{warning}</span>
    </span>
  );
}

function Body({ message, replied, me, actions }: MessageItemProps): ReactNode {
  const catalog = useCatalog();
  const Text = useSlot("MessageText", MessageText);
  const Media = useSlot("MediaView", MediaView);
  const missing = absence(message, catalog);
  if (missing !== null) return <p className="wh-missing">{missing}</p>;
  const { replyTo } = message;
  const { onJump } = actions;
  return (
    <>
      {replyTo !== null && <ReplyQuote message={replied} me={me} {...(onJump ? { onJump: () => onJump(replyTo) } : {})} />}
      {message.media !== null && <Media media={message.media} download={actions.download} />}
      {message.text ? <Text text={message.text} /> : null}
    </>
  );
}

function Tools({ message, actions, tabIndex }: Pick<MessageItemProps, "message" | "actions" | "tabIndex">): ReactNode {
  const catalog = useCatalog();
  const { onReact, onReply } = actions;
  const canReact = onReact !== undefined && message.messageId !== null && message.gone === null;
  const react = (emoji: string): void => {
    const mine = message.reactions.some((reaction) => reaction.emoji === emoji && reaction.mine);
    onReact?.(message, emoji, mine);
  };
  const quick = (close: () => void): ReactNode => (
    <ReactionPicker
      mine={new Set(message.reactions.filter(({ mine }) => mine).map(({ emoji }) => emoji))}
      onPick={(emoji) => {
        close();
        react(emoji);
      }}
    />
  );
  const entries = entriesFor(message, actions, catalog);
  if (entries.length === 0 && !canReact) return null;
  return (
    <div className="wh-tools">
      {canReact && onReply && (
        <button type="button" className="wh-icon-button" tabIndex={tabIndex} aria-label={catalog.reply} title={catalog.reply} onClick={() => onReply(message)}>
          <Icon name="reply" />
        </button>
      )}
      <Menu label={catalog.actions} entries={entries} tabIndex={tabIndex} {...(canReact ? { header: quick } : {})} />
    </div>
  );
}

function MessageItemView(props: MessageItemProps): ReactNode {
  const { message, isFirst, isLast, isGroup, showState, tabIndex, actions } = props;
  const catalog = useCatalog();
  const nameOf = useNames();
  const Status = useSlot("MessageStatus", MessageStatus);
  const Face = useSlot("Avatar", Avatar);
  const name = message.mine ? catalog.you : nameOf(message.senderId);
  const shows = isGroup && !message.mine;
  const classes = ["wh-message", message.mine ? "wh-own" : "wh-other", isFirst && "wh-first", isLast && "wh-last", isGroup && "wh-in-group"];
  return (
    <article
      className={classes.filter(Boolean).join(" ")}
      aria-label={`${name}, ${catalog.time(message.at)}`}
      data-message={message.messageId ?? message.key}
      tabIndex={tabIndex}
    >
      {shows && <div className="wh-message-face">{isLast && <Face id={message.senderId} name={name} size="small" />}</div>}
      <div className="wh-message-body">
        {shows && isFirst && (
          <span className="wh-sender" data-tone={toneOf(message.senderId)} dir="auto">
            {name}
          </span>
        )}
        <div className="wh-message-line">
          <div className="wh-bubble" data-missing={absence(message, catalog) !== null || undefined}>
            <Body {...props} />
            <footer className="wh-meta">
              {message.gone === null && <Expiry expiresAt={message.expiresAt} ttlAfterRead={message.ttlAfterRead} />}
              {message.edited && message.gone === null && <span>{catalog.edited}</span>}
              <Protection message={message} />
              <time dateTime={new Date(message.at).toISOString()} title={catalog.dateTime(message.at)}>
                {catalog.time(message.at)}
              </time>
              {message.status !== null && message.gone === null && <Status status={message.status} showWord={showState} />}
            </footer>
          </div>
          <Tools message={message} actions={actions} tabIndex={tabIndex} />
        </div>
        <Reactions reactions={message.reactions} onToggle={(emoji, remove) => actions.onReact?.(message, emoji, remove)} />
      </div>
    </article>
  );
}

/** One message: text, reply, edit, reactions, media, countdown, state, and what can be done with it. */
export const MessageItem = memo(MessageItemView);
