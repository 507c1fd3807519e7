import { buildEntry } from "@whispr/testing";
import { describe, expect, it } from "vitest";
import { Log } from "./log";
import { Receipts } from "./receipts";
import { buildMember } from "@whispr/testing";

function logOf(...seqs: number[]): Log {
  const log = new Log();
  for (const seq of seqs) log.add(buildEntry({ seq, messageId: `m${seq}` }));
  return log;
}

describe("what is held", () => {
  it("counts up to the first hole, and over it once it is filled", () => {
    const log = logOf(4, 5, 7);
    expect([log.first, log.held, log.newest, log.hasGap]).toEqual([4, 5, 7, true]);
    expect(log.add(buildEntry({ seq: 6 }))).toBe(true);
    expect([log.held, log.hasGap]).toEqual([7, false]);
  });

  it("grows downwards, takes an entry once, and finds it", () => {
    const log = logOf(9, 7, 8);
    expect([log.first, log.held]).toEqual([7, 9]);
    expect(log.add(buildEntry({ seq: 8, messageId: "other" }))).toBe(false);
    expect(log.find("m8")?.entry.seq).toBe(8);
    expect([...log.all()].map(({ entry }) => entry.seq)).toEqual([7, 8, 9]);
  });

  it("goes over what the user may not see", () => {
    const log = logOf(1, 2, 9, 10);
    log.bridge();
    expect([log.held, log.hasGap]).toEqual([10, false]);
    expect([...log.all()].map(({ entry }) => entry.seq)).toEqual([1, 2, 9, 10]);
  });

  it("is cut down, and begins anew", () => {
    const log = logOf(1, 2, 3, 4, 5);
    log.trim(2);
    expect([log.first, log.held, log.size]).toEqual([4, 5, 2]);
    expect(log.find("m1")).toBeNull();
    log.clear();
    log.add(buildEntry({ seq: 2 }));
    expect([log.first, log.held, log.newest]).toEqual([2, 2, 2]);
  });
});

describe("receipts", () => {
  const others = [buildMember({ userId: "a", joinedSeq: 1 }), buildMember({ userId: "b", joinedSeq: 1 }), buildMember({ userId: "late", joinedSeq: 50 })];

  it("never go back, and read implies delivered", () => {
    const receipts = new Receipts();
    receipts.raise("a", "read", 10);
    receipts.raise("a", "delivered", 5);
    receipts.raise("b", "delivered", 10);
    const { statusOf } = receipts.summary(others);
    expect([statusOf(10), statusOf(11)]).toEqual(["delivered", "sent"]);
    receipts.raise("b", "read", 9);
    const later = receipts.summary(others);
    expect([later.statusOf(9), later.statusOf(10)]).toEqual(["read", "delivered"]);
  });

  it("of who joined later say nothing of what was before", () => {
    const receipts = new Receipts();
    for (const user of ["a", "b"]) receipts.raise(user, "read", 60);
    const { statusOf } = receipts.summary(others);
    expect([statusOf(49), statusOf(50)]).toEqual(["read", "sent"]);
    expect(new Receipts().summary([]).statusOf(1)).toBe("sent");
  });
});
