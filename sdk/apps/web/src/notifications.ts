/** The browser's own notifications, while the page is open and nobody looks at it. */
import type { MessageItem } from "@whispr/client";
import { preferences } from "./preferences";
import { openConversation } from "./route";

export function canNotify(): boolean {
  return typeof Notification === "function" && Notification.permission === "granted";
}

/** Ask the person, once: a browser that was told no does not ask again. */
export async function askForNotifications(): Promise<boolean> {
  if (typeof Notification !== "function") return false;
  return (await Notification.requestPermission()) === "granted";
}

/** Tell of a message. Its text is not in it: notifications are shown on locked screens. */
export function notify(item: MessageItem, title: string): void {
  if (!preferences().notifications || !canNotify() || document.visibilityState === "visible") return;
  try {
    const shown = new Notification(title, { tag: item.conversationId, icon: "/static/web/favicon.svg" });
    shown.onclick = () => {
      window.focus();
      openConversation(item.conversationId);
      shown.close();
    };
  } catch {
    // Android's Chromium allows them to service workers alone.
  }
}
