// Builds what is published: `node build.mjs [directory]`, dist without one. ES modules with their types and the styles,
// nothing bundled but our own code, and a package.json that names them.
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL(".", import.meta.url));
const out = resolve(process.argv[2] ?? join(root, "dist"));
const { devDependencies: _, scripts: __, exports: ___, private: ____, ...manifest } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const others = [...Object.keys(manifest.dependencies), ...Object.keys(manifest.peerDependencies)];

await build({
  root,
  configFile: false,
  logLevel: "warn",
  build: {
    outDir: join(out, "lib"),
    emptyOutDir: true,
    target: "es2022",
    minify: false,
    lib: { entry: join(root, "src", "index.ts"), formats: ["es"] },
    rollupOptions: {
      external: (id) => others.some((name) => id === name || id.startsWith(`${name}/`)),
      // A file a module: an application's bundler leaves out what it does not use.
      output: { preserveModules: true, preserveModulesRoot: join(root, "src"), entryFileNames: "[name].js" },
    },
  },
});
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
execFileSync(process.execPath, [tsc, "-p", join(root, "tsconfig.build.json"), "--outDir", join(out, "types")], { stdio: "inherit" });
cpSync(join(root, "src", "styles"), join(out, "styles"), { recursive: true });

const exports = { ".": { types: "./types/index.d.ts", default: "./lib/index.js" }, "./styles.css": "./styles/index.css" };
writeFileSync(join(out, "package.json"), `${JSON.stringify({ ...manifest, exports, files: ["lib", "styles", "types"] }, null, 2)}\n`);
copyFileSync(join(root, "README.md"), join(out, "README.md"));
