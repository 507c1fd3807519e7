import type { UserSettings } from "@whispr/client";
import { describe, expect, it } from "vitest";
import { isMuted } from "./muting";

const NOW = Date.parse("2026-01-02T03:04:05Z");
const later = new Date(NOW + 60_000).toISOString();
const before = new Date(NOW - 60_000).toISOString();

function settings(notifications?: UserSettings["notifications"]): UserSettings {
  return { readReceipts: true, shareLastSeen: true, ...(notifications === undefined ? {} : { notifications }) };
}

describe("notifications", () => {
  it("are on where nothing was chosen", () => {
    expect(isMuted(settings(), "one", NOW)).toBe(false);
  });

  it.each([
    ["switched off for one", { enabled: true, mutedUntil: null, conversations: { one: { enabled: false } } }, true],
    ["switched off for another", { enabled: true, mutedUntil: null, conversations: { two: { enabled: false } } }, false],
    ["off for a while", { enabled: true, mutedUntil: null, conversations: { one: { enabled: true, mutedUntil: later } } }, true],
    ["on again by now", { enabled: true, mutedUntil: null, conversations: { one: { enabled: true, mutedUntil: before } } }, false],
    ["off for all", { enabled: false, mutedUntil: null, conversations: { one: { enabled: true } } }, true],
    ["off for all for a while", { enabled: true, mutedUntil: later, conversations: {} }, true],
  ] as const)("are %s", (_, notifications, expected) => {
    expect(isMuted(settings(notifications), "one", NOW)).toBe(expected);
  });
});
