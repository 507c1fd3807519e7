/** Whose notifications are off: the user's choice for all their devices (docs/protocol.md "Pushes"). */
import type { NotificationChoice, UserSettings } from "@whispr/client";
import { useNow, useSettings } from "@whispr/react";
import { useMemo } from "react";

function speaksAgainst(choice: NotificationChoice | undefined, now: number): boolean {
  if (choice === undefined) return false;
  return choice.enabled === false || (choice.mutedUntil != null && Date.parse(choice.mutedUntil) > now);
}

/** Whether nothing is to be told of a conversation: neither choice may speak against it. */
export function isMuted({ notifications }: UserSettings, conversationId: string, now: number): boolean {
  return speaksAgainst(notifications, now) || speaksAgainst(notifications?.conversations[conversationId], now);
}

/** The conversations that are muted by a choice of their own. */
export function useMuted(): ReadonlySet<string> {
  const { settings } = useSettings();
  const { conversations = {} } = settings.notifications ?? {};
  const now = useNow(Object.values(conversations).some(({ mutedUntil }) => mutedUntil != null));
  // The same set until one of them differs.
  const ids = Object.keys(conversations).filter((id) => speaksAgainst(conversations[id], now)).join(" ");
  return useMemo(() => new Set(ids === "" ? [] : ids.split(" ")), [ids]);
}
