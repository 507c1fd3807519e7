import type { MessageStatus as Status } from "@whispr/client";
import type { ReactNode } from "react";
import { useCatalog } from "../i18n/context";
import { Icon } from "./icons";

/** What `MessageStatus` shows, and whom it tells. */
export interface MessageStatusProps {
  readonly status: Status;
  /** Whether the word is shown to everybody; screen readers get it in any case. */
  readonly showWord?: boolean;
}

/** A state of the specification's §4.2: a picture of its own for each, and its word. Never by colour alone. */
export function MessageStatus({ status, showWord = false }: MessageStatusProps): ReactNode {
  const catalog = useCatalog();
  return (
    <span className={`wh-status wh-status-${status}`} data-status={status} title={catalog.stateHints[status]}>
      <Icon name={status} />
      <span className={showWord ? "wh-status-word" : "wh-sr"}>{catalog.states[status]}</span>
    </span>
  );
}
