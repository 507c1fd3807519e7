// Builds what is published of a package: ES modules with their types, nothing bundled but our own code, and a
// package.json that names them.
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

/**
 * Build the package of the calling `build.mjs` into the directory of the command line, `dist` without one.
 *
 * `entries`: what is imported, and its source below `src`, without ".ts". `styles`: the name under which
 * `src/styles/index.css` is imported, where there is one.
 */
export async function buildPackage(caller, { entries, styles = null }) {
  const root = fileURLToPath(new URL(".", caller));
  const out = resolve(process.argv[2] ?? join(root, "dist"));
  const { devDependencies: _, scripts: __, exports: ___, private: ____, ...manifest } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const others = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });

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
        external: (id) => others.some((name) => id === name || id.startsWith(`${name}/`)),
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
  const files = ["lib", "types"];
  if (styles !== null) {
    cpSync(join(root, "src", "styles"), join(out, "styles"), { recursive: true });
    exports[styles] = "./styles/index.css";
    files.push("styles");
  }
  writeFileSync(join(out, "package.json"), `${JSON.stringify({ ...manifest, exports, files }, null, 2)}\n`);
  copyFileSync(join(root, "README.md"), join(out, "README.md"));
}
