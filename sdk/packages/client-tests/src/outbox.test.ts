/** What was written reaches the others once and in order, whatever the network and the server do meanwhile. */
import { memoryStorage, type MessageHandle } from "@whispr/client";
import { expect, it } from "vitest";
import { client, control, describeRestart, describeServer, messages, Network, online, opened, person, together, until, untilTexts } from "./harness";

describeServer("the outbox", () => {
  it("keeps what is written offline, and sends it once and in order", async () => {
    const [ada, bob] = await Promise.all([person("Ada"), person("Bob")]);
    const network = new Network();
    const [a, b] = await Promise.all([online(ada, { network }), online(bob)]);
    const id = await together(a, [bob]);
    const [mine, his] = [opened(a, id), opened(b, id)];
    await mine.send("before").stored;
    network.down();
    await until(a.connection, ({ phase }) => phase === "offline", "offline");
    expect(a.connection.getSnapshot().guarantee).toBe("volatile");
    const words = Array.from({ length: 12 }, (_, at) => `offline ${at}`);
    const handles = words.map((text) => mine.send(text));
    expect(handles[0]?.getSnapshot()).toMatchObject({ status: "waiting", attempts: 0 });
    expect(messages(mine).map((item) => item.text)).toEqual(["before", ...words]);
    network.up();
    await Promise.all(handles.map((handle) => handle.stored));
    await untilTexts(his, ["before", ...words]);
    await untilTexts(mine, ["before", ...words]);
    expect(messages(his).map((item) => item.seq)).toEqual(messages(mine).map((item) => item.seq));
  });

  it("survives the end of the page", async () => {
    const [ada, bob] = await Promise.all([person("Ada"), person("Bob")]);
    const storage = memoryStorage();
    const network = new Network();
    const first = await online(ada, { storage, network });
    const id = await together(first, [bob]);
    network.down();
    await until(first.connection, ({ phase }) => phase === "offline", "offline");
    first.conversation(id).send("left behind");
    await new Promise((resolve) => setTimeout(resolve, 50));
    await first.close();
    const b = await online(bob);
    const again = await client(ada, { storage });
    expect(again.outbox.getSnapshot().items).toMatchObject([{ body: { text: "left behind" } }]);
    await until(again.outbox, ({ items }) => items.length === 0, "an empty outbox");
    await untilTexts(opened(b, id), ["left behind"]);
  });

  it("says why a message failed, and lets a person decide", async () => {
    const [ada, bob] = await Promise.all([person("Ada"), person("Bob")]);
    const a = await online(ada);
    const id = await together(a, [bob]);
    const mine = opened(a, id);
    const handle: MessageHandle = mine.send("to nothing", { replyTo: crypto.randomUUID() });
    const { failure } = await until(handle, ({ status }) => status === "failed", "the refusal");
    expect(failure).toMatchObject({ code: "invalid_target", action: "change", willRetry: false });
    const after = mine.send("a failed one stops nothing");
    await after.stored;
    await handle.discard();
    await expect(handle.stored).rejects.toMatchObject({ code: "discarded" });
    await untilTexts(mine, ["a failed one stops nothing"]);
  });
});

describeRestart("a server that is killed", () => {
  it("loses nothing, repeats nothing, and keeps the order", async () => {
    const [ada, bob] = await Promise.all([person("Ada"), person("Bob")]);
    const [a, b] = await Promise.all([online(ada), online(bob)]);
    const id = await together(a, [bob]);
    const [mine, his] = [opened(a, id), opened(b, id)];
    const words = Array.from({ length: 60 }, (_, at) => `number ${at}`);
    const handles: MessageHandle[] = [];
    for (const [at, text] of words.entries()) {
      handles.push(mine.send(text));
      if (at === 20) void control("kill").then(() => control("start"));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await Promise.all(handles.map((handle) => handle.stored));
    await untilTexts(his, words, 30_000);
    await untilTexts(mine, words, 30_000);
    expect(messages(his).map((item) => item.messageId)).toEqual(messages(mine).map((item) => item.messageId));
  }, 90_000);
});
