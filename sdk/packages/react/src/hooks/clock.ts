/** One clock for everything that counts down: a hundred messages share a timer, and nothing runs while none counts. */
import { useSyncExternalStore } from "react";

class Clock {
  private readonly listeners = new Set<() => void>();
  private timer: ReturnType<typeof setInterval> | null = null;
  private now = Date.now();

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    this.now = Date.now();
    this.timer ??= setInterval(() => {
      this.now = Date.now();
      for (const tell of this.listeners) tell();
    }, 1_000);
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size > 0 || this.timer === null) return;
      clearInterval(this.timer);
      this.timer = null;
    };
  };

  get = (): number => {
    if (this.timer === null) this.now = Math.floor(Date.now() / 1_000) * 1_000;
    return this.now;
  };
}

const clock = new Clock();
const never = (): (() => void) => () => undefined;

/** Now, in ms since 1970, renewed each second; not renewed while `active` is false. 0 on a server. */
export function useNow(active: boolean): number {
  return useSyncExternalStore(active ? clock.subscribe : never, clock.get, () => 0);
}

/** Seconds until `at`, never below 0; null without one. */
export function useSecondsUntil(at: number | null): number | null {
  const now = useNow(at !== null);
  return at === null ? null : Math.max(0, Math.ceil((at - now) / 1_000));
}
