import { describe, expect, it } from "vitest";
import { duration } from "./format";
import { catalogFor, en, fr } from "./index";

describe("languages", () => {
  it("have the same texts", () => {
    const keys = (value: object): string[] =>
      Object.entries(value).flatMap(([key, inner]) => (typeof inner === "object" && inner !== null ? keys(inner as object).map((one) => `${key}.${one}`) : [key]));
    expect(keys(fr).sort()).toEqual(keys(en).sort());
  });

  it("are found by the first that the reader understands", () => {
    expect(catalogFor(["de-DE", "fr-CA", "en"])).toBe(fr);
    expect(catalogFor(["de"])).toBe(en);
  });

  it("count as their language does", () => {
    expect([en.unread(1), en.unread(0)]).toEqual(["1 unread message", "0 unread messages"]);
    expect([fr.unread(0), fr.unread(2)]).toEqual(["0 message non lu", "2 messages non lus"]);
  });

  it("never say that something is over before it is", () => {
    expect(duration("en", 0.2)).toBe("1 second");
    expect(duration("en", 61)).toBe("2 minutes");
    expect(duration("fr", 3_600)).toMatch(/^1\sheure$/u);
  });

  it("have a sentence for what the server writes", () => {
    expect(en.system({ event: "member_added", by: "You", byYou: true, names: ["Bob", "Cara"] })).toBe("You added Bob and Cara");
    expect(fr.system({ event: "member_added", by: "Vous", byYou: true, names: ["Bob"] })).toBe("Vous avez ajouté Bob");
    expect(en.system({ event: "member_removed", by: "Bob", byYou: false, names: ["Bob"] })).toBe("Bob left");
    expect(en.system({ event: "something_new", by: null, byYou: false, names: [] })).toBe("something new");
  });
});
