/** A package as it would be published, for the tests of what is. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { afterAll, beforeAll } from "vitest";

// Mostly tsc: 40 s on two busy cores.
export const BUILD_MS = 240_000;

export interface BuiltPackage {
  /** A directory of its own, with what the package depends on. */
  readonly place: string;
  /** Where the package is. */
  readonly root: string;
  /** A module of the package, quoted for an import: `lib("index")`. */
  lib(name: string): string;
  /** What publint says of it; nothing is good. */
  complaints(): Promise<(string | undefined)[]>;
  /** What a module prints that Node runs beside the package, as an application's would. */
  run(source: string): string;
}

/** Build the package in `root` before the tests of this file, and delete it after them. */
export function builtPackage(root: string): BuiltPackage {
  const place = mkdtempSync(join(tmpdir(), "whispr-package-"));
  const built = join(place, "package");
  beforeAll(() => {
    execFileSync(process.execPath, ["build.mjs", built], { cwd: root, stdio: "pipe" });
    symlinkSync(join(root, "..", "..", "node_modules"), join(place, "node_modules"));
  }, BUILD_MS);
  afterAll(() => rmSync(place, { recursive: true, force: true }));
  return {
    place,
    root: built,
    lib: (name) => JSON.stringify(join(built, "lib", `${name}.js`)),
    complaints: async () => {
      const { messages, pkg } = await publint({ pkgDir: built, strict: true, pack: false });
      return messages.map((message) => formatMessage(message, pkg));
    },
    run: (source) => {
      const file = join(place, "run.mjs");
      writeFileSync(file, source);
      return execFileSync(process.execPath, [file], { encoding: "utf8" }).trim();
    },
  };
}
