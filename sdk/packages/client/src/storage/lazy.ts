/** A storage that is not open yet: what is asked of it waits. */
import type { ClientStorage, KeyStorage } from "../types/storage";

export interface LazyStorage extends ClientStorage {
  readonly isOpen: boolean;
  use(storage: ClientStorage): void;
  /** One table, with the prefix of its keys left out. */
  table(name: string): Omit<KeyStorage, "durable">;
}

export function lazyStorage(): LazyStorage {
  let found: ClientStorage | null = null;
  let opened: (storage: ClientStorage) => void = () => undefined;
  const open = new Promise<ClientStorage>((resolve) => {
    opened = resolve;
  });
  const lazy: LazyStorage = {
    get isOpen() {
      return found !== null;
    },
    get durable() {
      return found?.durable ?? false;
    },
    use: (storage) => {
      found = storage;
      opened(storage);
    },
    get: async (table, key) => (await open).get(table, key),
    put: async (table, key, value) => (await open).put(table, key, value),
    delete: async (table, key) => (await open).delete(table, key),
    entries: async (table) => (await open).entries(table),
    clear: async () => found?.clear(),
    close: () => found?.close(),
    table: (name) => ({
      get: (key) => lazy.get(name, key),
      put: (key, value) => lazy.put(name, key, value),
      delete: (key) => lazy.delete(name, key),
    }),
  };
  return lazy;
}
