/** What is published: that every tool understands it. */
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { builtPackage } from "../../../scripts/built-package";

const built = builtPackage(fileURLToPath(new URL("..", import.meta.url)));

it("the package is one that every tool understands", async () => {
  expect(await built.complaints()).toEqual([]);
});
