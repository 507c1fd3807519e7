/** Sending, whatever the server answers (docs/protocol.md §4, §6). */
import { describe, expect, it, vi } from "vitest";
import { InvalidInputError, OutboxFullError } from "./index";
import { memoryStorage } from "./storage/memory";
import { ADA, BOB, clientOf, messages, online, open, pair, texts, triesOf, until, untilTexts } from "./test/clients";
import { FakeServer } from "@whispr/testing";

describe("a send", () => {
  it("is told by its handle, from writing to reading", async () => {
    const { mine, his, server } = await pair();
    const handle = mine.send("hello");
    const seen = new Set([handle.getSnapshot().status]);
    const told = [handle.getSnapshot()];
    handle.subscribe(() => {
      seen.add(handle.getSnapshot().status);
      // Told of what differs, and of nothing else.
      expect(handle.getSnapshot()).not.toBe(told.at(-1));
      told.push(handle.getSnapshot());
    });
    expect(messages(mine)).toMatchObject([{ text: "hello", status: "waiting", seq: null }]);
    const key = messages(mine)[0]?.key;
    expect(await handle.stored).toMatchObject({ status: "sent", seq: 2 });
    await untilTexts(his, ["hello"]);
    his.markRead();
    await until(handle, ({ status }) => status === "read");
    expect(seen.has("waiting")).toBe(true);
    // The same item, under the same key, all the way.
    expect(messages(mine)).toMatchObject([{ key, text: "hello", status: "read", seq: 2 }]);
    expect(new Set(triesOf(server)).size).toBe(1);
  });

  it("whose answer is lost is repeated with the same key, and stored once", async () => {
    const { server, mine, his } = await pair();
    server.fail("send_message", "close");
    server.fail("send_message", { refuse: "timeout", retryAfter: 0.01 });
    server.fail("send_message", "lost");
    const handle = mine.send("once");
    await vi.waitFor(() => expect(triesOf(server).length).toBe(3), { timeout: 4_000 });
    server.close(1006);
    expect(await handle.stored).toMatchObject({ status: expect.stringMatching(/duplicate|sent/) as string });
    await untilTexts(his, ["once"]);
    expect(texts(mine)).toEqual(["once"]);
    expect(new Set(triesOf(server)).size).toBe(1);
  });

  it("keeps its place in the order, also when it has to be repeated", async () => {
    const { server, mine, his } = await pair();
    server.fail("send_message", { refuse: "overloaded", retryAfter: 0.02 }, 2);
    const words = ["one", "two", "three"];
    await Promise.all(words.map((text) => mine.send(text).stored));
    await untilTexts(his, words);
    expect(texts(mine)).toEqual(words);
  });

  it("draws another key where this one belongs to another message", async () => {
    const { server, mine, his } = await pair();
    server.fail("send_message", { refuse: "client_random_reused" });
    await mine.send("anew").stored;
    await untilTexts(his, ["anew"]);
    expect(new Set(triesOf(server)).size).toBe(2);
  });

  it("that was queued at the server stays in the outbox until it arrives", async () => {
    const { server, mine, his, ada } = await pair();
    server.fail("send_message", "pending");
    const handle = mine.send("queued");
    await until(handle, ({ status }) => status === "pending");
    await mine.send("the next one").stored;
    expect(ada.outbox.getSnapshot().items).toMatchObject([{ state: "accepted" }]);
    await expect(handle.discard()).rejects.toMatchObject({ code: "outbox_busy" });
    server.settle();
    expect(await handle.stored).toMatchObject({ seq: 3 });
    await untilTexts(his, ["the next one", "queued"]);
    expect(texts(mine)).toEqual(["the next one", "queued"]);
    expect(ada.outbox.getSnapshot().items).toEqual([]);
  });

  it.each([
    ["invalid_target", "failed"],
    ["lost", "waiting"],
  ] as const)("that was queued and then refused (%s) is %s", async (reason, status) => {
    const { server, mine, id } = await pair();
    server.fail("send_message", "pending");
    const handle = mine.send("queued");
    await until(handle, (now) => now.status === "pending");
    const [clientRandom] = triesOf(server);
    server.push(ADA, "personal_update", { kind: "refused", conversationId: id, messageId: id, clientRandom, reason });
    await until(handle, (now) => now.status === status);
    if (status === "waiting") expect(await handle.stored).toMatchObject({ conversationId: id });
    expect(new Set(triesOf(server)).size).toBe(1);
  });

  it("that was queued, of which the connection says nothing more, is asked for again", async () => {
    const { server, mine, ada } = await pair();
    server.fail("send_message", "pending");
    const handle = mine.send("queued");
    await until(handle, ({ status }) => status === "pending");
    server.close(1012);
    await handle.stored;
    server.settle(); // the queue finds its key taken
    await untilTexts(mine, ["queued"]);
    expect(ada.outbox.getSnapshot().items).toEqual([]);
  });

  it("that is refused for good says why, stops nothing, and can be changed", async () => {
    const { server, mine, his } = await pair();
    server.fail("send_message", { refuse: "too_large" });
    const handle = mine.send("too much");
    await until(handle, ({ status }) => status === "failed");
    expect(messages(mine)).toMatchObject([{ status: "failed", failure: { code: "too_large", action: "change", willRetry: false } }]);
    await mine.send("the next one").stored;
    await handle.edit("less");
    await handle.stored;
    await untilTexts(his, ["the next one", "less"]);
    expect(new Set(triesOf(server)).size).toBe(3);
  });

  it("keeps what is attached when its text is changed", async () => {
    const { server, mine, his } = await pair();
    const media = await mine.upload(new Blob(["hi"]), { name: "note.txt", mimeType: "text/plain" });
    server.fail("send_message", { refuse: "too_large" });
    const handle = mine.send({ text: "too much", media });
    await until(handle, ({ status }) => status === "failed");
    await handle.edit("less");
    await handle.stored;
    await untilTexts(his, ["less"]);
    expect(messages(his)[0]?.media).toMatchObject({ name: "note.txt", mimeType: "text/plain" });
  });

  it("is refused at once where it cannot be one", async () => {
    const { mine, ada, id } = await pair();
    expect(() => mine.send("  ")).toThrow(InvalidInputError);
    expect(() => mine.send("x", { ttl: 0.5 })).toThrow(InvalidInputError);
    expect(() => mine.send("x", { metadata: { big: "x".repeat(5_000) } })).toThrow(InvalidInputError);
    expect(() => mine.react(id, "x".repeat(65))).toThrow(InvalidInputError);
    expect(ada.outbox.getSnapshot().items).toEqual([]);
  });
});

describe("the outbox", () => {
  it("parks what was refused five times, and goes on with the next connection", async () => {
    const { server, mine, his, ada } = await pair();
    server.fail("send_message", { refuse: "temporary_unavailable", retryAfter: 0.01 }, 5);
    const handle = mine.send("patient");
    const { items } = await until(ada.outbox, ({ items: [item] }) => item?.state === "parked");
    expect(items[0]).toMatchObject({ attempts: 5, failure: { code: "max_retries_exceeded", willRetry: true } });
    server.close(1006);
    await handle.stored;
    await untilTexts(his, ["patient"]);
    expect(new Set(triesOf(server)).size).toBe(1);
  });

  it("is filled offline, and emptied in order when the connection is there", async () => {
    const server = new FakeServer();
    const { id } = server.conversation([ADA, BOB]);
    const storage = memoryStorage();
    server.down();
    const first = clientOf(server, ADA, { storage });
    await first.connect();
    const words = ["one", "two", "three"];
    for (const text of words) first.conversation(id).send(text);
    await until(first.connection, ({ phase, guarantee }) => phase === "offline" && guarantee === "volatile");
    await vi.waitFor(async () => expect(await storage.entries("outbox")).toHaveLength(3));
    await first.close();
    server.up();
    const again = await online(server, ADA, { storage });
    await until(again.outbox, ({ items }) => items.length === 0);
    expect(server.conversations.get(id)?.entries.slice(1).map((entry) => atob(entry.content))).toEqual(words.map((text) => JSON.stringify({ v: 1, text })));
  });

  it("sends what was frozen before a crash with the same bytes and key", async () => {
    const server = new FakeServer();
    const { id } = server.conversation([ADA, BOB]);
    const storage = memoryStorage();
    const first = await online(server, ADA, { storage });
    server.fail("send_message", "lost");
    first.conversation(id).send("stored, but nobody said so");
    await vi.waitFor(() => expect(triesOf(server)).toHaveLength(1));
    await first.close();
    const again = await online(server, ADA, { storage });
    await until(again.outbox, ({ items }) => items.length === 0);
    expect(new Set(triesOf(server)).size).toBe(1);
    expect(server.conversations.get(id)?.entries).toHaveLength(2);
  });

  it("has a bound", async () => {
    const server = new FakeServer();
    server.down();
    const client = clientOf(server, ADA, { outboxLimit: 2 });
    const conversation = client.conversation("01900000-0000-7000-8000-000000000001");
    conversation.send("one");
    conversation.send("two");
    expect(() => conversation.send("three")).toThrow(OutboxFullError);
  });

  it("is said not to survive where the storage refuses", async () => {
    const server = new FakeServer();
    const { id } = server.conversation([ADA, BOB]);
    const full = { ...memoryStorage(), durable: true, put: () => Promise.reject(new Error("quota")) };
    const client = await online(server, ADA, { storage: full });
    await client.conversation(id).send("still sent").stored;
    expect(client.outbox.getSnapshot().durable).toBe(false);
  });
});

describe("changes", () => {
  it("are shown before they are stored, and taken back where they are refused", async () => {
    const { server, mine, his, id, ada } = await pair();
    const { messageId } = await mine.send("first").stored;
    await untilTexts(his, ["first"]);
    const edit = mine.edit(messageId, "better");
    expect(messages(mine)[0]).toMatchObject({ text: "better", changing: true });
    await edit.stored;
    await his.react(messageId, "👍").stored;
    await until(mine, () => messages(mine)[0]?.reactions[0]?.count === 1);
    server.fail("edit_message", { refuse: "edit_conflict" });
    const late = mine.edit(messageId, "too late");
    await until(late, ({ status }) => status === "failed");
    expect(messages(mine)[0]).toMatchObject({ text: "better", changing: false, failure: { code: "edit_conflict" } });
    await late.discard();
    await mine.remove(messageId, { forEveryone: true });
    for (const store of [mine, his]) await until(store, () => messages(store)[0]?.gone === "deleted");
    expect(open(ada, id)).toBe(mine);
  });

  it("that cannot be made are refused to who asked, and put away", async () => {
    const { server, mine, his, ada } = await pair();
    const { messageId } = await his.send("not mine").stored;
    await untilTexts(mine, ["not mine"]);
    server.fail("delete_message", { refuse: "forbidden" });
    await expect(mine.remove(messageId, { forEveryone: true })).rejects.toMatchObject({ code: "forbidden", action: "change" });
    await untilTexts(mine, ["not mine"]);
    expect(ada.outbox.getSnapshot().items).toEqual([]);
  });

  it("deleted for oneself are gone here and on the other devices", async () => {
    const { server, mine, his, id } = await pair();
    const { messageId } = await his.send("not for me").stored;
    const other = open(await online(server, ADA), id);
    for (const store of [mine, other]) await untilTexts(store, ["not for me"]);
    await mine.remove(messageId, { forEveryone: false });
    for (const store of [mine, other]) await untilTexts(store, []);
    expect(texts(his)).toEqual(["not for me"]);
  });
});
