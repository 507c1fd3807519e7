/** What becomes of one item over its tries (specification §5.2). */
import { describe, expect, it } from "vitest";
import { RequestError } from "../errors";
import { BACKOFF_MS, interrupted, PARKED_MS, refused, RENEWALS_MAX, resumed, sending, woken, type OutboxRecord } from "./record";

const NOW = 1_000_000;
const RECORD: OutboxRecord = {
  id: "a",
  place: "1",
  kind: "send",
  conversationId: "c",
  target: null,
  options: {},
  writtenAt: NOW,
  body: { text: "hello" },
  clientRandom: 7,
  frozen: { content: "YQ==", signature: null, membersVersion: 3 },
  state: "waiting",
  attempts: 0,
  renewals: 0,
  nextTryAt: null,
  notBefore: null,
  failure: null,
  isUncertain: false,
};

function after(codes: readonly (string | null)[], jitter = 0, retryAfter: number | null = null): OutboxRecord {
  return codes.reduce<OutboxRecord>((record, code) => {
    const error = code === null ? null : new RequestError(code, code, retryAfter);
    return refused(sending(record), error, NOW, jitter, () => 99);
  }, RECORD);
}

describe("a refusal for now", () => {
  it("waits 1, 2, 4, 8, 16 s, is parked with the fifth, and is tried again each minute then", () => {
    expect([...BACKOFF_MS]).toEqual([1_000, 2_000, 4_000, 8_000, 16_000]);
    const waits = [1, 2, 3, 4, 5, 6, 7].map((tries) => (after(Array<null>(tries).fill(null)).nextTryAt ?? 0) - NOW);
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, PARKED_MS, PARKED_MS]);
    expect(after(Array<null>(4).fill(null)).state).toBe("waiting");
    const parked = after(Array<null>(5).fill(null));
    expect(parked).toMatchObject({ state: "parked", attempts: 5, clientRandom: 7, frozen: RECORD.frozen });
    expect(parked.failure).toMatchObject({ code: "max_retries_exceeded", willRetry: true });
  });

  it("is spread by chance, by a quarter at most", () => {
    expect(after([null], 1).nextTryAt).toBe(NOW + 1_250);
  });

  it("waits as long as the server says", () => {
    expect(after(["temporary_unavailable"], 0, 30).nextTryAt).toBe(NOW + 30_000);
    expect(after(["rate_limited"], 0, 12).nextTryAt).toBe(NOW + 12_000);
    // After the fifth try too.
    expect(after(Array<string>(5).fill("rate_limited"), 0, 300)).toMatchObject({ state: "parked", nextTryAt: NOW + 300_000 });
  });

  it("is not woken before the server said, unless a person wishes it", () => {
    const told = after(Array<string>(5).fill("rate_limited"), 0, 300);
    expect(woken(told)).toMatchObject({ state: "waiting", attempts: 0, nextTryAt: NOW + 300_000 });
    expect(woken(woken(told)).nextTryAt).toBe(NOW + 300_000);
    expect(resumed(told).nextTryAt).toBeNull();
    // The next try is a new question.
    expect(woken(interrupted(sending(woken(told)))).nextTryAt).toBeNull();
    expect(woken(after(Array<null>(5).fill(null))).nextTryAt).toBeNull();
  });

  it("keeps the key and the bytes", () => {
    expect(after(["timeout", "overloaded", null])).toMatchObject({ clientRandom: 7, frozen: RECORD.frozen, state: "waiting", attempts: 3 });
  });

  it("is resumed without a memory of its tries, and with the same key", () => {
    expect(resumed(after(Array<null>(5).fill(null)))).toMatchObject({ state: "waiting", attempts: 0, nextTryAt: null, failure: null, clientRandom: 7 });
  });
});

describe("an outcome that is not known", () => {
  it.each([[null], ["timeout"]])("is remembered after %s, until the server says what it was", (code) => {
    expect(after([code]).isUncertain).toBe(true);
    expect(after([code, "overloaded"]).isUncertain).toBe(true);
    expect(after([code, "forbidden"]).isUncertain).toBe(false);
  });

  it("is what a broken connection leaves", () => {
    expect(interrupted(sending(RECORD))).toMatchObject({ state: "waiting", isUncertain: true, attempts: 0, nextTryAt: null });
  });
});

describe("a refusal for good", () => {
  it.each(["bad_request", "forbidden", "not_found", "invalid_target", "too_large", "quarantined", "something_new"])("%s waits for a person", (code) => {
    const failed = after([code]);
    expect(failed).toMatchObject({ state: "failed", nextTryAt: null, isUncertain: false });
    expect(failed.failure).toMatchObject({ code, willRetry: false });
  });
});

describe("what is made anew", () => {
  it("draws another key for client_random_reused", () => {
    expect(after(["client_random_reused"])).toMatchObject({ clientRandom: 99, frozen: null, state: "waiting", nextTryAt: null });
  });

  it("is encrypted again for stale_membership, under the same key", () => {
    expect(after(["stale_membership"])).toMatchObject({ clientRandom: 7, frozen: null, state: "waiting", nextTryAt: null, isUncertain: false });
  });

  it("does not go on for ever", () => {
    expect(after(Array<string>(RENEWALS_MAX + 1).fill("stale_membership"))).toMatchObject({ state: "waiting", attempts: 1, nextTryAt: NOW + 1_000 });
    expect(after(Array<string>(RENEWALS_MAX + 1).fill("client_random_reused"))).toMatchObject({ state: "failed" });
  });
});
