/** What the server stores, and who can read it. */
import { memoryStorage, encodeBase64 } from "@whispr/client";
import { expect, it } from "vitest";
import { describeServer, messages, Network, online, opened, person, texts, together, until, untilTexts } from "./harness";

describeServer("an encrypted conversation", () => {
  it("is read by every device of its members, and by nobody else", async () => {
    const [ada, bob] = await Promise.all([person("Ada"), person("Bob")]);
    const [a, b] = await Promise.all([online(ada, { encrypted: true }), online(bob, { encrypted: true })]);
    const laptop = await online(await person(bob.name, true), { encrypted: true });
    const id = await together(a, [bob]);
    const [mine, his, his2] = [opened(a, id), opened(b, id), opened(laptop, id)];
    const canary = `canary ${crypto.randomUUID()}`;
    const { messageId } = await mine.send(canary).stored;
    await mine.edit(messageId, `${canary}, edited`).stored;
    await his.react(messageId, "🔒").stored;
    for (const store of [mine, his, his2]) {
      await untilTexts(store, [`${canary}, edited`]);
      await until(store, () => messages(store)[0]?.security === "verified", "a verified message");
    }
    const stored = JSON.stringify(await a.request("GET", `conversations/${id}/messages`));
    expect(stored).not.toContain(encodeBase64(new TextEncoder().encode(canary)).slice(0, 20));
    expect(stored).not.toContain("canary");
    expect(a.security.getSnapshot()).toMatchObject({ encrypted: true, warnings: ["keys_in_memory"] });
    // Both compare the same number, and it is of what each has seen.
    const [one, other] = await Promise.all([a.security.safetyNumber(bob.userId), b.security.safetyNumber(ada.userId)]);
    expect(one).toMatch(/^(\d{5} ){11}\d{5}$/);
    expect(one).toBe(other);
  });

  it("tells of a device that was added, and encrypts for it from then on", async () => {
    const [ada, bob] = await Promise.all([person("Ada"), person("Bob")]);
    const [a, b] = await Promise.all([online(ada, { encrypted: true }), online(bob, { encrypted: true })]);
    const id = await together(a, [bob]);
    const [mine, his] = [opened(a, id), opened(b, id)];
    await mine.send("before").stored;
    await untilTexts(his, ["before"]);
    const late = await online(await person(bob.name, true), { encrypted: true });
    // The client looks again within a quarter of a minute, or as soon as an entry comes from a device it does not know.
    await late.conversation(id).send("from the new one").stored;
    await untilTexts(mine, ["before", "from the new one"]);
    await until(a.security, ({ notices }) => notices.some((notice) => notice.kind === "new_device" && notice.userId === bob.userId), "the notice");
    await mine.send("after").stored;
    const theirs = opened(late, id);
    await untilTexts(theirs, [null, "from the new one", "after"] as unknown as string[]);
    await until(theirs, () => messages(theirs)[0]?.security === "undecryptable", "what it cannot read");
  });

  it("is encrypted again for whoever joined while it was written", async () => {
    const [ada, bob, cleo] = await Promise.all([person("Ada"), person("Bob"), person("Cleo")]);
    const network = new Network();
    const [a, b, c] = await Promise.all([online(ada, { encrypted: true, network }), online(bob, { encrypted: true }), online(cleo, { encrypted: true })]);
    const view = await b.createConversation({ type: "group", members: [ada.userId, bob.userId] });
    const [mine, hers] = [opened(a, view.id), opened(c, view.id)];
    await mine.send("one").stored;
    // Its list of devices is of before, and the push that tells of Cleo is on its way.
    const adding = b.conversation(view.id).addMembers([cleo.userId]);
    const handle = mine.send("two");
    await Promise.all([adding, handle.stored]);
    await mine.send("three").stored;
    await until(hers, () => texts(hers).includes("three"), "the message after the joining");
    const seq = (await c.request<{ joinedSeq: number }>("GET", `conversations/${view.id}`)).joinedSeq;
    const { seq: second } = await handle.stored;
    if ((second ?? 0) > seq) expect(texts(hers)).toEqual(["two", "three"]);
    else expect(texts(hers)).toEqual(["three"]);
  });

  it("keeps drafts readable for one's own devices alone", async () => {
    const [ada, bob] = await Promise.all([person("Ada"), person("Bob")]);
    const [a, other] = await Promise.all([online(ada, { encrypted: true }), online(await person(ada.name, true), { encrypted: true })]);
    const id = await together(a, [bob]);
    opened(a, id).setDraft("a secret canary draft");
    await until(opened(other, id), ({ draft }) => draft.text === "a secret canary draft", "the draft");
    expect(JSON.stringify(await a.request("GET", "messages/drafts"))).not.toContain("canary");
  });

  it("carries media that the server cannot read", async () => {
    const [ada, bob] = await Promise.all([person("Ada"), person("Bob")]);
    const [a, b] = await Promise.all([online(ada, { encrypted: true }), online(bob, { encrypted: true })]);
    const id = await together(a, [bob]);
    const [mine, his] = [opened(a, id), opened(b, id)];
    const picture = new TextEncoder().encode("a picture of a canary".repeat(1_000));
    const media = await mine.upload(picture, { name: "canary.txt", mimeType: "text/plain" });
    await mine.send({ text: "look", media }).stored;
    await untilTexts(his, ["look"]);
    const got = messages(his)[0]?.media;
    expect(got).toMatchObject({ name: "canary.txt", size: picture.length });
    expect(await his.download(got as NonNullable<typeof got>)).toEqual(picture);
  });

  it("is read again after a restart of the client", async () => {
    const [ada, bob] = await Promise.all([person("Ada"), person("Bob")]);
    const storage = memoryStorage();
    const a = await online(ada, { encrypted: true, storage });
    const b = await online(bob, { encrypted: true });
    const id = await together(a, [bob]);
    await a.conversation(id).send("kept", { ttl: 3_600 }).stored;
    await a.close();
    const again = opened(await online(ada, { encrypted: true, storage }), id);
    await untilTexts(again, ["kept"]);
    expect(messages(again)[0]).toMatchObject({ mine: true, security: "verified", type: "ephemeral" });
    await untilTexts(opened(b, id), ["kept"]);
    expect(messages(b.conversation(id))[0]?.security).toBe("verified");
  });
});
