import { beforeEach, describe, expect, it } from "vitest";
import { Outbox, OUTBOX_LIMIT, type OutboxItem, type OutboxStore } from "./outbox";

class MemoryStore implements OutboxStore {
  readonly values = new Map<string, string>();
  getItem(key: string): string | null {
    return this.values.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.values.set(key, value);
  }
}

let store: MemoryStore;
let drawn: number;
let outbox: Outbox;

function open(): Outbox {
  return new Outbox(store, "box", () => (drawn += 1));
}

function texts(items: readonly OutboxItem[]): string[] {
  return items.map((item) => item.text);
}

beforeEach(() => {
  store = new MemoryStore();
  drawn = 0;
  outbox = open();
});

describe("order", () => {
  it("has one message of a conversation under way, and others of other conversations beside it", () => {
    const first = outbox.add("a", "1", 0);
    outbox.add("a", "2", 0);
    outbox.add("b", "3", 0);
    expect(texts(outbox.due(0))).toEqual(["1", "3"]);
    outbox.sending(first);
    expect(texts(outbox.due(0))).toEqual(["3"]);
    outbox.confirmed(first.clientRandom);
    expect(texts(outbox.due(0))).toEqual(["2", "3"]);
  });

  it("keeps a later message back while an earlier one waits for its next try", () => {
    const first = outbox.add("a", "1", 0);
    outbox.add("a", "2", 0);
    outbox.sending(first);
    outbox.refused(first.clientRandom, { reason: "overloaded", message: "busy", retryAfter: 2 }, 1_000, 0);
    expect(outbox.due(2_999)).toEqual([]);
    expect(outbox.nextDue(2_999)).toBe(3_000);
    expect(texts(outbox.due(3_000))).toEqual(["1"]);
    expect(outbox.nextDue(3_000)).toBeNull();
  });

  it("goes past a message that was given up or that the server has queued", () => {
    const first = outbox.add("a", "1", 0);
    const second = outbox.add("a", "2", 0);
    outbox.add("a", "3", 0);
    outbox.sending(first);
    outbox.refused(first.clientRandom, { reason: "too_large", message: "too large" }, 0, 0);
    expect(texts(outbox.due(0))).toEqual(["2"]);
    outbox.sending(second);
    outbox.queued(second.clientRandom);
    expect(texts(outbox.due(0))).toEqual(["3"]);
  });
});

describe("a try without an answer", () => {
  it("is repeated with the same clientRandom", () => {
    const item = outbox.add("a", "1", 0);
    outbox.sending(item);
    outbox.unanswered(item.clientRandom);
    expect(outbox.due(0)).toEqual([item]);
    expect(item.clientRandom).toBe(1);
  });

  it("is repeated after a disconnect, at once and with its tries forgotten", () => {
    const item = outbox.add("a", "1", 0);
    outbox.sending(item);
    outbox.refused(item.clientRandom, { reason: "timeout", message: "slow", retryAfter: 5 }, 0, 0);
    outbox.disconnected();
    expect(outbox.due(0)).toEqual([item]);
    expect(item).toMatchObject({ clientRandom: 1, refusals: 0, state: "waiting" });
  });

  it("sends again after a disconnect what the server had only queued", () => {
    const item = outbox.add("a", "1", 0);
    outbox.sending(item);
    outbox.queued(item.clientRandom);
    expect(outbox.due(0)).toEqual([]);
    outbox.disconnected();
    expect(outbox.due(0)).toEqual([item]);
  });

  it("is not sent again when the message came back as an entry meanwhile", () => {
    const item = outbox.add("a", "1", 0);
    outbox.sending(item);
    expect(outbox.confirmed(item.clientRandom)).toBe(item);
    outbox.unanswered(item.clientRandom);
    expect(outbox.list()).toEqual([]);
  });
});

describe("a refusal", () => {
  it("for now backs off by 1, 2, 4, 8, 16 s and then gives up", () => {
    const item = outbox.add("a", "1", 0);
    const waits: number[] = [];
    for (let tries = 0; tries < 5; tries += 1) {
      outbox.sending(item);
      outbox.refused(item.clientRandom, { reason: "timeout", message: "slow" }, 0, 0);
      expect(item.state).toBe("waiting");
      waits.push(item.notBefore);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000]);
    outbox.sending(item);
    outbox.refused(item.clientRandom, { reason: "timeout", message: "slow" }, 0, 0);
    expect(item).toMatchObject({ state: "failed", problem: "slow" });
  });

  it("spreads by up to a quarter, and obeys retryAfter to the letter", () => {
    const item = outbox.add("a", "1", 0);
    outbox.refused(item.clientRandom, { reason: "timeout", message: "" }, 0, 1);
    expect(item.notBefore).toBe(1_250);
    outbox.refused(item.clientRandom, { reason: "rate_limited", message: "", retryAfter: 7 }, 0, 1);
    expect(item.notBefore).toBe(7_000);
  });

  it("for good fails at once and waits for the person", () => {
    const item = outbox.add("a", "1", 0);
    outbox.sending(item);
    outbox.refused(item.clientRandom, { reason: "forbidden", message: "not yours" }, 0, 0);
    outbox.disconnected();
    expect(item).toMatchObject({ state: "failed", problem: "not yours" });
    expect(outbox.due(0)).toEqual([]);
    outbox.retry(item.clientRandom);
    expect(outbox.due(0)).toEqual([item]);
    expect(item).toMatchObject({ clientRandom: 1, problem: null });
  });

  it("of a used clientRandom draws a new one", () => {
    const item = outbox.add("a", "1", 0);
    outbox.sending(item);
    outbox.refused(item.clientRandom, { reason: "client_random_reused", message: "used" }, 0, 0);
    expect(item).toMatchObject({ clientRandom: 2, state: "waiting" });
  });
});

describe("what is kept", () => {
  it("survives a reload with its keys; what was under way is sent again, what failed stays failed", () => {
    const first = outbox.add("a", "1", 5);
    const second = outbox.add("a", "2", 6);
    outbox.sending(second);
    outbox.refused(second.clientRandom, { reason: "forbidden", message: "no" }, 0, 0);
    outbox.sending(first);
    const again = open();
    expect(again.list().map(({ text, clientRandom, state }) => ({ text, clientRandom, state }))).toEqual([
      { text: "1", clientRandom: 1, state: "waiting" },
      { text: "2", clientRandom: 2, state: "failed" },
    ]);
  });

  it("discards only what failed", () => {
    const item = outbox.add("a", "1", 0);
    outbox.discard(item.clientRandom);
    expect(outbox.list()).toEqual([item]);
    outbox.refused(item.clientRandom, { reason: "forbidden", message: "no" }, 0, 0);
    outbox.discard(item.clientRandom);
    expect(outbox.list()).toEqual([]);
    expect(open().list()).toEqual([]);
  });

  it("is bounded", () => {
    for (let count = 0; count < OUTBOX_LIMIT; count += 1) outbox.add("a", "x", 0);
    expect(() => outbox.add("a", "x", 0)).toThrow(RangeError);
    expect(outbox.list().length).toBe(OUTBOX_LIMIT);
  });

  it("starts empty from a storage that holds something else, and works where storing fails", () => {
    store.setItem("box", "{not json");
    expect(open().list()).toEqual([]);
    const box = new Outbox({ getItem: () => null, setItem: () => { throw new Error("full"); } }, "box", () => 1);
    box.add("a", "1", 0);
    expect(texts(box.due(0))).toEqual(["1"]);
  });
});
