import type { NoticeItem } from "@whispr/client";
import type { ReactNode } from "react";
import { UNREADABLE } from "../hooks/rows";
import { useCatalog } from "../i18n/context";
import { useNames } from "../provider";

/** What `NoticeLine` shows, and whom it tells. */
export interface NoticeLineProps {
  readonly item: NoticeItem;
  /** The user that looks. */
  readonly me: string | null;
}

/** A line that the server wrote: who joined, left, changed something. */
export function NoticeLine({ item, me }: NoticeLineProps): ReactNode {
  const catalog = useCatalog();
  const nameOf = useNames();
  const named = (userId: string): string => (userId === me ? catalog.you : nameOf(userId));
  // Who started a conversation is not among those who are told to have joined it.
  const whom = item.userIds.filter((userId) => item.event !== "member_added" || userId !== item.by);
  const { count } = item.details;
  if (item.event === UNREADABLE && typeof count === "number") {
    return (
      <p className="wh-notice" title={catalog.unreadableHint}>
        <span>{catalog.unreadableRun(count)}</span>
      </p>
    );
  }
  return (
    <p className="wh-notice">
      <span>
        {catalog.system({
          event: item.event,
          by: item.by === null ? null : named(item.by),
          byYou: item.by !== null && item.by === me,
          names: whom.map(named),
        })}
      </span>
    </p>
  );
}
