/** What a person chose for this browser: language, colours, notifications. */
import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";

export interface Preferences {
  readonly language: "en" | "fr" | null;
  readonly theme: Theme;
  readonly notifications: boolean;
}

const KEY = "whispr.preferences";
const NONE: Preferences = { language: null, theme: "system", notifications: false };
const listeners = new Set<() => void>();
let current: Preferences | null = null;

function load(): Preferences {
  try {
    return { ...NONE, ...(JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Preferences>) };
  } catch {
    return NONE;
  }
}

export function preferences(): Preferences {
  current ??= load();
  return current;
}

export function choose(change: Partial<Preferences>): void {
  current = { ...preferences(), ...change };
  localStorage.setItem(KEY, JSON.stringify(current));
  apply();
  for (const tell of listeners) tell();
}

/** Put the colours into effect. */
export function apply(): void {
  const { theme } = preferences();
  if (theme === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", theme);
}

/** Follow what other windows of this browser choose. */
export function followOthers(): void {
  window.addEventListener("storage", (event) => {
    if (event.key !== KEY) return;
    current = load();
    apply();
    for (const tell of listeners) tell();
  });
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function usePreferences(): Preferences {
  return useSyncExternalStore(subscribe, preferences, () => NONE);
}
