/** What each close of the socket means (docs/protocol.md "Close codes"). */
import type { OfflineReason } from "../types/connection";

export interface Close {
  readonly reason: OfflineReason;
  /** stay: not again by ourselves; token: with a new token; again: with the usual pauses. */
  readonly then: "stay" | "token" | "again";
  /** The least pause before the next try, in ms. */
  readonly pauseMs: number;
}

const CLOSES: Readonly<Record<number, Close>> = {
  // Whoever sends frames that are not understood would do it again at once.
  4400: { reason: "client_fault", then: "again", pauseMs: 10_000 },
  4401: { reason: "token_expired", then: "token", pauseMs: 0 },
  4403: { reason: "revoked", then: "stay", pauseMs: 0 },
  4408: { reason: "too_slow", then: "again", pauseMs: 0 },
  4409: { reason: "replaced", then: "stay", pauseMs: 0 },
  4429: { reason: "too_many_sockets", then: "again", pauseMs: 30_000 },
  4500: { reason: "server_fault", then: "again", pauseMs: 0 },
  1012: { reason: "server_restart", then: "again", pauseMs: 0 },
};

/** The meaning of a close code; any other is the network's. */
export function closeOf(code: number): Close {
  return CLOSES[code] ?? { reason: isDeviceOffline() ? "device_offline" : "network", then: "again", pauseMs: 0 };
}

function isDeviceOffline(): boolean {
  return (globalThis as { navigator?: { onLine?: boolean } }).navigator?.onLine === false;
}

/** Quick at first, for a server that restarts; then slow enough not to be a burden. In ms. */
const RECONNECT_MS = [100, 250, 500, 1_000, 2_000];
const RECONNECT_MAX_MS = 5_000;

/** The pause before the n-th try (from 1): half of it is chance, so that not all clients of a server come at once. */
export function reconnectAfterMs(tries: number): number {
  return (RECONNECT_MS[tries - 1] ?? RECONNECT_MAX_MS) * (0.75 + Math.random() / 2);
}

/** Be told when the device's network goes and comes, where there is anybody to tell. Returns what ends it. */
export function onNetwork(told: (isThere: boolean) => void): () => void {
  const page = globalThis as Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">>;
  const [gone, there] = [(): void => told(false), (): void => told(true)];
  page.addEventListener?.("offline", gone);
  page.addEventListener?.("online", there);
  return () => {
    page.removeEventListener?.("offline", gone);
    page.removeEventListener?.("online", there);
  };
}
