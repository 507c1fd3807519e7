/** The hash chain on the golden cases that Python passes too, and on logs that were tampered with. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeBase64, encodeBase64 } from "./base64";
import { chainStart, entryLink, isWhole, verifyChain, verifySync, type ChainEntry, type ChainPoint } from "./chain";
import { ChainBrokenError, InvalidInputError, type ChainFault } from "./errors";

interface Case {
  readonly previous: string;
  readonly entry: ChainEntry;
  readonly link: string;
}

const file = new URL("../../../../tests/vectors/hash_chain.json", import.meta.url);
const CASES = (JSON.parse(readFileSync(file, "utf8")) as { cases: Case[] }).cases;
const ENTRIES = CASES.map((one) => one.entry);
const LINKS = CASES.map((one) => decodeBase64(one.link));
const START = chainStart();

function changed(index: number, change: Partial<ChainEntry>): ChainEntry[] {
  return ENTRIES.map((entry, at) => (at === index ? { ...entry, ...change } : entry));
}

function without<T>(list: readonly T[], index: number): T[] {
  return list.filter((_, at) => at !== index);
}

function broken(work: () => unknown): { seq: number; fault: ChainFault } {
  try {
    work();
  } catch (error) {
    if (error instanceof ChainBrokenError) return { seq: error.seq, fault: error.fault };
    throw error;
  }
  throw new Error("nothing was found to be broken");
}

function point(index: number): ChainPoint {
  return { seq: ENTRIES[index]?.seq ?? -1, hash: LINKS[index] ?? new Uint8Array() };
}

describe("the golden cases", () => {
  it("are there, and are one log", () => {
    expect(CASES.length).toBeGreaterThanOrEqual(6);
    expect(verifyChain({ entries: ENTRIES, links: LINKS, after: START, head: point(CASES.length - 1) })).toEqual({
      proven: CASES.length,
      given: 0,
      unlinked: 0,
      head: point(CASES.length - 1),
    });
  });

  it.each(CASES.map((one) => [`${one.entry.type} ${one.entry.seq}`, one] as const))("%s", (_, one) => {
    expect(encodeBase64(entryLink(decodeBase64(one.previous), one.entry))).toBe(one.link);
  });
});

describe("a log that was changed", () => {
  const other = "01890a5d-ac96-7000-8000-00000000ffff";
  const changes: Partial<ChainEntry>[] = [
    { messageId: other },
    { conversationId: other },
    { senderId: other },
    { type: "ephemeral" },
    { content: "Zm9yZ2Vk" },
    { metadata: { forged: 1 } },
    { target: other },
    { replyTo: other },
    { sentAt: "2026-01-02T03:04:05.000003Z" },
  ];
  it.each(changes)("is found out by %j", (change) => {
    expect(broken(() => verifyChain({ entries: changed(1, change), links: LINKS, after: START }))).toEqual({ seq: 2, fault: "link" });
  });

  it("is found out by any bit of a link", () => {
    for (let bit = 0; bit < 256; bit += 1) {
      const flipped = LINKS.map((link, at) => (at === 2 ? link.map((byte, place) => (place === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte)) : link));
      expect(broken(() => verifyChain({ entries: ENTRIES, links: flipped, after: START }))).toEqual({ seq: 3, fault: "link" });
    }
  });

  it("is found out by any bit of a content", () => {
    const content = decodeBase64(ENTRIES[1]?.content ?? "");
    for (let bit = 0; bit < content.length * 8; bit += 1) {
      const forged = content.map((byte, place) => (place === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
      expect(broken(() => verifyChain({ entries: changed(1, { content: encodeBase64(forged) }), links: LINKS, after: START })).seq).toBe(2);
    }
  });

  it("is found out where an entry is missing, with its link or renumbered", () => {
    const rest = { entries: without(ENTRIES, 2), links: without(LINKS, 2), after: START };
    expect(broken(() => verifyChain(rest))).toEqual({ seq: 4, fault: "order" });
    const renumbered = rest.entries.map((entry, at) => ({ ...entry, seq: at + 1 }));
    expect(broken(() => verifyChain({ ...rest, entries: renumbered }))).toEqual({ seq: 3, fault: "link" });
    expect(broken(() => verifyChain({ entries: ENTRIES.slice(1), links: LINKS.slice(1), after: START }))).toEqual({ seq: 2, fault: "order" });
  });

  it("is found out where two entries changed places", () => {
    const order = [0, 2, 1, 3, 4, 5];
    const entries = order.flatMap((at) => ENTRIES[at] ?? []);
    const links = order.flatMap((at) => (LINKS[at] === undefined ? [] : [LINKS[at]]));
    expect(broken(() => verifyChain({ entries, links, after: START }))).toEqual({ seq: 3, fault: "order" });
    const renumbered = entries.map((entry, at) => ({ ...entry, seq: at + 1 }));
    expect(broken(() => verifyChain({ entries: renumbered, links: LINKS, after: START }))).toEqual({ seq: 2, fault: "link" });
  });

  it("is found out where it does not go on from what the reader holds", () => {
    const after = { seq: 3, hash: new Uint8Array(32).fill(1) };
    expect(broken(() => verifyChain({ entries: ENTRIES.slice(3), links: LINKS.slice(3), after }))).toEqual({ seq: 4, fault: "link" });
    expect(broken(() => verifyChain({ entries: [], links: [], after: point(3), head: point(4) }))).toEqual({ seq: 5, fault: "head" });
  });

  it("is found out where the head is another one, or the end was cut off", () => {
    const forged = { seq: 6, hash: new Uint8Array(32) };
    expect(broken(() => verifyChain({ entries: ENTRIES, links: LINKS, after: START, head: forged }))).toEqual({ seq: 6, fault: "head" });
    const cut = { entries: ENTRIES.slice(0, 5), links: LINKS.slice(0, 5), after: START, head: point(5) };
    expect(broken(() => verifyChain(cut))).toEqual({ seq: 6, fault: "head" });
  });
});

describe("what is taken as given", () => {
  it("is an erased entry's link, and the rest is proven", () => {
    const erased = changed(1, { content: "", metadata: {} });
    expect(verifyChain({ entries: erased, links: LINKS, after: START })).toMatchObject({ proven: 5, given: 1, unlinked: 0 });
    // Its link still binds the entry after it.
    const forged = LINKS.map((link, at) => (at === 1 ? new Uint8Array(32) : link));
    expect(broken(() => verifyChain({ entries: erased, links: forged, after: START })).seq).toBe(3);
  });

  it("is the first link of a reader that holds nothing before it", () => {
    expect(verifyChain({ entries: ENTRIES.slice(3), links: LINKS.slice(3) })).toMatchObject({ proven: 2, given: 1 });
    expect(verifyChain({ entries: ENTRIES.slice(3), links: LINKS.slice(3), after: point(2) })).toMatchObject({ proven: 3, given: 0 });
  });

  it("is nothing of an entry without a link, after which the chain begins anew", () => {
    const [one, two] = ENTRIES as [ChainEntry, ChainEntry];
    const anew = entryLink(START.hash, two);
    expect(verifyChain({ entries: [one, two], links: [null, anew], after: START })).toMatchObject({ proven: 1, unlinked: 1 });
    expect(broken(() => verifyChain({ entries: [one, two], links: [null, LINKS[1] ?? anew], after: START })).seq).toBe(2);
    expect(verifyChain({ entries: [one, two], links: [anew, null] }).head).toBeNull();
  });

  it.each([
    [true, { type: "text", content: "YQ==" }],
    [false, { type: "text", content: "" }],
    [false, { type: "text", content: "YQ==", editedAt: "2026-01-02T03:04:05Z" }],
    [true, { type: "reaction", content: "", metadata: { emoji: "👍", remove: false } }],
    [false, { type: "reaction", content: "", metadata: {} }],
    [true, { type: "system", content: "", metadata: { event: "member_added" } }],
    [false, { type: "system", content: "", metadata: { event: "member_added", withheld: true } }],
  ] as [boolean, Partial<ChainEntry>][])("whole is %s for %j", (whole, change) => {
    const [entry] = changed(0, change);
    expect(isWhole(entry as ChainEntry)).toBe(whole);
  });
});

describe("the form", () => {
  it("is asked for", () => {
    const refuse = (change: Partial<ChainEntry>): void => {
      expect(() => entryLink(START.hash, { ...(ENTRIES[1] as ChainEntry), ...change }), JSON.stringify(change)).toThrow(InvalidInputError);
    };
    refuse({ messageId: "x" });
    refuse({ seq: -1 });
    refuse({ seq: 1.5 });
    refuse({ content: "a" });
    refuse({ content: "YQ== " });
    refuse({ sentAt: "2026-01-02T03:04:05" });
    refuse({ sentAt: "2026-13-02T03:04:05Z" });
    refuse({ sentAt: "1969-12-31T23:59:59.999999Z" });
    refuse({ metadata: { lone: "\ud800" } });
    refuse({ metadata: { not: Number.NaN } });
    expect(() => entryLink(new Uint8Array(31), ENTRIES[1] as ChainEntry)).toThrow(InvalidInputError);
    expect(() => verifyChain({ entries: ENTRIES, links: LINKS.slice(1), after: START })).toThrow(InvalidInputError);
    expect(() => verifyChain({ entries: ENTRIES.slice(0, 1), links: [new Uint8Array(31)], after: START })).toThrow(InvalidInputError);
  });

  it("may have the time in another zone's words", () => {
    const entry = ENTRIES[1] as ChainEntry;
    expect(entryLink(LINKS[0] ?? START.hash, { ...entry, sentAt: "2026-01-02T04:04:05.000002+01:00" })).toEqual(LINKS[1]);
  });

  it("of sync's JSON is read as it comes", () => {
    const chain = { seq: 6, head: CASES[5]?.link ?? "", links: CASES.map((one) => one.link) };
    expect(verifySync(ENTRIES, chain, START).proven).toBe(6);
    expect(() => verifySync(ENTRIES, { ...chain, head: "!" }, START)).toThrow(InvalidInputError);
    expect(broken(() => verifySync(ENTRIES, { ...chain, seq: 7 }, START))).toEqual({ seq: 7, fault: "head" });
  });
});
