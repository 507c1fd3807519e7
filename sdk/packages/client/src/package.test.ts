/** What is published: that it can be imported, does nothing by that, and is as small as it is promised to be. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { build, type Rolldown } from "vite";
import { BUILD_MS, builtPackage } from "../../../scripts/built-package";

/** What a page loads before it can show anything. 25 kB, gzipped. */
const ENTRY_BYTES = 25_000;
/** Loaded at `connect`: the phoenix package and our side of the socket, and the sharing between tabs. */
const CONNECT_BYTES = 12_500;

const built = builtPackage(fileURLToPath(new URL("..", import.meta.url)));

describe("the package", () => {
  it("is one that every tool understands", async () => {
    expect(await built.complaints()).toEqual([]);
  });

  it("does nothing when it is imported, in Node and without anything of a browser's", () => {
    const said = built.run(`
      const before = new Set(Object.getOwnPropertyNames(globalThis));
      for (const name of ["fetch", "WebSocket", "setTimeout", "setInterval", "BroadcastChannel", "queueMicrotask"]) {
        const real = globalThis[name];
        if (typeof real === "function") globalThis[name] = () => { throw new Error(name + " was called at import"); };
      }
      await import(${built.lib("index")});
      await import(${built.lib("encryption/index")});
      const made = Object.getOwnPropertyNames(globalThis).filter((name) => !before.has(name));
      if (made.length > 0) throw new Error("globals: " + made);
      console.log("quiet");
    `);
    expect(said).toBe("quiet");
  });

  it("has types that an application compiles with", () => {
    const types = readFileSync(join(built.root, "types", "index.d.ts"), "utf8");
    expect(types).toContain("createClient");
  });
});

interface Sizes {
  readonly entry: number;
  readonly connect: number;
  readonly all: Readonly<Record<string, number>>;
}

/** Minified and gzipped, as an application's bundler makes it: what is loaded at first, and what `connect` adds. */
async function sizes(): Promise<Sizes> {
  const entry = join(built.place, "entry.js");
  writeFileSync(entry, `import { createClient } from ${built.lib("index")};\nglobalThis.createClient = createClient;\n`);
  const bundle = (await build({
    root: built.place,
    configFile: false,
    logLevel: "error",
    build: { write: false, target: "es2022", modulePreload: false, rollupOptions: { input: entry } },
  })) as Rolldown.RolldownOutput;
  const chunks = new Map(bundle.output.filter((one) => one.type === "chunk").map((chunk) => [chunk.fileName, chunk]));
  const first = new Set<string>();
  const walk = (name: string, into: Set<string>): void => {
    if (into.has(name)) return;
    into.add(name);
    for (const next of chunks.get(name)?.imports ?? []) walk(next, into);
  };
  for (const chunk of chunks.values()) if (chunk.isEntry) walk(chunk.fileName, first);
  const later = new Set<string>();
  for (const name of chunks.keys()) if (/socket|tabs/.test(name)) walk(name, later);
  const size = (name: string): number => gzipSync(chunks.get(name)?.code ?? "", { level: 9 }).length;
  const sum = (names: Iterable<string>): number => [...names].reduce((total, name) => total + size(name), 0);
  return { entry: sum(first), connect: sum([...later].filter((name) => !first.has(name))), all: Object.fromEntries([...chunks.keys()].map((name) => [name, size(name)])) };
}

describe("the size", () => {
  it("is within its budget", async () => {
    const { entry, connect, all } = await sizes();
    console.info(`gzipped: ${entry} bytes at first, ${connect} at connect; ${JSON.stringify(all)}`);
    expect(entry).toBeLessThanOrEqual(ENTRY_BYTES);
    expect(connect).toBeGreaterThan(0);
    expect(connect).toBeLessThanOrEqual(CONNECT_BYTES);
    // The parts that not everybody needs are not among what everybody loads.
    expect(Object.keys(all).some((name) => name.includes("indexeddb"))).toBe(true);
  }, BUILD_MS);
});
