import { useEffect, useId, useRef, useState, type KeyboardEvent, type ReactNode, type RefObject } from "react";
import { Icon, type IconName } from "./icons";

const MARGIN_PX = 8;

/** Put a panel beside its button, inside the window. */
function place(panel: HTMLElement, button: HTMLElement): void {
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = panel;
  // Towards the middle of the window.
  const left = (at.left + at.right) / 2 < window.innerWidth / 2 ? at.left : at.right - width;
  const below = at.bottom + 4;
  const top = below + height + MARGIN_PX > window.innerHeight ? at.top - height - 4 : below;
  panel.style.left = `${Math.max(MARGIN_PX, Math.min(left, window.innerWidth - width - MARGIN_PX))}px`;
  panel.style.top = `${Math.max(MARGIN_PX, top)}px`;
}

/** What `Popover` holds, and where it stands. */
export interface PopoverProps {
  readonly button: RefObject<HTMLElement | null>;
  readonly role: "menu" | "dialog";
  readonly label: string;
  readonly id: string;
  /** Escape, a click elsewhere, or the focus went away. */
  readonly onClose: () => void;
  readonly className?: string;
  readonly children: ReactNode;
}

/** A panel in the browser's top layer: nothing cuts it off, and a click elsewhere or Escape closes it. */
export function Popover({ button, role, label, id, onClose, className = "", children }: PopoverProps): ReactNode {
  const panel = useRef<HTMLDivElement>(null);
  const close = useRef(onClose);
  useEffect(() => {
    close.current = onClose;
  }, [onClose]);
  useEffect(() => {
    const element = panel.current;
    const opener = button.current;
    if (element === null || opener === null) return undefined;
    element.showPopover?.();
    place(element, opener);
    element.querySelector<HTMLElement>("[data-autofocus], button, input, select")?.focus({ preventScroll: true });
    const toggled = (event: Event): void => {
      if ((event as ToggleEvent).newState === "closed") close.current();
    };
    const scrolled = (event: Event): void => {
      if (!(event.target instanceof Node && element.contains(event.target))) close.current();
    };
    element.addEventListener("toggle", toggled);
    window.addEventListener("resize", scrolled);
    // What is in it may become more, as a page of emoji does.
    const grown = typeof ResizeObserver === "function" ? new ResizeObserver(() => place(element, opener)) : null;
    grown?.observe(element);
    return () => {
      grown?.disconnect();
      element.removeEventListener("toggle", toggled);
      window.removeEventListener("resize", scrolled);
      // The panel goes with the focus in it: back to where it came from.
      if (element.contains(document.activeElement) || document.activeElement === document.body) opener.focus({ preventScroll: true });
    };
  }, [button]);
  const keyDown = (event: KeyboardEvent): void => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    onClose();
  };
  return (
    <div ref={panel} id={id} className={`wh-popover ${className}`} popover="auto" role={role} aria-label={label} onKeyDown={keyDown}>
      {children}
    </div>
  );
}

/** One line of a menu. */
export interface MenuEntry {
  readonly key: string;
  readonly label: string;
  readonly icon?: IconName;
  readonly isDanger?: boolean;
  /** It is chosen; the menu closes by itself. */
  readonly onSelect: () => void;
}

/** What `Menu` shows, and whom it tells. */
export interface MenuProps {
  readonly label: string;
  readonly entries: readonly MenuEntry[];
  readonly icon?: IconName;
  readonly className?: string;
  readonly tabIndex?: number;
  /** Above the entries: a row of reactions, for example. `close` closes the menu. */
  readonly header?: (close: () => void) => ReactNode;
}

/** A button that opens a menu. Arrow keys move in it, Escape closes it, and the focus returns to the button. */
export function Menu({ label, entries, icon = "more", className = "wh-icon-button", tabIndex, header }: MenuProps): ReactNode {
  const [isOpen, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();
  const close = (): void => setOpen(false);
  const move = (event: KeyboardEvent<HTMLElement>): void => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const all = [...event.currentTarget.querySelectorAll<HTMLElement>("button")];
    const at = all.indexOf(document.activeElement as HTMLElement);
    all[(at + step + all.length) % all.length]?.focus();
  };
  return (
    <>
      <button
        ref={button}
        type="button"
        className={className}
        tabIndex={tabIndex}
        aria-label={label}
        title={label}
        aria-haspopup="menu"
        aria-expanded={isOpen}
        aria-controls={isOpen ? id : undefined}
        onClick={() => setOpen(!isOpen)}
      >
        <Icon name={icon} />
      </button>
      {isOpen && (
        <Popover button={button} role="menu" label={label} id={id} onClose={close}>
          <div className="wh-menu" role="none" onKeyDown={move}>
            {header?.(close)}
            {entries.map((entry) => (
              <button
                key={entry.key}
                type="button"
                role="menuitem"
                className={entry.isDanger === true ? "wh-menu-item wh-danger" : "wh-menu-item"}
                onClick={() => {
                  close();
                  entry.onSelect();
                }}
              >
                {entry.icon !== undefined && <Icon name={entry.icon} />}
                {entry.label}
              </button>
            ))}
          </div>
        </Popover>
      )}
    </>
  );
}
