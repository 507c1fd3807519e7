/** What a list of messages needs to know of a row beside its item: days, groups, the place of what is new. */
import type { MessageItem, TimelineItem } from "@whispr/client";
import { useState } from "react";
import { sameDay } from "../i18n/format";

/** Messages of one sender closer than this belong together. In ms. */
const TOGETHER_MS = 5 * 60 * 1_000;

export interface RowPlace {
  readonly startsDay: boolean;
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

function together(a: TimelineItem | undefined, b: TimelineItem | undefined): boolean {
  return (
    a?.kind === "message" &&
    b?.kind === "message" &&
    a.senderId === b.senderId &&
    Math.abs(b.at - a.at) < TOGETHER_MS &&
    sameDay(a.at, b.at)
  );
}

export function placeOf(items: readonly TimelineItem[], at: number, firstUnreadKey: string | null): RowPlace {
  const item = items[at];
  const before = items[at - 1];
  const after = items[at + 1];
  return {
    startsDay: item !== undefined && (before === undefined || !sameDay(before.at, item.at)),
    isFirst: !together(before, item) || item?.key === firstUnreadKey,
    isLast: !together(item, after) || after?.key === firstUnreadKey,
  };
}

/** The event of the line that stands for messages which this device cannot read. */
export const UNREADABLE = "unreadable";

function isUnreadable(item: TimelineItem | undefined): item is MessageItem {
  return item?.kind === "message" && item.security === "undecryptable" && item.gone === null;
}

/**
 * Several messages in a row that this device cannot read become one line: a new device would otherwise begin with a wall
 * of them. The line has the key of the last one, which stays when earlier ones are put in front.
 */
export function foldUnreadable(items: readonly TimelineItem[], firstUnreadKey: string | null): readonly TimelineItem[] {
  if (!items.some(isUnreadable)) return items;
  const folded: TimelineItem[] = [];
  for (let from = 0; from < items.length; ) {
    let to = from;
    while (isUnreadable(items[to]) && (to === from || items[to]?.key !== firstUnreadKey)) to += 1;
    const last = items[to - 1];
    if (to - from < 2 || last?.kind !== "message" || last.messageId === null || last.seq === null) {
      folded.push(...items.slice(from, Math.max(to, from + 1)));
    } else {
      const { key, messageId, seq, at } = last;
      folded.push({ kind: "notice", key, messageId, seq, at, event: UNREADABLE, userIds: [], by: null, details: { count: to - from } });
    }
    from = Math.max(to, from + 1);
  }
  return folded.length === items.length ? items : folded;
}

/** So many earlier rows can be put in front of a list before its numbers reach 0. */
const FIRST = 1_000_000;

/**
 * The number of the first row: lower by as many as were put in front, so that the rows that one looks at keep theirs
 * and do not move.
 */
export function useFirstIndex(items: readonly TimelineItem[]): number {
  const first = items[0]?.key;
  const [anchor, setAnchor] = useState({ key: first, index: FIRST });
  if (anchor.key === first) return anchor.index;
  const at = anchor.key === undefined ? 0 : items.findIndex(({ key }) => key === anchor.key);
  const next = { key: first, index: anchor.index - Math.max(0, at) };
  setAnchor(next);
  return next.index;
}
