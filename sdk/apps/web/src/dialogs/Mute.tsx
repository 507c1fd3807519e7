import type { NotificationChoice } from "@whispr/client";
import { useCatalog, useClient, useNow, useSettings } from "@whispr/react";
import { useId, type ReactNode } from "react";
import { useTexts } from "../texts/context";
import { useToasts } from "../ui/toast";

const PAUSES_MS = { hour: 3_600_000, day: 86_400_000 } as const;
const CHOICES = ["on", "hour", "day", "off"] as const;

/** Whether one is told of a conversation, or, without `conversationId`, of any: on all of the user's devices. */
export function Mute({ conversationId }: { readonly conversationId?: string }): ReactNode {
  const texts = useTexts();
  const catalog = useCatalog();
  const client = useClient();
  const toasts = useToasts();
  const { settings } = useSettings();
  const now = useNow(false);
  const id = useId();
  const chosen: NotificationChoice | undefined = conversationId === undefined ? settings.notifications : settings.notifications?.conversations[conversationId];
  const until = chosen?.mutedUntil == null ? 0 : Date.parse(chosen.mutedUntil);
  const state = chosen?.enabled === false ? "off" : until > now ? "until" : "on";
  const choose = (choice: (typeof CHOICES)[number]): void => {
    const pause = choice === "hour" || choice === "day" ? new Date(Date.now() + PAUSES_MS[choice]).toISOString() : null;
    const next = choice === "off" ? { enabled: false } : pause === null ? {} : { enabled: true, mutedUntil: pause };
    // Of all conversations, what is absent stays as it is: so what is meant is said.
    const notifications = conversationId === undefined ? { enabled: true, ...next } : { conversations: { [conversationId]: next } };
    client.settings.update({ notifications }).catch(toasts.fail);
  };
  return (
    <div className="stack-field">
      <label htmlFor={id}>{conversationId === undefined ? texts.muteAll : texts.mute}</label>
      <select id={id} value={state} aria-describedby={`${id}-hint`} onChange={(event) => choose(event.target.value as (typeof CHOICES)[number])}>
        {state === "until" && <option value="until">{texts.mutedUntil(catalog.dateTime(until))}</option>}
        {CHOICES.map((choice) => (
          <option key={choice} value={choice}>
            {texts.mutes[choice]}
          </option>
        ))}
      </select>
      <small id={`${id}-hint`}>{conversationId === undefined ? texts.muteAllHint : texts.muteHint}</small>
    </div>
  );
}
