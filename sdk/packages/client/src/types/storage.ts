/**
 * Where the client keeps what must survive the end of a page. Anything with these few methods will do: IndexedDB in
 * browsers (`@whispr/client/indexeddb`), memory, or a database of React Native's.
 */

/** Values are what a structured clone carries: JSON, bytes, and CryptoKeys where the engine has non-extractable ones. */
export interface ClientStorage {
  readonly durable: boolean;
  /** Undefined where there is nothing. */
  get(table: string, key: string): Promise<unknown>;
  /** Resolves when it is written. */
  put(table: string, key: string, value: unknown): Promise<void>;
  /** Nothing happens where there is nothing. */
  delete(table: string, key: string): Promise<void>;
  /** All of a table, in the order of its keys. */
  entries(table: string): Promise<readonly (readonly [key: string, value: unknown])[]>;
  /** Everything of this client, for signing out. */
  clear(): Promise<void>;
  /** Let go of it; what is stored stays. */
  close(): void;
}

/** What an engine sees of the storage: its own table. */
export interface KeyStorage {
  readonly durable: boolean;
  /** Undefined where there is nothing. */
  get(name: string): Promise<unknown>;
  /** Resolves when it is written. */
  put(name: string, value: unknown): Promise<void>;
  /** Nothing happens where there is nothing. */
  delete(name: string): Promise<void>;
}
