/**
 * A runtime like React Native's: a bare engine with what the application gives it, and nothing of a browser's or of
 * Node's. The client runs in a context of its own, as one file, as a bundler for phones makes it.
 */
import { fileURLToPath } from "node:url";
import { createContext, runInContext, type Context } from "node:vm";
import { FakeServer } from "@whispr/testing";
import { build, type Rolldown } from "vite";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type * as client from "./index";
import type { ClientStorage } from "./index";
import { ADA, BOB, online, open, texts, until, untilTexts } from "./test/clients";

const BUILD_MS = 60_000;

let bundle = "";
beforeAll(async () => {
  const built = (await build({
    root: fileURLToPath(new URL("..", import.meta.url)),
    configFile: false,
    logLevel: "error",
    build: {
      write: false,
      minify: false,
      target: "es2022",
      lib: { entry: fileURLToPath(new URL("index.ts", import.meta.url)), formats: ["iife"], name: "whispr" },
    },
  })) as Rolldown.RolldownOutput[];
  const chunks = built.flatMap(({ output }) => output).filter((one) => one.type === "chunk");
  expect(chunks).toHaveLength(1);
  bundle = chunks[0]?.code ?? "";
}, BUILD_MS);

interface Phone {
  readonly context: Context;
  readonly createClient: typeof client.createClient;
  readonly memoryStorage: typeof client.memoryStorage;
  readonly plainEngine: typeof client.plainEngine;
}

/** The client in an engine that has this alone; `used` says what of it was called. */
function phone(server: FakeServer, used: string[] = []): Phone {
  const noted = <Call extends (...given: never[]) => unknown>(name: string, call: Call): Call =>
    ((...given) => {
      used.push(name);
      return call(...given);
    }) as Call;
  const { fetch, socket } = server.options(ADA);
  const given = {
    // React Native calls its global object so, and has no document and no addEventListener there.
    window: undefined as unknown,
    fetch: noted("fetch", fetch as typeof globalThis.fetch),
    WebSocket: socket?.transport,
    setTimeout: noted("setTimeout", (run: () => void, ms: number) => Number(setTimeout(run, ms))),
    clearTimeout: (id: number) => clearTimeout(id),
    setInterval: noted("setInterval", (run: () => void, ms: number) => Number(setInterval(run, ms))),
    clearInterval: (id: number) => clearInterval(id),
    crypto: { getRandomValues: noted("getRandomValues", (into: Uint32Array) => crypto.getRandomValues(into)) },
    TextEncoder,
    AbortController,
    console,
  };
  const context = createContext(given);
  given.window = runInContext("globalThis", context);
  runInContext(`${bundle}\nglobalThis.whispr = whispr;`, context);
  return { context, ...(runInContext("whispr", context) as Omit<Phone, "context">) };
}

describe("a runtime without anything of a browser's", () => {
  it("imports the client without any work", () => {
    const used: string[] = [];
    const { context, createClient } = phone(new FakeServer(), used);
    expect(createClient).toBeTypeOf("function");
    expect(used).toEqual([]);
    for (const name of ["document", "navigator", "indexedDB", "localStorage", "BroadcastChannel", "btoa", "TextDecoder", "structuredClone", "process"]) {
      expect(runInContext(`typeof ${name}`, context), name).toBe("undefined");
    }
  });

  it.each(["its own memory", "a storage of the application's"])("connects, sends, receives and comes back, with %s", async (kind) => {
    const server = new FakeServer();
    const { id } = server.conversation([ADA, BOB]);
    const { createClient, memoryStorage, plainEngine } = phone(server);
    const { identity, getToken, url } = server.options(ADA);
    const rows = new Map<string, unknown>();
    const storage: ClientStorage = {
      durable: true,
      get: async (table, key) => rows.get(`${table}/${key}`),
      put: async (table, key, value) => void rows.set(`${table}/${key}`, value),
      delete: async (table, key) => void rows.delete(`${table}/${key}`),
      entries: async (table) => [...rows].filter(([key]) => key.startsWith(`${table}/`)).map(([key, value]) => [key.slice(table.length + 1), value] as const),
      clear: async () => rows.clear(),
      close: () => undefined,
    };
    // As an application there writes it: an address, a token, and at most a storage. fetch and WebSocket are global.
    const own = kind === "its own memory" ? {} : { storage };
    const ada = createClient({ url, getToken, identity, engine: plainEngine(), socket: { reconnectAfterMs: () => 5 }, ...own });
    onTestFinished(() => ada.close());
    expect(memoryStorage().durable).toBe(false);
    await ada.connect();
    await until(ada.connection, ({ guarantee }) => guarantee === "live");
    expect(ada.outbox.getSnapshot().durable).toBe(kind !== "its own memory");
    const bob = await online(server, BOB);
    const [mine, his] = [open(ada, id), open(bob, id)];

    await mine.send("from a phone: 1 € – ok 👍").stored;
    await untilTexts(his, ["from a phone: 1 € – ok 👍"]);
    await his.send("naïve? 🙂").stored;
    await untilTexts(mine, ["from a phone: 1 € – ok 👍", "naïve? 🙂"]);

    server.down();
    await until(ada.connection, ({ phase }) => phase === "offline");
    const kept = mine.send("written meanwhile");
    expect(mine.getSnapshot().items.at(-1)).toMatchObject({ text: "written meanwhile", status: "waiting" });
    expect(ada.connection.getSnapshot().guarantee).toBe(kind === "its own memory" ? "volatile" : "queued");
    server.up();
    await kept.stored;
    await untilTexts(his, ["from a phone: 1 € – ok 👍", "naïve? 🙂", "written meanwhile"]);
    expect(texts(mine)).toEqual(texts(his));
  });
});
