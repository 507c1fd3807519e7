import { useState, type ReactNode } from "react";
import { useCatalog } from "../i18n/context";
import { Icon } from "./icons";

/** Those that are offered at once. */
const QUICK = ["👍", "❤️", "😂", "😮", "😢", "🙏"] as const;
/** Those behind "more": the server takes any emoji, and these cover most of what people send. */
const MORE = [
  ["😀", "😊", "😍", "🥰", "😎", "🤔", "😅"],
  ["😭", "😡", "😱", "🥳", "😴", "🤗", "🤯"],
  ["👎", "👏", "👌", "🤝", "💪", "🙌", "👋"],
  ["🔥", "🎉", "✨", "💯", "✅", "❌", "❓"],
  ["💔", "💙", "💚", "☀️", "🌙", "☕", "🍀"],
].flat();

/** What `ReactionPicker` shows, and whom it tells. */
export interface ReactionPickerProps {
  /** An emoji is chosen; chosen already, it is to be taken back. */
  readonly onPick: (emoji: string) => void;
  /** Those that are one's own already. */
  readonly mine: ReadonlySet<string>;
}

/** A row of emoji, and more of them behind a button; inside of a menu. */
export function ReactionPicker({ onPick, mine }: ReactionPickerProps): ReactNode {
  const catalog = useCatalog();
  const [showsMore, setMore] = useState(false);
  const button = (emoji: string, isFirst = false): ReactNode => (
    <button
      key={emoji}
      type="button"
      role="menuitemcheckbox"
      aria-checked={mine.has(emoji)}
      aria-label={`${catalog.react} ${emoji}`}
      onClick={() => onPick(emoji)}
      ref={isFirst ? (element) => element?.focus({ preventScroll: true }) : undefined}
    >
      {emoji}
    </button>
  );
  return (
    <div className="wh-quick" role="group" aria-label={catalog.react}>
      {showsMore ? (
        <div className="wh-quick-all">{[...QUICK, ...MORE].map((emoji, at) => button(emoji, at === QUICK.length))}</div>
      ) : (
        <>
          {QUICK.map((emoji) => button(emoji))}
          <button type="button" role="menuitem" aria-label={catalog.moreReactions} title={catalog.moreReactions} onClick={() => setMore(true)}>
            <Icon name="plus" />
          </button>
        </>
      )}
    </div>
  );
}
