import { chainStart, encodeBase64, entryLink } from "@whispr/client";
import { describe, expect, it } from "vitest";
import { HistoryCheck } from "./integrity";
import { Timeline } from "./timeline";
import type { Entry, SyncPage } from "./wire";

const ID = "01890a5d-ac96-774b-bcce-b302099a8057";

function uuid(n: number): string {
  return `01890a5d-ac96-7000-8000-${String(n).padStart(12, "0")}`;
}

function entry(seq: number, change: Partial<Entry> = {}): Entry {
  return {
    messageId: uuid(seq),
    conversationId: ID,
    seq,
    senderId: uuid(900_000),
    senderDeviceId: null,
    type: "text",
    content: encodeBase64(new TextEncoder().encode(`message ${seq}`)),
    metadata: {},
    replyTo: null,
    target: null,
    clientRandom: null,
    sentAt: `2026-01-02T03:04:05.${String(seq).padStart(6, "0")}Z`,
    editedAt: null,
    expiresAt: null,
    signature: null,
    ...change,
  };
}

/** A log and its links, and `POST sync` over it. */
class Log {
  readonly links: string[] = [];
  asked = 0;
  isOn = true;

  constructor(readonly entries: Entry[]) {
    let previous = chainStart().hash;
    for (const one of entries) {
      previous = entryLink(previous, one);
      this.links.push(encodeBase64(previous));
    }
  }

  static of(length: number): Log {
    return new Log(Array.from({ length }, (_, at) => entry(at + 1)));
  }

  readonly sync = (cursors: Record<string, number>, limit: number): Promise<SyncPage> => {
    this.asked += 1;
    const from = cursors[ID] ?? 0;
    const messages = this.entries.slice(from, from + limit);
    const links = this.links.slice(from, from + limit);
    if (messages.length === 0) return Promise.resolve({ conversations: [] });
    const chain = { seq: from + messages.length, head: links.at(-1) ?? "", links };
    const hasMore = from + limit < this.entries.length;
    return Promise.resolve({ conversations: [{ id: ID, messages, hasMore, ...(this.isOn ? { chain } : {}) }] });
  };
}

function timelineOf(entries: readonly Entry[]): Timeline {
  const timeline = new Timeline();
  timeline.addPage(entries);
  return timeline;
}

describe("HistoryCheck", () => {
  it("says nothing of a whole history, over several pages, and asks for the new part only", async () => {
    const log = Log.of(450);
    const check = new HistoryCheck(log.sync);
    const timeline = timelineOf(log.entries);
    expect(await check.run(ID, timeline, {})).toBe(false);
    expect(log.asked).toBe(3);
    expect(await check.run(ID, timeline, {})).toBe(false);
    expect(log.asked).toBe(3);
    expect(check.isBroken(ID)).toBe(false);
  });

  it.each([
    ["shown another text", { content: "Zm9yZ2Vk" }],
    ["shown another sender", { senderId: uuid(900_001) }],
    ["shown another time", { sentAt: "2026-01-02T03:04:06Z" }],
  ] as [string, Partial<Entry>][])("finds that one is %s", async (_, change) => {
    const log = Log.of(9);
    const check = new HistoryCheck(log.sync);
    const shown = log.entries.map((one) => (one.seq === 5 ? { ...one, ...change } : one));
    expect(await check.run(ID, timelineOf(shown), {})).toBe(true);
    expect(check.isBroken(ID)).toBe(true);
    check.forget(ID);
    expect(await check.run(ID, timelineOf(log.entries), {})).toBe(false);
    expect(check.isBroken(ID)).toBe(false);
  });

  it("finds an entry that was taken out of the log", async () => {
    const log = Log.of(9);
    const check = new HistoryCheck(log.sync);
    const timeline = timelineOf(log.entries);
    log.entries.splice(4, 1);
    log.links.splice(4, 1);
    expect(await check.run(ID, timeline, {})).toBe(true);
  });

  it("finds a log that was made again, with links that fit, under a page that saw the first", async () => {
    const log = Log.of(9);
    const other = new Log(log.entries.map((one) => (one.seq === 2 ? { ...one, content: "Zm9yZ2Vk" } : one)));
    let asked = log;
    const check = new HistoryCheck((cursors, limit) => asked.sync(cursors, limit));
    const timeline = timelineOf(log.entries.slice(4));
    expect(await check.run(ID, timeline, {})).toBe(false);
    asked = other;
    timeline.addPage(other.entries.slice(0, 4)); // "Earlier messages"
    expect(await check.run(ID, timeline, {})).toBe(true);
  });

  it("takes deleted and edited messages as given", async () => {
    const log = Log.of(9);
    log.entries[2] = entry(3, { content: "" });
    const shown = log.entries.map((one) => (one.seq === 6 ? { ...one, content: "bmV3", editedAt: "2026-01-02T03:05:00Z" } : one));
    const check = new HistoryCheck(log.sync);
    expect(await check.run(ID, timelineOf(shown), {})).toBe(false);
  });

  it("asks once where the server keeps no chain", async () => {
    const log = Log.of(9);
    log.isOn = false;
    const check = new HistoryCheck(log.sync);
    expect(await check.run(ID, timelineOf(log.entries), {})).toBe(false);
    expect(await check.run(ID, timelineOf(log.entries), {})).toBe(false);
    expect(log.asked).toBe(1);
  });

  it("says nothing of a server that does not answer", async () => {
    const check = new HistoryCheck(() => Promise.reject(new Error("gone")));
    await expect(check.run(ID, timelineOf([entry(1)]), {})).rejects.toThrow("gone");
    expect(check.isBroken(ID)).toBe(false);
  });
});
