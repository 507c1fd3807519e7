/** Where one begins to read: at the first message that is new, however far back that is. */
import { buildEntry, FakeServer } from "@whispr/testing";
import { describe, it } from "vitest";
import { ADA, BOB, messages, online, open, until } from "../test/clients";

/** `count` texts by Bob that Ada received and has not read, and one that she has. */
async function opened(count: number) {
  const server = new FakeServer();
  const conversation = server.conversation([ADA, BOB]);
  const add = (text: string): void => void conversation.append(buildEntry({ senderId: BOB, text, clientRandom: conversation.entries.length }));
  add("read");
  const member = conversation.members.get(ADA)!;
  member.read = conversation.entries.length;
  for (let number = 1; number <= count; number += 1) add(`new ${number}`);
  member.delivered = conversation.entries.length;
  const ada = await online(server, ADA);
  const mine = open(ada, conversation.id);
  await until(mine, ({ loaded }) => loaded);
  return mine;
}

function firstUnread(mine: Awaited<ReturnType<typeof opened>>): string | null | undefined {
  const { firstUnreadKey } = mine.getSnapshot();
  return messages(mine).find(({ key }) => key === firstUnreadKey)?.text;
}

describe("the line of what is new", () => {
  it("is on the first page, though that is a long one", async () => {
    const mine = await opened(120);
    await until(mine, () => firstUnread(mine) === "new 1");
    await until(mine, () => messages(mine).some(({ text }) => text === "read"));
  });

  it("goes up with what is read from before the first page", async () => {
    const mine = await opened(260);
    await until(mine, () => firstUnread(mine) === "new 61");
    await mine.loadEarlier(30);
    await until(mine, () => firstUnread(mine) === "new 31");
    await mine.loadEarlier(100);
    await until(mine, () => firstUnread(mine) === "new 1");
  });
});
