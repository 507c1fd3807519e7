import type { OutboxItem } from "@whispr/client";
import type { ReactNode } from "react";
import { useSecondsUntil } from "../hooks/clock";
import { useCatalog } from "../i18n/context";
import { Icon } from "./icons";

/** What `RetryPanel` shows, and whom it tells. */
export interface RetryPanelProps {
  /** What did not go through at once, in the order of writing. */
  readonly items: readonly OutboxItem[];
  readonly isOnline: boolean;
  /** Try it now. */
  readonly onRetry: (item: OutboxItem) => void;
  /** Take its text back into the composer. */
  readonly onEdit: (item: OutboxItem) => void;
  /** Give it up. */
  readonly onDiscard: (item: OutboxItem) => void;
}

/** What happens next by itself. */
function Next({ item, isOnline }: { readonly item: OutboxItem; readonly isOnline: boolean }): ReactNode {
  const catalog = useCatalog();
  const seconds = useSecondsUntil(item.nextTryAt);
  if (item.state === "failed") return null;
  if (item.state === "sending") return <span>{catalog.tryingNow}</span>;
  if (!isOnline) return <span>{catalog.resumesOnline}</span>;
  return <span>{seconds !== null && seconds > 0 ? catalog.nextTry(seconds) : catalog.tryingNow}</span>;
}

function Row({ item, isOnline, onRetry, onEdit, onDiscard }: { readonly item: OutboxItem } & Omit<RetryPanelProps, "items">): ReactNode {
  const catalog = useCatalog();
  const code = item.failure?.code ?? (isOnline ? null : "offline");
  const text = item.body?.text || item.body?.media?.name || "…";
  const isBusy = item.state === "sending" || item.state === "accepted";
  return (
    <li className="wh-retry-row" data-state={item.state}>
      <div className="wh-retry-text">
        <strong dir="auto">{text}</strong>
        <p>
          {code !== null && <span>{catalog.reasons[code] ?? catalog.reasonOther}</span>} <Next item={item} isOnline={isOnline} />
          {item.attempts > 0 && <small> {catalog.attempts(item.attempts)}</small>}
        </p>
      </div>
      <div className="wh-retry-actions">
        <button type="button" className="wh-button" disabled={isBusy} onClick={() => onRetry(item)}>
          {catalog.retry}
        </button>
        {item.kind !== "delete" && item.kind !== "react" && (
          <button type="button" className="wh-button wh-quiet" disabled={isBusy} onClick={() => onEdit(item)}>
            {catalog.edit}
          </button>
        )}
        <button type="button" className="wh-button wh-quiet wh-danger" disabled={isBusy} onClick={() => onDiscard(item)}>
          {catalog.discard}
        </button>
      </div>
    </li>
  );
}

/** Why messages were not sent, when the next try is, and what one can do about it. */
export function RetryPanel(props: RetryPanelProps): ReactNode {
  const catalog = useCatalog();
  const { items } = props;
  if (items.length === 0) return null;
  const failed = items.some(({ state }) => state === "failed");
  return (
    <section className={failed ? "wh-retry wh-retry-failed" : "wh-retry"} aria-label={failed ? catalog.failedTitle : catalog.waitingTitle(items.length)}>
      <h3>
        <Icon name={failed ? "failed" : "waiting"} /> {failed ? catalog.failedTitle : catalog.waitingTitle(items.length)}
      </h3>
      <ul>
        {items.map((item) => (
          <Row key={item.id} {...props} item={item} />
        ))}
      </ul>
    </section>
  );
}
