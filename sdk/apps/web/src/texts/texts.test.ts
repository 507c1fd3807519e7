import { describe, expect, it } from "vitest";
import { en } from "./en";
import { fr } from "./fr";
import { languageFor } from "./catalog";

function keys(value: object): string[] {
  return Object.entries(value).flatMap(([key, inner]) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner) ? keys(inner as object).map((one) => `${key}.${one}`) : [key],
  );
}

describe("the languages", () => {
  it("have the same texts", () => {
    expect(keys(fr).sort()).toEqual(keys(en).sort());
  });

  it("are chosen by what the reader understands", () => {
    expect(languageFor(["de", "fr-CH"]).code).toBe("fr");
    expect(languageFor([]).code).toBe("en");
  });
});
