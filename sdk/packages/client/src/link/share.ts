/** Whether the tabs of this browser can share one connection. */
export function canShare(): boolean {
  const { navigator, BroadcastChannel, document } = globalThis as { navigator?: { locks?: unknown }; BroadcastChannel?: unknown; document?: unknown };
  return document !== undefined && navigator?.locks !== undefined && BroadcastChannel !== undefined;
}
