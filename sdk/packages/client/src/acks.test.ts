/** Acknowledgements: in batches, and enough of them that a server whose window was full goes on. */
import { FakeServer } from "@whispr/testing";
import { describe, expect, it, vi } from "vitest";
import { Acks } from "./acks";
import type { PushResult } from "./link/link";
import { ADA, BOB, online } from "./test/clients";

const CONVERSATION = "01900000-0000-7000-8000-000000000001";
const OK: PushResult = { outcome: "ok", response: {} };

/** A link that answers when it is told to; what it was asked, as the highest seq of each request. */
function slowLink() {
  const asked: number[] = [];
  const open: ((result: PushResult) => void)[] = [];
  const push = (_: string, payload: object): Promise<PushResult> => {
    asked.push(...(payload as { acks: { upTo: number }[] }).acks.map(({ upTo }) => upTo));
    return new Promise((resolve) => open.push(resolve));
  };
  return {
    acks: new Acks({ push }, () => true),
    asked,
    answer: async (result = OK): Promise<void> => {
      open.shift()?.(result);
      await new Promise((resolve) => setTimeout(resolve, 0));
    },
  };
}

function receive(acks: Acks, from: number, to: number, upTo = (seq: number) => seq): void {
  for (let seq = from; seq <= to; seq += 1) acks.received(CONVERSATION, upTo(seq));
}

describe("acknowledgements", () => {
  it("go on at once when enough came while one was under way", async () => {
    const { acks, asked, answer } = slowLink();
    receive(acks, 1, 100);
    expect(asked).toEqual([20]);
    await answer();
    expect(asked).toEqual([20, 100]);
    acks.stop();
  });

  it("are told again for what is pushed after them, under way or answered", async () => {
    const { acks, asked, answer } = slowLink();
    receive(acks, 1, 20, () => 500);
    receive(acks, 21, 40, () => 500);
    expect(asked).toEqual([500]);
    await answer();
    expect(asked).toEqual([500, 500]);
    await answer();
    receive(acks, 41, 60, () => 500);
    expect(asked).toEqual([500, 500, 500]);
    acks.stop();
  });

  it("that were not answered are told again", async () => {
    vi.useFakeTimers();
    try {
      const { acks, asked, answer } = slowLink();
      receive(acks, 1, 20);
      const answered = answer({ outcome: "unanswered", isLost: false });
      await vi.advanceTimersByTimeAsync(1_100);
      await answered;
      expect(asked).toEqual([20, 20]);
      acks.stop();
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("a device that was away for long", () => {
  it("acknowledges no more than was pushed, whatever history showed of the end", async () => {
    const server = new FakeServer();
    const conversation = server.conversation([ADA, BOB]);
    for (let count = 0; count < 299; count += 1) conversation.append({ senderId: BOB, content: btoa(String(count)), clientRandom: count, type: "text" });
    const member = conversation.members.get(ADA);
    if (member) member.delivered = 300; // the server is about to push: nothing comes with the join
    const ada = await online(server, ADA);
    await vi.waitFor(() => expect(ada.conversation(conversation.id).getSnapshot().heldSeq).toBe(300)); // the glance for the inbox
    const upTo = (): number => {
      const acks = server.requests.filter(([name]) => name === "message_received").flatMap(([, payload]) => (payload as { acks: { upTo: number }[] }).acks);
      return Math.max(0, ...acks.map((ack) => ack.upTo));
    };
    for (const entry of conversation.entries.slice(0, 60)) server.push(ADA, "new_message", entry);
    await vi.waitFor(() => expect(upTo()).toBe(60), { timeout: 3_000 });
    for (const entry of conversation.entries.slice(60)) server.push(ADA, "new_message", entry);
    await vi.waitFor(() => expect(upTo()).toBe(300), { timeout: 3_000 });
  });

  it("shows at once what came, without asking for it", async () => {
    const server = new FakeServer();
    const conversation = server.conversation([ADA, BOB]);
    const ada = await online(server, ADA);
    for (let count = 0; count < 60; count += 1) server.append(conversation, { senderId: BOB, content: btoa(String(count)), clientRandom: count, type: "text" });
    const store = ada.conversation(conversation.id);
    await vi.waitFor(() => expect(store.getSnapshot().heldSeq).toBe(61));
    const before = server.requests.filter(([name]) => name === "history").length;
    const close = store.open();
    await vi.waitFor(() => expect(store.getSnapshot()).toMatchObject({ loaded: true }));
    expect(store.getSnapshot().items.filter(({ kind }) => kind === "message")).toHaveLength(60);
    expect(server.requests.filter(([name]) => name === "history")).toHaveLength(before);
    close();
  });
});
