/** The pieces of a message: what it answers, its reactions, how long it stays. */
import type { MessageItem, Reaction } from "@whispr/client";
import type { ReactNode } from "react";
import { useNow } from "../hooks/clock";
import { useCatalog } from "../i18n/context";
import { useNames } from "../provider";
import { Icon } from "./icons";

/** What `ReplyQuote` shows, and where it leads. */
export interface ReplyQuoteProps {
  readonly message: MessageItem | null;
  readonly me: string | null;
  /** Without it a click does nothing. */
  readonly onJump?: () => void;
}

/** What a message answers, short; a click leads there. */
export function ReplyQuote({ message, me, onJump }: ReplyQuoteProps): ReactNode {
  const catalog = useCatalog();
  const nameOf = useNames();
  const name = message === null ? null : message.senderId === me ? catalog.you : nameOf(message.senderId);
  const text = message === null || message.gone !== null ? catalog.replyGone : (message.text || message.media?.name) ?? catalog.unreadable;
  return (
    <button type="button" className="wh-quote" onClick={onJump} disabled={onJump === undefined}>
      {name !== null && (
        <>
          <span className="wh-sr">{catalog.inReplyTo} </span>
          <strong dir="auto">{name}</strong>
          <span className="wh-sr">: </span>
        </>
      )}
      <span dir="auto">{text}</span>
    </button>
  );
}

/** What `Reactions` shows, and whom it tells. */
export interface ReactionsProps {
  readonly reactions: readonly Reaction[];
  /** `remove`: it was one's own. */
  readonly onToggle: (emoji: string, remove: boolean) => void;
}

/** The reactions to a message. A click adds one's own, or takes it back. */
export function Reactions({ reactions, onToggle }: ReactionsProps): ReactNode {
  const catalog = useCatalog();
  const nameOf = useNames();
  if (reactions.length === 0) return null;
  return (
    <ul className="wh-reactions">
      {reactions.map(({ emoji, count, mine, userIds }) => (
        <li key={emoji}>
          <button
            type="button"
            aria-pressed={mine}
            aria-label={catalog.reactionLabel(emoji, count, mine)}
            title={userIds.map(nameOf).join(", ")}
            onClick={() => onToggle(emoji, mine)}
          >
            <span aria-hidden="true">{emoji}</span> {count > 1 && <span aria-hidden="true">{count}</span>}
          </button>
        </li>
      ))}
    </ul>
  );
}

/** What `Expiry` counts down to. */
export interface ExpiryProps {
  readonly expiresAt: number | null;
  readonly ttlAfterRead: number | null;
}

/** How long a message stays. It counts down without speaking each second to those who listen. */
export function Expiry({ expiresAt, ttlAfterRead }: ExpiryProps): ReactNode {
  const catalog = useCatalog();
  const counts = expiresAt !== null && ttlAfterRead === null;
  const now = useNow(counts);
  if (!counts && ttlAfterRead === null) return null;
  const label = counts
    ? catalog.vanishesIn(catalog.duration((expiresAt - now) / 1_000))
    : catalog.vanishesAfterReading(catalog.duration(ttlAfterRead ?? 0));
  const left = counts ? Math.max(0, Math.ceil((expiresAt - now) / 1_000)) : (ttlAfterRead ?? 0);
  return (
    <span className="wh-expiry" title={label} role="timer" aria-live="off" aria-label={label}>
      <Icon name="timer" />
      <span aria-hidden="true">{shortDuration(left)}</span>
    </span>
  );
}

/** "45s", "4m", "2h", "3d": as wide in every language. */
export function shortDuration(seconds: number): string {
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return `${Math.ceil(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.ceil(seconds / 3_600)}h`;
  return `${Math.ceil(seconds / 86_400)}d`;
}
