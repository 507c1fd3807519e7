/** Storage that lives as long as the page or process: for tests, Node, and where nothing else is allowed. */
import type { ClientStorage } from "../types/storage";

/** A storage in memory; what is put in is copied, as in any other storage. */
export function memoryStorage(): ClientStorage {
  const tables = new Map<string, Map<string, unknown>>();
  const table = (name: string): Map<string, unknown> => {
    const found = tables.get(name) ?? new Map<string, unknown>();
    tables.set(name, found);
    return found;
  };
  return {
    durable: false,
    get: async (name, key) => copy(table(name).get(key)),
    put: async (name, key, value) => void table(name).set(key, copy(value)),
    delete: async (name, key) => void table(name).delete(key),
    entries: async (name) => [...table(name)].sort(([one], [other]) => (one < other ? -1 : 1)).map(([key, value]) => [key, copy(value)] as const),
    clear: async () => tables.clear(),
    close: () => undefined,
  };
}

function copy(value: unknown): unknown {
  // React Native before 0.80 has no structuredClone; what the client stores is never changed afterwards.
  return typeof structuredClone === "function" ? structuredClone(value) : value;
}
