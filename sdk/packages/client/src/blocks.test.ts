/** Whom the user blocks: what of them is shown in a group, and how other devices and tabs come to know. */
import { FakeServer } from "@whispr/testing";
import { describe, expect, it, vi } from "vitest";
import type { MessageItem } from "./index";
import { ADA, BOB, online, open, pair, texts, until, untilTexts } from "./test/clients";

const CLEO = "01900000-0000-7000-8000-0000000000cc";

/** A group of three; Ada has blocked Bob. */
async function group() {
  const server = new FakeServer();
  server.blocks.set(ADA, new Set([BOB]));
  const { id } = server.conversation([ADA, BOB, CLEO]);
  const [ada, bob, cleo] = await Promise.all([online(server, ADA), online(server, BOB), online(server, CLEO)]);
  await until(ada.blocks, ({ loaded }) => loaded);
  return { server, id, ada, his: open(bob, id), hers: open(cleo, id) };
}

/** What the list says of the only conversation. */
function row(client: Awaited<ReturnType<typeof online>>) {
  return client.inbox.getSnapshot().conversations[0];
}

describe("blocks", () => {
  it("are a store that knows what was asked and what was done here", async () => {
    const { ada } = await pair();
    await until(ada.blocks, ({ loaded }) => loaded);
    await ada.blocks.block(BOB);
    expect(ada.blocks.getSnapshot()).toEqual({ userIds: new Set([BOB]), loaded: true });
    expect(await ada.blocks.list()).toEqual([BOB]);
    await ada.blocks.unblock(BOB);
    expect(ada.blocks.getSnapshot().userIds).toEqual(new Set());
    expect(await ada.blocks.list()).toEqual([]);
  });

  it("are nothing to complain of where a user service keeps them", async () => {
    const server = new FakeServer();
    server.fail("GET blocks", { refuse: "not_found" });
    const ada = await online(server, ADA);
    const errors: Error[] = [];
    ada.on("error", (error) => errors.push(error));
    await vi.waitFor(() => expect(server.requests.some(([name]) => name === "GET blocks")).toBe(true));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(errors).toEqual([]);
  });
});

describe("what a blocked person writes to a group", () => {
  it("is neither in the list nor in the conversation, is not unread, and nobody is told of it", async () => {
    const { ada, id, his, hers } = await group();
    const told: MessageItem[] = [];
    ada.on("message", (item) => told.push(item));
    await hers.send("from Cleo").stored;
    const from = await his.send("from Bob").stored;
    await until(ada.inbox, () => row(ada)?.lastSeq === from.seq && row(ada)?.preview?.text === "from Cleo");
    expect(row(ada)?.unread).toBe(1);
    expect(ada.inbox.getSnapshot().unread).toBe(1);
    const mine = open(ada, id);
    await untilTexts(mine, ["from Cleo"]);
    expect(mine.find(from.messageId)).toBeNull();
    expect(told.map(({ text }) => text)).toEqual(["from Cleo"]);
  });

  it("is read with what is before it: nobody could scroll there", async () => {
    const { server, ada, id, his, hers } = await group();
    const mine = open(ada, id);
    const shown = await hers.send("from Cleo").stored;
    const last = await his.send("from Bob").stored;
    await until(ada.inbox, () => row(ada)?.lastSeq === last.seq);
    mine.markRead(shown.seq ?? 0);
    await until(ada.inbox, () => row(ada)?.unread === 0);
    await vi.waitFor(() => expect(server.conversations.get(id)?.members.get(ADA)?.read).toBe(last.seq), { timeout: 4_000 });
  });

  it("is there when the block ends, and gone when it begins", async () => {
    const { ada, id, his } = await group();
    const mine = open(ada, id);
    await his.send("from Bob").stored;
    await ada.blocks.unblock(BOB);
    await untilTexts(mine, ["from Bob"]);
    await until(ada.inbox, () => row(ada)?.preview?.text === "from Bob");
    await ada.blocks.block(BOB);
    await untilTexts(mine, []);
    await until(ada.inbox, () => row(ada)?.preview === null);
  });

  it("stays in a direct conversation, where it was written before the block", async () => {
    const { ada, mine, his } = await pair();
    await his.send("before").stored;
    await untilTexts(mine, ["before"]);
    await ada.blocks.block(BOB);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(texts(mine)).toEqual(["before"]);
  });
});

describe("a block of another device", () => {
  it("shows with the next connection", async () => {
    const { server, ada, id, his } = await group();
    const mine = open(ada, id);
    await his.send("from Bob").stored;
    server.blocks.get(ADA)?.clear();
    server.close(1006, ADA);
    await untilTexts(mine, ["from Bob"]);
  });

  it("shows when somebody comes back to the page", async () => {
    const page = new EventTarget();
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
    const { server, ada, id, his } = await group();
    const mine = open(ada, id);
    await his.send("from Bob").stored;
    server.blocks.get(ADA)?.clear();
    const now = Date.now();
    vi.spyOn(Date, "now").mockReturnValue(now + 10_000);
    page.dispatchEvent(new Event("focus"));
    await untilTexts(mine, ["from Bob"]);
    // Who goes to and fro asks once.
    const asked = (): number => server.requests.filter(([name]) => name === "GET blocks").length;
    const before = asked();
    page.dispatchEvent(new Event("focus"));
    expect(asked()).toBe(before);
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  });
});
