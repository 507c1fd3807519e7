import type { ReactNode } from "react";
import { useCatalog } from "../i18n/context";

/** What `TypingIndicator` shows, and whom it tells. */
export interface TypingIndicatorProps {
  /** Names of those who are writing. */
  readonly names: readonly string[];
}

/** Who is writing. It keeps its place while nobody is, so that nothing jumps. */
export function TypingIndicator({ names }: TypingIndicatorProps): ReactNode {
  const catalog = useCatalog();
  return (
    <div className="wh-typing" aria-live="polite">
      {names.length > 0 && (
        <>
          <span className="wh-typing-dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          <span>{catalog.typing(names)}</span>
        </>
      )}
    </div>
  );
}
