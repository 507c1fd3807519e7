import { Icon } from "@whispr/react";
import { useEffect, useId, useRef, type ReactNode } from "react";
import { useTexts } from "../texts/context";

export interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  /** sheet: along the side, as high as the window; card: in the middle. */
  readonly kind?: "sheet" | "card";
  readonly children: ReactNode;
}

/** A modal dialog of the browser's own: it keeps the focus in it, Escape closes it, and the focus goes back. */
export function Dialog({ title, onClose, kind = "sheet", children }: DialogProps): ReactNode {
  const texts = useTexts();
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const element = dialog.current;
    if (element === null) return undefined;
    const before = document.activeElement;
    if (!element.open) element.showModal();
    return () => {
      element.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      className={`dialog dialog-${kind}`}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      <div className="dialog-body">
        <header>
          <h2 id={id}>{title}</h2>
          <button type="button" className="wh-icon-button" aria-label={texts.close} title={texts.close} onClick={onClose}>
            <Icon name="close" />
          </button>
        </header>
        <div className="dialog-content" tabIndex={-1}>
          {children}
        </div>
      </div>
    </dialog>
  );
}

/** A part of a dialog with a heading of its own. */
export function Section({ title, children }: { readonly title: string; readonly children: ReactNode }): ReactNode {
  const id = useId();
  return (
    <section className="section" aria-labelledby={id}>
      <h3 id={id}>{title}</h3>
      {children}
    </section>
  );
}

export interface SwitchProps {
  readonly label: string;
  readonly hint?: string;
  readonly isOn: boolean;
  readonly isDisabled?: boolean;
  readonly onChange: (isOn: boolean) => void;
}

export function Switch({ label, hint, isOn, isDisabled = false, onChange }: SwitchProps): ReactNode {
  const id = useId();
  return (
    <div className="switch">
      <label htmlFor={id}>
        {label}
        {hint !== undefined && <small id={`${id}-hint`}>{hint}</small>}
      </label>
      <input
        id={id}
        type="checkbox"
        role="switch"
        checked={isOn}
        disabled={isDisabled}
        aria-describedby={hint === undefined ? undefined : `${id}-hint`}
        onChange={(event) => onChange(event.target.checked)}
      />
    </div>
  );
}
