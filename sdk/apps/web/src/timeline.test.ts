import { describe, expect, it } from "vitest";
import { Timeline } from "./timeline";
import { encodeContent, type Entry } from "./wire";

function entry(seq: number, changes: Partial<Entry> = {}): Entry {
  return {
    messageId: `message-${seq}`,
    conversationId: "conversation",
    seq,
    senderId: "ada",
    senderDeviceId: "device",
    type: "text",
    content: encodeContent(`text ${seq}`),
    metadata: {},
    replyTo: null,
    target: null,
    clientRandom: 1_000 + seq,
    sentAt: "2026-01-01T00:00:00Z",
    editedAt: null,
    expiresAt: null,
    signature: null,
    ...changes,
  };
}

function system(seq: number, metadata: Record<string, unknown>): Entry {
  return entry(seq, { type: "system", content: "", clientRandom: null, metadata });
}

describe("what is held", () => {
  it("counts up to the first hole, and over it once it is filled", () => {
    const timeline = new Timeline();
    timeline.addPage([entry(5), entry(4)]);
    expect([timeline.first, timeline.upTo, timeline.hasGap]).toEqual([4, 5, false]);
    timeline.add(entry(7));
    expect([timeline.upTo, timeline.newest, timeline.hasGap]).toEqual([5, 7, true]);
    timeline.add(entry(6));
    expect([timeline.upTo, timeline.hasGap]).toEqual([7, false]);
  });

  it("grows downwards with earlier pages", () => {
    const timeline = new Timeline();
    timeline.addPage([entry(9)]);
    timeline.addPage([entry(7), entry(8)]);
    expect([timeline.first, timeline.upTo]).toEqual([7, 9]);
  });

  it("takes an entry once", () => {
    const timeline = new Timeline();
    expect(timeline.add(entry(1))).toBe(true);
    expect(timeline.add(entry(1, { content: encodeContent("other") }))).toBe(false);
    expect(timeline.shown().map((shown) => shown.text)).toEqual(["text 1"]);
  });

  it("finds what a sender stored under a key, and nobody else's", () => {
    const timeline = new Timeline();
    timeline.add(entry(1, { clientRandom: 42 }));
    expect(timeline.find("ada", 42)?.seq).toBe(1);
    expect(timeline.find("bob", 42)).toBeNull();
  });

  it("starts again after clear", () => {
    const timeline = new Timeline();
    timeline.add(entry(9));
    timeline.clear();
    timeline.add(entry(2));
    expect([timeline.first, timeline.upTo, timeline.newest]).toEqual([2, 2, 2]);
  });
});

describe("what is shown", () => {
  it("is in the order of seq, however it came", () => {
    const timeline = new Timeline();
    for (const seq of [2, 3, 1]) timeline.add(entry(seq));
    expect(timeline.shown().map((shown) => shown.text)).toEqual(["text 1", "text 2", "text 3"]);
  });

  it("applies the last edit, also one that came before the message", () => {
    const timeline = new Timeline();
    timeline.addPage([
      entry(2, { type: "edit", target: "message-1", content: encodeContent("better") }),
      entry(3, { type: "edit", target: "message-1", content: encodeContent("best") }),
      entry(1),
    ]);
    expect(timeline.shown().map(({ text, edited }) => ({ text, edited }))).toEqual([{ text: "best", edited: true }]);
  });

  it("hides what was deleted or has expired", () => {
    const timeline = new Timeline();
    timeline.addPage([
      entry(1),
      entry(2),
      system(3, { event: "message_deleted", messageId: "message-1" }),
      system(4, { event: "message_expired", messageId: "message-2" }),
    ]);
    expect(timeline.shown().map(({ text, gone }) => ({ text, gone }))).toEqual([
      { text: "", gone: "deleted" },
      { text: "", gone: "expired" },
    ]);
  });

  it("leaves reactions and unknown system entries out, and says what the known ones are", () => {
    const timeline = new Timeline();
    timeline.addPage([
      system(1, { event: "conversation_created" }),
      entry(2, { type: "reaction", target: "message-1", content: "", metadata: { emoji: "👍" } }),
      system(3, { event: "from_the_future" }),
    ]);
    expect(timeline.shown().map(({ kind, text }) => ({ kind, text }))).toEqual([
      { kind: "notice", text: "The conversation begins here." },
    ]);
  });

  it("does not pretend to read another client's ciphertext", () => {
    const timeline = new Timeline();
    timeline.add(entry(1, { content: btoa("\u00ff\u00fe\u0001") }));
    expect(timeline.shown()[0]?.text).toBeNull();
  });
});
