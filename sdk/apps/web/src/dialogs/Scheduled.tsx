import type { ConversationSnapshot, ScheduledItem } from "@whispr/client";
import { localInput, useCatalog, useClient } from "@whispr/react";
import { useId, useState, type FormEvent, type ReactNode } from "react";
import { useTexts } from "../texts/context";
import { Section } from "../ui/Dialog";
import { useToasts } from "../ui/toast";

/** What the server sends later in a conversation: to look at, to change, to call off. */
export function Scheduled({ snapshot }: { readonly snapshot: ConversationSnapshot }): ReactNode {
  const texts = useTexts();
  const items = snapshot.scheduled.filter(({ state }) => state !== "sent");
  return (
    <Section title={texts.scheduled}>
      {items.length === 0 && <p className="muted">{texts.nothingScheduled}</p>}
      <ul className="rows">
        {items.map((item) => (
          <Row key={item.id} item={item} />
        ))}
      </ul>
    </Section>
  );
}

function Row({ item }: { readonly item: ScheduledItem }): ReactNode {
  const texts = useTexts();
  const catalog = useCatalog();
  const client = useClient();
  const toasts = useToasts();
  const [isChanging, setChanging] = useState(false);
  if (isChanging) return <Change item={item} onDone={() => setChanging(false)} />;
  const why = item.state === "failed" && item.reason !== null ? ` ${catalog.reasons[item.reason] ?? catalog.reasonOther}` : "";
  return (
    <li className="rows-wrap">
      <span>
        <span dir="auto">{item.body?.text || item.body?.media?.name || "…"}</span>
        <small>
          {texts.scheduledFor(catalog.dateTime(item.at))}
          {item.state !== "scheduled" && ` · ${texts.scheduledStates[item.state]}`}
          {why}
        </small>
      </span>
      <span className="buttons">
        {item.state === "scheduled" && (
          <button type="button" className="wh-button wh-quiet" onClick={() => setChanging(true)}>
            {texts.changeScheduled}
          </button>
        )}
        <button type="button" className="wh-button wh-quiet wh-danger" onClick={() => void client.scheduled.cancel(item.id).catch(toasts.fail)}>
          {texts.cancelScheduled}
        </button>
      </span>
    </li>
  );
}

/** Another text, another time. */
function Change({ item, onDone }: { readonly item: ScheduledItem; readonly onDone: () => void }): ReactNode {
  const texts = useTexts();
  const client = useClient();
  const toasts = useToasts();
  const [text, setText] = useState(item.body?.text ?? "");
  const [time, setTime] = useState(localInput(item.at));
  const [isBusy, setBusy] = useState(false);
  const id = useId();
  const at = new Date(time).getTime();
  const isGood = at > Date.now() && (text.trim() !== "" || item.body?.media !== undefined);
  const save = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    try {
      if (text.trim() !== item.body?.text) await client.scheduled.edit(item.id, text.trim());
      if (time !== localInput(item.at)) await client.scheduled.reschedule(item.id, new Date(at));
      onDone();
    } catch (error) {
      toasts.fail(error);
      setBusy(false);
    }
  };
  return (
    <li>
      <form className="stack grow" onSubmit={(event) => void save(event)}>
        <div className="stack-field">
          <label htmlFor={`${id}-text`}>{texts.scheduledText}</label>
          <textarea id={`${id}-text`} dir="auto" rows={3} value={text} disabled={item.body === null} onChange={(event) => setText(event.target.value)} />
        </div>
        <div className="stack-field">
          <label htmlFor={`${id}-time`}>{texts.scheduledTime}</label>
          <input id={`${id}-time`} type="datetime-local" required min={localInput(Date.now())} value={time} onChange={(event) => setTime(event.target.value)} />
        </div>
        <span className="buttons">
          <button type="submit" className="wh-button wh-primary" disabled={!isGood || isBusy}>
            {texts.save}
          </button>
          <button type="button" className="wh-button" onClick={onDone}>
            {texts.cancel}
          </button>
        </span>
      </form>
    </li>
  );
}
