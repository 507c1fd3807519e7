// @vitest-environment node
/** What is published: that every tool understands it, and that it can be imported on a server. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { builtPackage } from "../../../scripts/built-package";

const built = builtPackage(fileURLToPath(new URL("..", import.meta.url)));

describe("the package", () => {
  it("is one that every tool understands", async () => {
    expect(await built.complaints()).toEqual([]);
  });

  it("is imported and drawn on a server, where nothing of a browser's is", () => {
    const said = built.run(
      `import { createElement } from "react";
       import { renderToString } from "react-dom/server";
       const { I18nProvider, MessageStatus, fr } = await import(${built.lib("index")});
       console.log(renderToString(createElement(I18nProvider, { catalog: fr }, createElement(MessageStatus, { status: "read", showWord: true }))));`,
    );
    expect(said).toContain("Lu");
  });

  it("brings its types and its looks", () => {
    for (const path of ["types/index.d.ts", "styles/index.css", "styles/tokens.css", "README.md"]) {
      expect(existsSync(join(built.root, path)), path).toBe(true);
    }
  });
});
