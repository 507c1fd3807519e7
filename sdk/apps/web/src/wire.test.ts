import { describe, expect, it } from "vitest";
import { decodeContent, drawClientRandom, encodeContent, RANDOM_LIMIT } from "./wire";

describe("content", () => {
  it.each(["", "plain", "Grüße, 你好, 👋🏽", "a\nb\tc", "<script>alert(1)</script>", '"quoted" & \\ back'])("carries %j unchanged", (text) => {
    expect(decodeContent(encodeContent(text))).toBe(text);
  });

  it("is the standard base64 of the UTF-8 bytes", () => {
    expect(encodeContent("é?>")).toBe(Buffer.from("é?>", "utf-8").toString("base64"));
  });

  it("carries 64 KiB", () => {
    const text = "é".repeat(32 * 1024);
    expect(decodeContent(encodeContent(text))).toBe(text);
  });

  it.each(["/w==", "AAE=", "not base64!", "gICA"])("of something else (%s) is not text", (content) => {
    expect(decodeContent(content)).toBeNull();
  });
});

describe("clientRandom", () => {
  it("is a whole number that JSON carries exactly, from the whole range", () => {
    const drawn = Array.from({ length: 2_000 }, drawClientRandom);
    for (const value of drawn) {
      expect(Number.isSafeInteger(value)).toBe(true);
      expect(value).toBeGreaterThanOrEqual(0);
      expect(value).toBeLessThan(RANDOM_LIMIT);
    }
    expect(new Set(drawn).size).toBe(drawn.length);
    // The chance that 2,000 draws leave the upper or the lower half empty is 2^-2000.
    expect(Math.max(...drawn)).toBeGreaterThan(RANDOM_LIMIT / 2);
    expect(Math.min(...drawn)).toBeLessThan(RANDOM_LIMIT / 2);
  });
});
