import { expect, it } from "vitest";
import { Watermarks } from "./receipts";

it("goes from sent to delivered to read, by seq", () => {
  const marks = new Watermarks();
  expect(marks.stateOf(3, ["bob"])).toBe("sent");
  marks.raise("bob", "delivered", 3);
  expect([2, 3, 4].map((seq) => marks.stateOf(seq, ["bob"]))).toEqual(["delivered", "delivered", "sent"]);
  marks.raise("bob", "read", 2);
  expect([2, 3, 4].map((seq) => marks.stateOf(seq, ["bob"]))).toEqual(["read", "delivered", "sent"]);
});

it("never goes backwards, and says whether it learnt anything", () => {
  const marks = new Watermarks();
  expect(marks.raise("bob", "read", 5)).toBe(true);
  expect(marks.raise("bob", "read", 4)).toBe(false);
  expect(marks.raise("bob", "delivered", 5)).toBe(false);
  expect(marks.raise("bob", "delivered", 6)).toBe(true);
  expect(marks.of("bob")).toEqual({ delivered: 6, read: 5 });
});

it("takes a read for a delivery", () => {
  const marks = new Watermarks();
  marks.raise("bob", "read", 5);
  expect(marks.of("bob")).toEqual({ delivered: 5, read: 5 });
});

it("is what everybody has reached", () => {
  const marks = new Watermarks();
  const others = ["bob", "eve"];
  marks.raise("bob", "read", 9);
  expect(marks.stateOf(9, others)).toBe("sent");
  marks.raise("eve", "delivered", 9);
  expect(marks.stateOf(9, others)).toBe("delivered");
  marks.raise("eve", "read", 9);
  expect(marks.stateOf(9, others)).toBe("read");
  expect(marks.stateOf(9, [])).toBe("sent");
});
