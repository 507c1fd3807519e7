/**
 * Something that changes over time, as React's `useSyncExternalStore` and any other framework can read it.
 *
 * A snapshot is never changed: as long as nothing happened, `getSnapshot` returns the same object. What is told in one
 * turn of the event loop is told once.
 */
export interface Store<Snapshot> {
  /** Be told of changes. Returns the function that ends it. */
  subscribe(listener: () => void): () => void;
  /** What it is now: the same object until something differs. */
  getSnapshot(): Snapshot;
}
