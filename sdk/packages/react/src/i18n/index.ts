import type { Catalog } from "./catalog";
import { en } from "./en";
import { fr } from "./fr";

export type { Catalog, SystemText } from "./catalog";
export { en, fr };

const CATALOGS: Readonly<Record<string, Catalog>> = { en, fr };

/** The catalog of the first of these languages that there is one for; English where there is none. */
export function catalogFor(languages: readonly string[]): Catalog {
  for (const language of languages) {
    const found = CATALOGS[language.toLowerCase().split("-")[0] ?? ""];
    if (found !== undefined) return found;
  }
  return en;
}
