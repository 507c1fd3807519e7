import type { MessageItem as Message, TimelineItem } from "@whispr/client";
import { useCallback, useEffect, useMemo, useRef, useState, type KeyboardEvent, type ReactNode } from "react";
import { Virtuoso, type VirtuosoHandle } from "react-virtuoso";
import { foldUnreadable, placeOf, useFirstIndex } from "../hooks/rows";
import { useCatalog } from "../i18n/context";
import { sameDay } from "../i18n/format";
import { useNames } from "../provider";
import { useSlot } from "../slots";
import { Icon } from "./icons";
import { MessageItem, type MessageActions } from "./MessageItem";
import { NoticeLine } from "./NoticeLine";

/** What `MessageList` shows, and whom it tells. */
export interface MessageListProps {
  readonly items: readonly TimelineItem[];
  readonly me: string | null;
  readonly isGroup: boolean;
  /** The name of the list for screen readers: whom one talks to. */
  readonly label: string;
  /** A message by its id, for the preview of a reply. */
  readonly find: (messageId: string) => Message | null;
  readonly actions: MessageActions;
  readonly firstUnreadKey?: string | null;
  readonly unread?: number;
  readonly hasEarlier?: boolean;
  /** What is before is needed: called again until it has come. */
  readonly onEarlier?: () => void;
  /** The last row that somebody looks at. */
  readonly onSeen?: (item: TimelineItem) => void;
  /** A row to show and mark: set it anew for each jump. */
  readonly jump?: { readonly key: string } | null;
  /** So many rows without a browser to measure in: on a server, in tests. */
  readonly initialItemCount?: number;
}

interface Context {
  readonly hasEarlier: boolean;
}

/** So many rows before the first one, what is before it is asked for: it is there when somebody has scrolled so far. */
const AHEAD_ROWS = 25;
/** As near as this one is at the end, and stays there. */
const NEAR_BOTTOM_PX = 60;
const NEAR_ROWS = 15;
const MARK_MS = 1_600;

function isCalm(): boolean {
  return typeof matchMedia === "function" && matchMedia("(prefers-reduced-motion: reduce)").matches;
}

function Head({ context }: { readonly context?: Context }): ReactNode {
  const catalog = useCatalog();
  return context?.hasEarlier === true ? <p className="wh-list-head">{catalog.loadingHistory}</p> : null;
}

const Foot = (): ReactNode => <div className="wh-list-foot" />;
const PARTS = { Header: Head, Footer: Foot };

/** The word above the first message of a day. */
function Day({ at }: { readonly at: number }): ReactNode {
  const catalog = useCatalog();
  const now = Date.now();
  const word = sameDay(at, now) ? catalog.today : sameDay(at, now - 86_400_000) ? catalog.yesterday : catalog.day(at);
  return (
    <p className="wh-day">
      <span>{word}</span>
    </p>
  );
}

/**
 * The messages of a conversation, ten or a hundred thousand: only those in view are in the document. Earlier ones are
 * put in front without moving the others; the list follows the end while one is there; arrow keys walk the messages.
 */
export function MessageList(props: MessageListProps): ReactNode {
  const { items: all, me, isGroup, label, find, actions, firstUnreadKey = null, unread = 0, hasEarlier = false, onEarlier, onSeen, jump = null } = props;
  const catalog = useCatalog();
  const Item = useSlot("MessageItem", MessageItem);
  const Notice = useSlot("NoticeLine", NoticeLine);
  const list = useRef<VirtuosoHandle>(null);
  const root = useRef<HTMLDivElement>(null);
  const [isAtEnd, setAtEnd] = useState(true);
  const [activeKey, setActiveKey] = useState<string | null>(null);
  const [markedKey, setMarkedKey] = useState<string | null>(null);
  const items = useMemo(() => foldUnreadable(all, firstUnreadKey), [all, firstUnreadKey]);
  const first = useFirstIndex(items);
  const firstUnread = useMemo(() => (firstUnreadKey === null ? -1 : items.findIndex(({ key }) => key === firstUnreadKey)), [items, firstUnreadKey]);
  const lastOwn = useMemo(() => items.findLast((item) => item.kind === "message" && item.mine)?.key ?? null, [items]);
  const focusKey = activeKey !== null && items.some(({ key }) => key === activeKey) ? activeKey : (items.at(-1)?.key ?? null);
  const seen = useRef(onSeen);
  useEffect(() => {
    seen.current = onSeen;
  }, [onSeen]);

  const show = useCallback((index: number, align: "start" | "center" | "end", smooth: boolean) => {
    list.current?.scrollToIndex({ index, align, behavior: smooth && !isCalm() ? "smooth" : "auto" });
  }, []);

  /** The last row in view. */
  const bottom = useRef(0);
  /** To the first message that is new and below; a second time, or where there is none, to the end. */
  const jumpDown = (): void => {
    const next = unread > 0 ? nthFromEnd(items, unread) : -1;
    // A long way is not glided: rows that were never drawn have no height yet, and the aim would be missed.
    // Where what is in view ends with the last one that was read, one reads already from there.
    if (next > bottom.current + 1) show(next, "start", next - bottom.current < NEAR_ROWS);
    else show(items.length - 1, "end", items.length - bottom.current < NEAR_ROWS);
  };

  const last = items.at(-1);
  useEffect(() => {
    if (isAtEnd && last !== undefined) seen.current?.(last);
  }, [isAtEnd, last]);

  useEffect(() => {
    if (jump === null) return undefined;
    const index = items.findIndex(({ key }) => key === jump.key);
    if (index < 0) return undefined;
    show(index, "center", false);
    setMarkedKey(jump.key);
    const timer = setTimeout(() => setMarkedKey(null), MARK_MS);
    return () => clearTimeout(timer);
    // Only a new jump moves the list, not a message that arrives after it.
  }, [jump]);

  const row = (index: number, item: TimelineItem): ReactNode => {
    const at = index - first;
    const place = placeOf(items, at, firstUnreadKey);
    return (
      <div className={item.key === markedKey ? "wh-row wh-marked" : "wh-row"} data-key={item.key} data-at={at}>
        {at === 0 && !hasEarlier && <p className="wh-list-head">{catalog.beginning}</p>}
        {place.startsDay && <Day at={item.at} />}
        {item.key === firstUnreadKey && (
          <p className="wh-unread-line">
            <span>{catalog.unreadMarker}</span>
          </p>
        )}
        {item.kind === "notice" ? (
          <Notice item={item} me={me} />
        ) : (
          <Item
            message={item}
            replied={item.replyTo === null ? null : find(item.replyTo)}
            me={me}
            isFirst={place.isFirst}
            isLast={place.isLast}
            isGroup={isGroup}
            showState={item.key === lastOwn || (item.status !== null && SPOKEN.has(item.status))}
            tabIndex={item.key === focusKey ? 0 : -1}
            actions={actions}
          />
        )}
      </div>
    );
  };

  const keyDown = (event: KeyboardEvent<HTMLElement>): void => {
    const { target, key } = event;
    if (!(target instanceof HTMLElement) || !target.matches("article, [data-virtuoso-scroller]")) return;
    const now = items.findIndex((item) => item.key === focusKey);
    const to = { ArrowUp: now - 1, ArrowDown: now + 1, Home: 0, End: items.length - 1 }[key];
    if (to === undefined) return;
    event.preventDefault();
    const step = to < now ? -1 : 1;
    let index = Math.max(0, Math.min(items.length - 1, to));
    while (items[index]?.kind === "notice" && items[index + step] !== undefined) index += step;
    const item = items[index];
    if (item === undefined) return;
    setActiveKey(item.key);
    list.current?.scrollIntoView({
      index,
      behavior: "auto",
      done: () => root.current?.querySelector<HTMLElement>(`[data-at="${index}"] article`)?.focus({ preventScroll: true }),
    });
  };

  // Without a browser only the last rows are drawn, as many as were asked for.
  const { initialItemCount: drawn } = props;
  const start = drawn !== undefined ? { index: Math.max(0, items.length - drawn) } : firstUnread >= 0 ? { index: firstUnread, align: "start" as const } : { index: Math.max(0, items.length - 1), align: "end" as const };
  return (
    <div className="wh-list" ref={root} onKeyDown={keyDown}>
      {items.length === 0 ? (
        <div className="wh-empty-list" role="log" aria-label={label}>
          {!hasEarlier && <p>{catalog.emptyThread}</p>}
        </div>
      ) : (
        <Virtuoso<TimelineItem, Context>
          ref={list}
          className="wh-scroller"
          role="log"
          aria-label={label}
          aria-live="off"
          data={items as TimelineItem[]}
          context={{ hasEarlier }}
          components={PARTS}
          computeItemKey={(_, item) => item.key}
          firstItemIndex={first}
          initialTopMostItemIndex={start}
          itemContent={row}
          alignToBottom
          atBottomThreshold={NEAR_BOTTOM_PX}
          atBottomStateChange={setAtEnd}
          followOutput={(atBottom) => {
            const isOwn = last?.kind === "message" && last.mine && last.seq === null;
            return atBottom || isOwn ? "auto" : false;
          }}
          totalListHeightChanged={() => {
            // A row at the end grew: a reaction, a picture, the state's word.
            if (isAtEnd) list.current?.scrollTo({ top: Number.MAX_SAFE_INTEGER });
          }}
          increaseViewportBy={{ top: 600, bottom: 0 }}
          rangeChanged={({ startIndex, endIndex }) => {
            bottom.current = endIndex - first;
            const item = items[endIndex - first];
            if (item !== undefined) seen.current?.(item);
            if (hasEarlier && startIndex - first < AHEAD_ROWS) onEarlier?.();
          }}
          startReached={() => {
            if (hasEarlier) onEarlier?.();
          }}
          {...(drawn === undefined ? {} : { initialItemCount: drawn })}
        />
      )}
      {!isAtEnd && items.length > 0 && (
        <button type="button" className="wh-to-end" onClick={jumpDown} aria-label={unread > 0 ? catalog.jumpToUnread(unread) : catalog.jumpToLatest}>
          <Icon name="down" />
          {unread > 0 && <span aria-hidden="true">{unread}</span>}
        </button>
      )}
      <Announcer items={items} />
    </div>
  );
}

/** The place of the `count`-th message of others, from the end; of the first one where there are fewer. */
function nthFromEnd(items: readonly TimelineItem[], count: number): number {
  let place = -1;
  for (let at = items.length - 1, left = count; at >= 0 && left > 0; at -= 1) {
    const item = items[at];
    if (item?.kind !== "message" || item.mine) continue;
    place = at;
    left -= 1;
  }
  return place;
}

/** States that are said in words on every message, not on the last one alone. */
const SPOKEN: ReadonlySet<string> = new Set(["waiting", "sending", "pending", "failed", "expired"]);

/**
 * Says what arrives, once. The list itself is silent: its rows come and go with scrolling, and history that is put in
 * front is not news.
 */
function Announcer({ items }: { readonly items: readonly TimelineItem[] }): ReactNode {
  const catalog = useCatalog();
  const nameOf = useNames();
  const [text, setText] = useState("");
  const upTo = useRef<number | null>(null);
  useEffect(() => {
    // What is not decrypted yet has nothing to say.
    const isOpening = (item: TimelineItem): boolean => item.kind === "message" && item.security === "opening";
    const highest = items.reduce((seq, item) => (isOpening(item) ? seq : Math.max(seq, item.seq ?? 0)), 0);
    const before = upTo.current;
    upTo.current = Math.max(highest, before ?? 0);
    if (before === null) return;
    const news = items.filter((item): item is Message => item.kind === "message" && !item.mine && !isOpening(item) && (item.seq ?? 0) > before);
    const said = news.at(-1);
    if (said !== undefined) setText(catalog.announce(nameOf(said.senderId), said.text || said.media?.name || catalog.unreadable));
  }, [items, catalog, nameOf]);
  return (
    <p className="wh-sr" aria-live="polite" aria-atomic="true">
      {text}
    </p>
  );
}
