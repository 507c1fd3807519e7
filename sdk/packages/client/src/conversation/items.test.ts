/** What is kept of a conversation in memory, however much happens to messages that are not there. */
import { buildEntry, buildReaction, FakeServer } from "@whispr/testing";
import { describe, expect, it, vi } from "vitest";
import { ADA, BOB, messages, online, open, pair, until } from "../test/clients";
import type { ConversationState } from "./state";

/** So many changes wait for their messages. */
function kept(store: unknown): number {
  return (store as ConversationState).items["changes"].size;
}

/** A log of 200 texts by Bob, of which Ada has the last page. */
async function long() {
  const server = new FakeServer();
  const conversation = server.conversation([ADA, BOB]);
  for (let number = 1; number <= 200; number += 1) conversation.append(buildEntry({ senderId: BOB, text: `text ${number}`, clientRandom: number }));
  const member = conversation.members.get(ADA)!;
  member.delivered = member.read = conversation.entries.length;
  const ada = await online(server, ADA);
  const mine = open(ada, conversation.id);
  await until(mine, ({ loaded }) => loaded);
  return { server, conversation, mine };
}

describe("changes to messages that are not in memory", () => {
  it("are not kept: history shows a message with all of them", async () => {
    const { server, conversation, mine } = await long();
    const [early] = conversation.entries.filter(({ type }) => type === "text");
    for (let number = 0; number < 100; number += 1) {
      const target = conversation.entries[number + 1]!;
      server.append(conversation, buildReaction(target, "👍", { senderId: BOB, clientRandom: 1_000 + number }));
    }
    await until(mine, ({ heldSeq }) => heldSeq === conversation.entries.length);
    expect(kept(mine)).toBe(0);
    // They are there with the message when somebody scrolls to it.
    await mine.loadEarlier(200);
    await until(mine, ({ hasEarlier }) => !hasEarlier);
    expect(mine.find(early!.messageId)?.reactions).toMatchObject([{ emoji: "👍", count: 1 }]);
  });

  it("are kept while the page is on its way that may show the message as it was before", async () => {
    const { server, conversation, mine } = await long();
    const target = conversation.entries[1]!;
    const page = vi.spyOn(conversation, "page");
    const { page: real } = Object.getPrototypeOf(conversation) as typeof conversation;
    page.mockImplementation((userId, query) => {
      const shown = real.call(conversation, userId, query);
      // Made before the reaction, and on its way after it.
      server.append(conversation, buildReaction(target, "👍", { senderId: BOB, clientRandom: 5_000 }));
      return shown;
    });
    await mine.loadEarlier(200);
    page.mockRestore();
    await until(mine, () => mine.find(target.messageId)?.reactions.length === 1);
    expect(messages(mine)).toHaveLength(200);
    expect(kept(mine)).toBe(1);
  });
});

describe("a message that vanishes after its reading", () => {
  it("counts down for both once it was read, and is gone then", async () => {
    const { mine, his } = await pair();
    const { messageId } = await mine.send("for your eyes", { ttl: 60, ttlStart: "read" }).stored;
    const both = [mine, his];
    for (const store of both) await until(store, () => store.find(messageId)?.ttlAfterRead === 60);
    his.markRead();
    const [sent, received] = await Promise.all(both.map((store) => until(store, () => store.find(messageId)?.ttlAfterRead === null).then(() => store.find(messageId))));
    for (const item of [sent, received]) {
      expect(item?.gone).toBeNull();
      expect(Math.abs((item?.expiresAt ?? 0) - Date.now() - 60_000)).toBeLessThan(10_000);
    }
    vi.useFakeTimers({ now: Date.now() + 75_000, toFake: ["Date"] });
    for (const store of both as unknown as ConversationState[]) store.changed();
    for (const store of both) expect(store.find(messageId)).toMatchObject({ gone: "expired", text: null });
    vi.useRealTimers();
  });

  it("does not begin with the reading of its author", async () => {
    const { mine } = await pair();
    const { messageId } = await mine.send("mine", { ttl: 60, ttlStart: "read" }).stored;
    await until(mine, () => mine.find(messageId) !== null);
    mine.markRead();
    expect(mine.find(messageId)).toMatchObject({ ttlAfterRead: 60, gone: null });
  });
});
