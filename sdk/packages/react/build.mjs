// Builds what is published: `node build.mjs [directory]`, dist without one.
import { buildPackage } from "../../scripts/build-package.mjs";

await buildPackage(import.meta.url, { entries: { ".": "index" }, styles: "./styles.css" });
