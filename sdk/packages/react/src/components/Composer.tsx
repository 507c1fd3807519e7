import { useEffect, useId, useRef, useState, type KeyboardEvent, type ReactNode } from "react";
import { useCatalog } from "../i18n/context";
import type { Composed, ComposerMode } from "../model";
import { useNames } from "../provider";
import { ScheduleButton, TtlButton, type Ttl } from "./ComposerOptions";
import { Icon } from "./icons";
import { sizeText } from "./MediaView";

/** What a composer shows, and whom it tells. */
export interface ComposerProps {
  /** Whom one writes to. */
  readonly to: string;
  readonly mode?: ComposerMode | null;
  /** The reply or the edit is given up. */
  readonly onCancelMode?: () => void;
  /** Resolves false where it was not taken: what was written stays. */
  readonly onSend: (composed: Composed) => boolean | Promise<boolean>;
  /** Arrow up in an empty field. */
  readonly onEditLast?: () => void;
  /** At every key, and at the end. */
  readonly onTyping?: (active: boolean) => void;
  /** What was being written, here or on another device: taken over while the field is untouched. */
  readonly draft?: string;
  /** What stands in the field, at every key. */
  readonly onDraft?: (text: string) => void;
  readonly ttl?: Ttl | null;
  readonly canAttach?: boolean;
  readonly canSchedule?: boolean;
  readonly isDisabled?: boolean;
  readonly me?: string | null;
  /** UTF-8 bytes that fit into a message beside its keys. */
  readonly maxBytes?: number;
}

const MAX_BYTES = 32 * 1024;
const MAX_ROWS = 8;
const encoder = new TextEncoder();

function ModeBar({ mode, me, onCancel }: { readonly mode: ComposerMode; readonly me: string | null; readonly onCancel: () => void }): ReactNode {
  const catalog = useCatalog();
  const nameOf = useNames();
  const { message } = mode;
  const name = message.senderId === me ? catalog.you : nameOf(message.senderId);
  return (
    <div className="wh-mode">
      <Icon name={mode.kind} />
      <p>
        <strong>{mode.kind === "edit" ? catalog.editing : `${catalog.replyingTo} ${name}`}</strong>
        <span dir="auto">{message.text || message.media?.name}</span>
      </p>
      <button type="button" className="wh-icon-button" aria-label={catalog.cancel} title={catalog.cancel} onClick={onCancel}>
        <Icon name="close" />
      </button>
    </div>
  );
}

function FileChip({ file, onRemove }: { readonly file: File; readonly onRemove: () => void }): ReactNode {
  const catalog = useCatalog();
  return (
    <div className="wh-chip">
      <Icon name="file" />
      <span dir="auto">{file.name}</span>
      <small>{sizeText(file.size, catalog.locale)}</small>
      <button type="button" className="wh-icon-button" aria-label={catalog.removeAttachment} title={catalog.removeAttachment} onClick={onRemove}>
        <Icon name="close" />
      </button>
    </div>
  );
}

/** Enter sends, Shift and Enter begin a new line, Escape ends a reply or an edit, arrow up edits the last message. */
export function Composer(props: ComposerProps): ReactNode {
  const { to, mode = null, onCancelMode, onSend, onEditLast, onTyping, draft = "", onDraft, isDisabled = false, me = null, maxBytes = MAX_BYTES } = props;
  const catalog = useCatalog();
  const [text, setText] = useState(mode?.kind === "edit" ? (mode.message.text ?? "") : draft);
  const [file, setFile] = useState<File | null>(null);
  const [ttl, setTtl] = useState<Ttl | null>(props.ttl ?? null);
  const [isBusy, setBusy] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);
  const input = useRef<HTMLInputElement>(null);
  const isTouched = useRef(false);
  const kept = useRef("");
  const id = useId();
  const isEdit = mode?.kind === "edit";

  // Another device's draft is taken over as long as nothing was typed here.
  useEffect(() => {
    if (!isTouched.current && !isEdit) setText(draft);
  }, [draft, isEdit]);

  const modeKey = mode === null ? null : `${mode.kind} ${mode.message.key}`;
  const lastMode = useRef<string | null>(null);
  useEffect(() => {
    if (modeKey === lastMode.current) return;
    const wasEdit = lastMode.current?.startsWith("edit ") ?? false;
    lastMode.current = modeKey;
    if (isEdit) {
      if (!wasEdit) kept.current = text;
      setText(mode?.message.text ?? "");
    } else if (wasEdit) setText(kept.current);
    if (modeKey !== null) field.current?.focus();
    // What is written now is only looked at when the mode changes.
  }, [modeKey]);

  const over = encoder.encode(text).length - maxBytes;
  const isEmpty = text.trim() === "" && file === null;
  const canSend = !isEmpty && over <= 0 && !isBusy && !isDisabled;

  const write = (value: string): void => {
    isTouched.current = true;
    setText(value);
    onTyping?.(value !== "");
    if (!isEdit) onDraft?.(value);
  };

  const send = async (scheduledFor: number | null): Promise<void> => {
    if (!canSend) return;
    setBusy(true);
    try {
      const wasTaken = await onSend({ text: text.trim(), file, ttl: ttl?.seconds ?? null, ttlStart: ttl?.start ?? "send", scheduledFor });
      if (!wasTaken) return;
      setText("");
      setFile(null);
      isTouched.current = false;
      onTyping?.(false);
    } finally {
      setBusy(false);
      field.current?.focus();
    }
  };

  const keyDown = (event: KeyboardEvent<HTMLTextAreaElement>): void => {
    // An input method takes Enter for itself while it composes a character.
    if (event.nativeEvent.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      void send(null);
    } else if (event.key === "Escape" && mode !== null) {
      event.preventDefault();
      onCancelMode?.();
    } else if (event.key === "ArrowUp" && text === "" && onEditLast !== undefined) {
      event.preventDefault();
      onEditLast();
    }
  };

  return (
    <form
      className="wh-composer"
      onSubmit={(event) => {
        event.preventDefault();
        void send(null);
      }}
    >
      {mode !== null && <ModeBar mode={mode} me={me} onCancel={() => onCancelMode?.()} />}
      {file !== null && <FileChip file={file} onRemove={() => setFile(null)} />}
      <div className="wh-composer-line">
        {props.canAttach === true && !isEdit && (
          <>
            <button type="button" className="wh-icon-button" aria-label={catalog.attach} title={catalog.attach} disabled={isDisabled} onClick={() => input.current?.click()}>
              <Icon name="attach" />
            </button>
            <input
              ref={input}
              type="file"
              hidden
              tabIndex={-1}
              aria-hidden="true"
              onChange={(event) => {
                setFile(event.target.files?.[0] ?? null);
                event.target.value = "";
                field.current?.focus();
              }}
            />
          </>
        )}
        <div className="wh-field">
          <textarea
            ref={field}
            id={id}
            aria-label={catalog.compose}
            aria-describedby={over > 0 ? `${id}-over` : undefined}
            aria-invalid={over > 0}
            placeholder={catalog.composeTo(to)}
            dir="auto"
            rows={Math.min(MAX_ROWS, text.split("\n").length)}
            value={text}
            disabled={isDisabled}
            enterKeyHint="send"
            autoComplete="off"
            onChange={(event) => write(event.target.value)}
            onBlur={() => onTyping?.(false)}
            onKeyDown={keyDown}
            onPaste={(event) => {
              const pasted = event.clipboardData.files[0];
              if (pasted === undefined || props.canAttach !== true || isEdit) return;
              event.preventDefault();
              setFile(pasted);
            }}
          />
          {!isEdit && <TtlButton value={ttl} onChange={setTtl} />}
          {!isEdit && props.canSchedule === true && <ScheduleButton disabled={!canSend} onSchedule={(at) => void send(at)} />}
        </div>
        <button type="submit" className="wh-send" aria-label={isEdit ? catalog.save : catalog.send} title={isEdit ? catalog.save : catalog.send} aria-disabled={!canSend}>
          <Icon name={isEdit ? "sent" : "send"} />
        </button>
      </div>
      {over > 0 && (
        <p id={`${id}-over`} className="wh-composer-over" role="alert">
          {catalog.tooLong(over)}
        </p>
      )}
    </form>
  );
}
