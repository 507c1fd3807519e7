/** What two people do to each other's conversations, through the server. */
import { expect, it } from "vitest";
import { describeServer, messages, online, opened, person, texts, together, until, untilTexts } from "./harness";

describeServer("two people", () => {
  it("write to each other, and see what became of it", async () => {
    const [ada, bob] = await Promise.all([person("Ada"), person("Bob")]);
    const [a, b] = await Promise.all([online(ada), online(bob)]);
    const id = await together(a, [bob]);
    const mine = opened(a, id);
    const handle = mine.send("hello");
    const sent = await handle.stored;
    expect(sent).toMatchObject({ status: "sent", conversationId: id, seq: 2 });
    const his = opened(b, id);
    await untilTexts(his, ["hello"]);
    await until(handle, ({ status }) => status === "delivered", "delivered");
    await until(b.inbox, ({ conversations }) => conversations[0]?.id === id && conversations[0].unread === 1, "one that is unread");
    // The message itself may have come before the page that says from where on it is unread.
    await until(his, ({ firstUnreadKey }) => firstUnreadKey !== null && firstUnreadKey === messages(his)[0]?.key, "the mark of what is unread");
    his.markRead();
    await until(handle, ({ status }) => status === "read", "read");
    expect(messages(mine)[0]).toMatchObject({ status: "read", mine: true, seq: 2, outboxId: null });
    expect(b.inbox.getSnapshot().unread).toBe(0);
    expect(a.outbox.getSnapshot().items).toEqual([]);
  });

  it("edit, react, reply, delete, and both see the same", async () => {
    const [ada, bob] = await Promise.all([person("Ada"), person("Bob")]);
    const [a, b] = await Promise.all([online(ada), online(bob)]);
    const id = await together(a, [bob]);
    const [mine, his] = [opened(a, id), opened(b, id)];
    const { messageId } = await mine.send("first").stored;
    await untilTexts(his, ["first"]);
    await his.send("an answer", { replyTo: messageId }).stored;
    await mine.edit(messageId, "better").stored;
    await his.react(messageId, "👍").stored;
    await untilTexts(his, ["better", "an answer"]);
    await until(mine, () => messages(mine)[0]?.reactions.length === 1, "the reaction");
    for (const store of [mine, his]) {
      await until(store, () => messages(store)[0]?.edited === true && messages(store)[0]?.changing === false, "the edit");
      expect(messages(store)[1]?.replyTo).toBe(messageId);
      expect(messages(store)[0]?.reactions).toEqual([{ emoji: "👍", count: 1, userIds: [bob.userId], mine: store === his }]);
    }
    // A device that comes only now reads the same from history.
    const late = opened(await online(await person(bob.name, true)), id);
    await untilTexts(late, ["better", "an answer"]);
    expect(messages(late)[0]).toMatchObject({ edited: true, reactions: [{ emoji: "👍", count: 1, mine: true }] });
    await his.react(messageId, "👍", true).stored;
    await mine.remove(messageId, { forEveryone: true });
    for (const store of [mine, his, late]) {
      await until(store, () => messages(store)[0]?.gone === "deleted", "the deletion");
      expect(messages(store)[0]).toMatchObject({ text: null, reactions: [], gone: "deleted" });
    }
  });

  it("see who writes, and who is there", async () => {
    const [ada, bob] = await Promise.all([person("Ada"), person("Bob")]);
    const [a, b] = await Promise.all([online(ada), online(bob)]);
    const id = await together(a, [bob]);
    const [mine, his] = [opened(a, id), opened(b, id)];
    await until(his, () => his.getSnapshot().loaded, "the first page");
    mine.setTyping(true);
    await until(his, ({ typing }) => typing.includes(ada.userId), "typing");
    await until(his, ({ presence }) => presence.some((one) => one.userId === ada.userId), "presence");
    mine.setTyping(false);
    await until(his, ({ typing }) => typing.length === 0, "the end of typing");
  });

  it("page back through what is long ago", async () => {
    const [ada, bob] = await Promise.all([person("Ada"), person("Bob")]);
    const a = await online(ada);
    const id = await together(a, [bob]);
    const mine = opened(a, id);
    const words = Array.from({ length: 130 }, (_, at) => `number ${at}`);
    const handles = words.map((text) => mine.send(text));
    await Promise.all(handles.map((handle) => handle.stored));
    expect(texts(mine)).toEqual(words);
    const b = await online(await person(ada.name, true));
    const late = opened(b, id);
    await until(late, ({ loaded }) => loaded, "a page");
    await until(late, () => messages(late).every((item) => item.text !== null), "the texts");
    expect(texts(late).slice(-50)).toEqual(words.slice(-50));
    while (late.getSnapshot().hasEarlier) await late.loadEarlier();
    await untilTexts(late, words);
    expect(late.getSnapshot().items[0]).toMatchObject({ kind: "notice", event: "conversation_created" });
    expect(await late.verify()).toMatch(/proven|off/);
  });

  it("keep drafts and schedule messages on all their devices", async () => {
    const [ada, bob] = await Promise.all([person("Ada"), person("Bob")]);
    const [a, other] = await Promise.all([online(ada), online(await person(ada.name, true))]);
    const id = await together(a, [bob]);
    opened(a, id).setDraft("not yet");
    await until(opened(other, id), ({ draft }) => draft.text === "not yet", "the draft on the other device");
    const item = await a.conversation(id).schedule("later", new Date(Date.now() + 3_600_000));
    await until(other.conversation(id), ({ scheduled }) => scheduled[0]?.id === item.id, "the scheduled one");
    await a.scheduled.cancel(item.id);
    await until(other.conversation(id), ({ scheduled }) => scheduled.length === 0, "the cancellation");
  });
});
