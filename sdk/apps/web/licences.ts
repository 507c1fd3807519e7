/** The notices of what other people wrote and the build contains: THIRD_PARTY_LICENSES.txt beside it. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Plugin } from "vite";

const NAMES = /^(licen[cs]e|copying|notice)/iu;
const RULE = `\n${"-".repeat(80)}\n\n`;

interface Package {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
}

/** The directory of the package that a module belongs to; null for our own. */
function packageOf(id: string): string | null {
  const path = id.replace(/^\0/u, "").split("?")[0] ?? "";
  if (!path.includes("/node_modules/")) return null;
  let at = dirname(path);
  while (at.includes("/node_modules/")) {
    const manifest = join(at, "package.json");
    // Some packages have a package.json without a name in a folder of theirs.
    if (existsSync(manifest) && (JSON.parse(readFileSync(manifest, "utf8")) as Partial<Package>).name) return at;
    at = dirname(at);
  }
  return null;
}

function noticeOf(directory: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(directory, "package.json"), "utf8")) as Package;
  const texts = readdirSync(directory)
    .filter((file) => NAMES.test(file))
    .sort()
    .map((file) => readFileSync(join(directory, file), "utf8").replaceAll("\r\n", "\n").trim());
  return `${name} ${version}\nLicence: ${license ?? "see below"}\n\n${texts.join("\n\n")}\n`;
}

/** Write the notices of every package of which something is in the build, in the order of their names. */
export function thirdPartyLicences(): Plugin {
  return {
    name: "third-party-licences",
    generateBundle(_, bundle) {
      const directories = new Set<string>();
      for (const file of Object.values(bundle)) {
        if (file.type !== "chunk") continue;
        for (const id of Object.keys(file.modules)) {
          const found = packageOf(id);
          if (found !== null) directories.add(found);
        }
      }
      const notices = [...directories].map(noticeOf).sort();
      this.emitFile({ type: "asset", fileName: "THIRD_PARTY_LICENSES.txt", source: notices.join(RULE) });
    },
  };
}
