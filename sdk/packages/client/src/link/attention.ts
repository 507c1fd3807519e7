/** Be told when somebody comes back to the page, where there is one. Returns what ends it. */
export function onReturn(told: () => void): () => void {
  const page = globalThis as Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">> & { readonly document?: Partial<Document> };
  const { document } = page;
  const seen = (): void => {
    if (document?.visibilityState === "visible") told();
  };
  page.addEventListener?.("focus", told);
  document?.addEventListener?.("visibilitychange", seen);
  return () => {
    page.removeEventListener?.("focus", told);
    document?.removeEventListener?.("visibilitychange", seen);
  };
}
