/** Which conversation is open: in the address's fragment, so that Back and a reload do what one expects. */
import { useSyncExternalStore } from "react";

const PREFIX = "#/c/";

function subscribe(listener: () => void): () => void {
  window.addEventListener("hashchange", listener);
  return () => window.removeEventListener("hashchange", listener);
}

function current(): string | null {
  return location.hash.startsWith(PREFIX) ? location.hash.slice(PREFIX.length) : null;
}

export function useOpenConversation(): string | null {
  return useSyncExternalStore(subscribe, current, () => null);
}

export function openConversation(id: string): void {
  if (current() !== id) location.hash = `${PREFIX}${id}`;
}

/** Back to the list. It takes the place of the conversation in the history of the tab. */
export function closeConversation(): void {
  history.replaceState(null, "", `${location.pathname}${location.search}`);
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}
