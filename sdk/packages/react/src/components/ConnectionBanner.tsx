import type { ConnectionState } from "@whispr/client";
import type { ReactNode } from "react";
import { useSecondsUntil } from "../hooks/clock";
import { useCatalog } from "../i18n/context";
import { Icon } from "./icons";

/** What `ConnectionBanner` shows, and whom it tells. */
export interface ConnectionBannerProps {
  readonly connection: ConnectionState;
  /** How many messages wait to be sent. */
  readonly waiting: number;
  /** Try at once, or take the connection over from elsewhere. */
  readonly onConnect: () => void;
  /** Shown where one has to sign in again. */
  readonly onSignIn?: () => void;
  readonly signInLabel?: string;
}

/** What one can rely on right now. There is nothing to say while all is well. */
export function ConnectionBanner({ connection, waiting, onConnect, onSignIn, signInLabel }: ConnectionBannerProps): ReactNode {
  const catalog = useCatalog();
  const { phase, reason, guarantee, service, retryAt } = connection;
  const seconds = useSecondsUntil(phase === "offline" ? retryAt : null);
  const lost = service.lost.map((name) => catalog.services[name]).filter((name) => name !== undefined);
  // While messages are stored as ever, what else is away takes nothing from that.
  const holds = guarantee === "degraded" && !service.lost.includes("sends") ? "live" : guarantee;
  const isWell = phase === "online" && (guarantee === "live" || guarantee === "syncing");
  const tone = guarantee === "degraded" || phase === "connecting" || phase === "idle" ? "mild" : "strong";
  // The place of the message stays in the document, so that screen readers hear of it when it is filled.
  return (
    <div className="wh-banner-place" role="status">
      {!isWell && phase !== "idle" && (
        <div className="wh-banner" data-tone={tone} data-phase={phase}>
          <Icon name={tone === "mild" ? "info" : "warning"} />
          <p>
            <strong>{catalog.connection[phase]}.</strong> {reason !== null && phase !== "online" && <span>{catalog.offline[reason]} </span>}
            <span>{catalog.guarantee[holds]}</span> {lost.length > 0 && <span>{catalog.lost(lost)} </span>}
            {waiting > 0 && <span>{catalog.waiting(waiting)}</span>}
          </p>
          {phase === "offline" && (
            <span className="wh-banner-next">
              <span aria-hidden="true">{seconds !== null && seconds > 1 ? catalog.reconnects(seconds) : ""}</span>
              <button type="button" className="wh-button" onClick={onConnect}>
                {catalog.connectNow}
              </button>
            </span>
          )}
          {phase === "replaced" && (
            <button type="button" className="wh-button" onClick={onConnect}>
              {catalog.useHere}
            </button>
          )}
          {phase === "ended" && onSignIn !== undefined && (
            <button type="button" className="wh-button" onClick={onSignIn}>
              {signInLabel}
            </button>
          )}
        </div>
      )}
    </div>
  );
}
