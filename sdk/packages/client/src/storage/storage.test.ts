/** Both storages keep the same promises; IndexedDB also keeps keys that nobody can take out. */
import "fake-indexeddb/auto";
import { describe, expect, it } from "vitest";
import { indexedDbStorage } from "./indexeddb";
import { memoryStorage } from "./memory";
import { defaultStorage } from "./default";

describe.each([
  ["memory", async () => memoryStorage()],
  ["IndexedDB", () => indexedDbStorage(`test-${crypto.randomUUID()}`)],
] as const)("storage in %s", (name, make) => {
  it("keeps what was put, by table and key, in the order of the keys", async () => {
    const storage = await make();
    expect(storage.durable).toBe(name === "IndexedDB");
    await storage.put("a", "2", { text: "two" });
    await storage.put("a", "10", [1, 2]);
    await storage.put("b", "1", "other");
    await storage.put("a", "2", { text: "two again" });
    expect(await storage.get("a", "2")).toEqual({ text: "two again" });
    expect(await storage.get("a", "none")).toBeUndefined();
    expect(await storage.entries("a")).toEqual([["10", [1, 2]], ["2", { text: "two again" }]]);
    await storage.delete("a", "2");
    expect(await storage.entries("a")).toEqual([["10", [1, 2]]]);
    await storage.clear();
    expect(await storage.entries("b")).toEqual([]);
    storage.close();
  });

  it("copies, so that a later change is nothing of it", async () => {
    const storage = await make();
    const value = { list: [1] };
    await storage.put("a", "1", value);
    value.list.push(2);
    expect(await storage.get("a", "1")).toEqual({ list: [1] });
    storage.close();
  });
});

describe("the storage of an application that gives none", () => {
  it("is IndexedDB where there is one, a database a device", async () => {
    const identity = { userId: crypto.randomUUID(), deviceId: crypto.randomUUID() };
    const one = await defaultStorage(identity);
    expect(one.durable).toBe(true);
    await one.put("a", "1", "kept");
    one.close();
    const again = await defaultStorage(identity);
    expect(await again.get("a", "1")).toBe("kept");
    const other = await defaultStorage({ ...identity, deviceId: crypto.randomUUID() });
    expect(await other.get("a", "1")).toBeUndefined();
    again.close();
    other.close();
  });
});
