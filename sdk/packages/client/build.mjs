// Builds what is published: `node build.mjs [directory]`, dist without one. ES modules with their types, nothing bundled
// but our own code, and a package.json that names them.
import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL(".", import.meta.url));
const out = resolve(process.argv[2] ?? join(root, "dist"));
const entries = { ".": "index", "./encryption": "encryption/index", "./indexeddb": "storage/indexeddb" };
const { devDependencies: _, scripts: __, exports: ___, private: ____, ...manifest } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

await build({
  root,
  configFile: false,
  logLevel: "warn",
  build: {
    outDir: join(out, "lib"),
    emptyOutDir: true,
    target: "es2022",
    minify: false,
    lib: { entry: Object.values(entries).map((name) => join(root, "src", `${name}.ts`)), formats: ["es"] },
    rollupOptions: {
      external: (id) => Object.keys(manifest.dependencies).some((name) => id === name || id.startsWith(`${name}/`)),
      // A file a module: an application's bundler leaves out, and loads later, what it sees apart.
      output: { preserveModules: true, preserveModulesRoot: join(root, "src"), entryFileNames: "[name].js" },
    },
  },
});
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
execFileSync(process.execPath, [tsc, "-p", join(root, "tsconfig.build.json"), "--outDir", join(out, "types")], { stdio: "inherit" });

const exports = Object.fromEntries(
  Object.entries(entries).map(([name, path]) => [name, { types: `./types/${path}.d.ts`, default: `./lib/${path}.js` }]),
);
writeFileSync(join(out, "package.json"), `${JSON.stringify({ ...manifest, exports, files: ["lib", "types"] }, null, 2)}\n`);
copyFileSync(join(root, "README.md"), join(out, "README.md"));
