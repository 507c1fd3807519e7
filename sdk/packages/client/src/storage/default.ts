/** The storage where the application gives none: IndexedDB where there is one, else memory. */
import type { Identity } from "../types/connection";
import type { ClientStorage } from "../types/storage";
import { memoryStorage } from "./memory";

/** One database a device. Its code is loaded only here, so that who brings another storage never loads it. */
export async function defaultStorage({ userId, deviceId }: Identity): Promise<ClientStorage> {
  if ((globalThis as { indexedDB?: unknown }).indexedDB === undefined) return memoryStorage();
  const { indexedDbStorage } = await import("./indexeddb");
  try {
    return await indexedDbStorage(`whispr-${userId}-${deviceId}`);
  } catch {
    return memoryStorage(); // private windows of some browsers have an IndexedDB that does not open
  }
}
