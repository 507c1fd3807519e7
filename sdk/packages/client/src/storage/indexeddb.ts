/**
 * Storage in IndexedDB, by dexie: what is written survives the page, and all tabs see it.
 *
 * @module @whispr/client/indexeddb
 */
import { Dexie, type Table } from "dexie";
import type { ClientStorage } from "../types/storage";

interface Row {
  readonly table: string;
  readonly key: string;
  readonly value: unknown;
}

/** Open, or make, the database of this name. Rejects where the browser has none for this page. */
export async function indexedDbStorage(name: string): Promise<ClientStorage> {
  const database = new Dexie(name);
  database.version(1).stores({ rows: "[table+key], table" });
  const rows: Table<Row, [string, string]> = database.table("rows");
  await database.open();
  return {
    durable: true,
    get: async (table, key) => (await rows.get([table, key]))?.value,
    put: async (table, key, value) => void (await rows.put({ table, key, value })),
    delete: (table, key) => rows.delete([table, key]),
    entries: async (table) => {
      const found = await rows.where("[table+key]").between([table, Dexie.minKey], [table, Dexie.maxKey]).toArray();
      return found.map(({ key, value }) => [key, value] as const);
    },
    clear: async () => void (await rows.clear()),
    close: () => database.close(),
  };
}
