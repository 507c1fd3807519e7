/** The log and the history come to the same (docs/protocol.md "Two readings"). */
import { buildEdit, buildEntry, buildReaction, buildSystem } from "@whispr/testing";
import { describe, expect, it } from "vitest";
import type { Entry } from "../types/wire";
import { fold, targetsOf } from "./fold";

const SELF = "me";
const NOW = Date.parse("2026-01-02T04:00:00Z");
const message = buildEntry({ seq: 1, messageId: "m" });

function read(changes: readonly Entry[], given: Partial<Entry> & Record<string, unknown> = {}, asOf = 0) {
  return fold({ entry: { ...message, ...given }, asOf }, changes, SELF, NOW);
}

describe("the log's reading", () => {
  it("shows the latest edit, and says what it was signed with", () => {
    const [one, two] = [buildEdit(message, "one", { seq: 2 }), buildEdit(message, "two", { seq: 3, clientRandom: 5 })];
    expect(read([one, two])).toMatchObject({ edited: true, editedAt: two.sentAt, source: { content: two.content, clientRandom: 5, type: "edit", target: "m" } });
  });

  it("is not changed by an edit whose content is gone", () => {
    expect(read([buildEdit(message, "x", { seq: 2, content: "" })])).toMatchObject({ edited: false, source: { content: message.content } });
  });

  it("counts each user once an emoji", () => {
    const by = (senderId: string, seq: number, remove = false): Entry => buildReaction(message, "👍", { senderId, seq, remove });
    expect(read([by("a", 2), by("a", 3), by(SELF, 4)]).reactions).toEqual([{ emoji: "👍", count: 2, userIds: ["a", SELF], mine: true }]);
    expect(read([by("a", 2), by("a", 3, true)]).reactions).toEqual([]);
  });

  it.each([["message_deleted", "deleted"], ["message_expired", "expired"]] as const)("knows %s", (event, gone) => {
    const system = buildSystem(event, { messageId: "m" }, { seq: 2 });
    expect(targetsOf(system)).toEqual(["m"]);
    expect(read([system, buildReaction(message, "👍", { seq: 3 })])).toMatchObject({ gone, reactions: [] });
  });

  it("ends at the moment of expiry, whoever has told of it", () => {
    expect(read([], { expiresAt: new Date(NOW).toISOString() }).gone).toBe("expired");
    expect(read([], { expiresAt: new Date(NOW + 1).toISOString() }).gone).toBeNull();
  });

  it("tells several messages of one expiry", () => {
    expect(targetsOf(buildSystem("message_expired", { messageIds: ["a", "b"] }))).toEqual(["a", "b"]);
  });
});

describe("the history's reading", () => {
  const edit = buildEdit(message, "edited", { seq: 5, messageId: "e", clientRandom: 9 });
  const view = {
    content: edit.content,
    editedAt: edit.sentAt,
    edit: { messageId: "e", seq: 5, senderDeviceId: edit.senderDeviceId, clientRandom: 9 },
    reactions: [{ emoji: "👍", count: 2, userIds: ["a", "b"], mine: false }],
  };

  it("is what the log comes to", () => {
    const log = read([edit, buildReaction(message, "👍", { senderId: "a", seq: 6 }), buildReaction(message, "👍", { senderId: "b", seq: 7 })]);
    const { entry: _, ...history } = read([], view, 7);
    const { entry: __, ...rest } = log;
    expect(history).toEqual(rest);
  });

  it("is not changed by what it includes, and by what came after is", () => {
    const old = buildEdit(message, "older", { seq: 4 });
    expect(read([old], view, 7).source.content).toBe(edit.content);
    expect(read([buildReaction(message, "👍", { senderId: "a", seq: 6, remove: true })], view, 7).reactions[0]?.count).toBe(2);
    expect(read([buildReaction(message, "👍", { senderId: "a", seq: 8, remove: true })], view, 7).reactions[0]?.count).toBe(1);
    expect(read([buildEdit(message, "newer", { seq: 8 })], view, 7).source.type).toBe("edit");
  });

  it("keeps the users that it only counted", () => {
    const many = { reactions: [{ emoji: "👍", count: 30, userIds: ["a"], mine: true }] };
    expect(read([], many, 7).reactions).toEqual([{ emoji: "👍", count: 30, userIds: ["a"], mine: true }]);
    expect(read([buildReaction(message, "👍", { senderId: SELF, seq: 8, remove: true })], many, 7).reactions).toEqual([{ emoji: "👍", count: 29, userIds: ["a"], mine: false }]);
  });
});
