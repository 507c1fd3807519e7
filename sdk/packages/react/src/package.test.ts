// @vitest-environment node
/** What is published: that every tool understands it, and that it can be imported on a server. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const BUILD_MS = 120_000;

let place = "";
beforeAll(() => {
  place = mkdtempSync(join(tmpdir(), "whispr-react-"));
  execFileSync(process.execPath, ["build.mjs", join(place, "package")], { cwd: ROOT, stdio: "pipe" });
  symlinkSync(join(ROOT, "..", "..", "node_modules"), join(place, "node_modules"));
}, BUILD_MS);
afterAll(() => rmSync(place, { recursive: true, force: true }));

describe("the package", () => {
  it("is one that every tool understands", async () => {
    const { messages, pkg } = await publint({ pkgDir: join(place, "package"), strict: true, pack: false });
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
  });

  it("is imported and drawn on a server, where nothing of a browser's is", () => {
    const file = join(place, "draw.mjs");
    const lib = JSON.stringify(join(place, "package", "lib", "index.js"));
    writeFileSync(
      file,
      `import { createElement } from "react";
       import { renderToString } from "react-dom/server";
       const { I18nProvider, MessageStatus, fr } = await import(${lib});
       console.log(renderToString(createElement(I18nProvider, { catalog: fr }, createElement(MessageStatus, { status: "read", showWord: true }))));`,
    );
    expect(execFileSync(process.execPath, [file], { encoding: "utf8" })).toContain("Lu");
  });

  it("brings its types and its looks", () => {
    for (const path of ["types/index.d.ts", "styles/index.css", "styles/tokens.css", "README.md"]) {
      expect(existsSync(join(place, "package", path)), path).toBe(true);
    }
  });
});
