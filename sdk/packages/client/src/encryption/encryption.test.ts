/** The default engine: who can read what, and what is noticed (the form is in envelope.ts). */
import { FakeServer } from "@whispr/testing";
import { describe, expect, it } from "vitest";
import { decodeBase64, encodeBase64, memoryStorage } from "../index";
import type { Binding, PeerDevice } from "../types/engine";
import { ADA, BOB, messages, online, open, texts, until, untilTexts } from "../test/clients";
import { encryptionEngine } from "./engine";
import { openEnvelope, sealEnvelope } from "./envelope";
import { openMedia, sealMedia } from "./media";

const CONVERSATION = "01900000-0000-7000-8000-0000000000c0";
const BINDING: Binding = { conversationId: CONVERSATION, senderId: ADA, senderDeviceId: "01900000-0000-7000-8000-0000000000d1", clientRandom: 7 };
const PLAINTEXT = new TextEncoder().encode("a secret of two");

async function deviceOf(userId: string, id: string): Promise<PeerDevice & { readonly keys: CryptoKeyPair }> {
  const keys = (await crypto.subtle.generateKey("X25519", false, ["deriveBits"])) as CryptoKeyPair;
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", keys.publicKey));
  return { id, userId, publicKey: null, encryptionKey: encodeBase64(raw), keys };
}

const own = await deviceOf(ADA, BINDING.senderDeviceId);
const phone = await deviceOf(BOB, "01900000-0000-7000-8000-0000000000d2");
const other = await deviceOf(BOB, "01900000-0000-7000-8000-0000000000d3");

describe("an envelope", () => {
  it("opens on every device that it was sealed for, and is as large as it says", async () => {
    const envelope = await sealEnvelope(BINDING, PLAINTEXT, [own, phone, other]);
    expect(envelope.length).toBe(4 + 3 * 96 + 12 + PLAINTEXT.length + 16);
    for (const device of [own, phone, other]) expect(await openEnvelope(BINDING, envelope, device.id, device.keys)).toEqual(PLAINTEXT);
    const text = new TextDecoder("latin1").decode(envelope);
    expect(text).not.toContain("secret");
  });

  it("does not open for others, or with another device's key", async () => {
    const envelope = await sealEnvelope(BINDING, PLAINTEXT, [own, phone]);
    await expect(openEnvelope(BINDING, envelope, other.id, other.keys)).rejects.toMatchObject({ code: "undecryptable" });
    await expect(openEnvelope(BINDING, envelope, phone.id, other.keys)).rejects.toMatchObject({ code: "undecryptable" });
  });

  it.each([
    ["conversation", { conversationId: ADA }],
    ["sender", { senderId: BOB }],
    ["device", { senderDeviceId: phone.id }],
    ["clientRandom", { clientRandom: 8 }],
    ["purpose", { purpose: "draft" as const }],
  ])("does not open under another %s", async (_, change) => {
    const envelope = await sealEnvelope(BINDING, PLAINTEXT, [own, phone]);
    await expect(openEnvelope({ ...BINDING, ...change }, envelope, phone.id, phone.keys)).rejects.toMatchObject({ code: "undecryptable" });
  });

  it("does not open once any byte is another, or the end is cut off", async () => {
    const envelope = await sealEnvelope(BINDING, PLAINTEXT, [own, phone]);
    for (let at = 0; at < envelope.length; at += 1) {
      const changed = envelope.map((byte, place) => (place === at ? byte ^ 1 : byte));
      await expect(openEnvelope(BINDING, changed, phone.id, phone.keys), `byte ${at}`).rejects.toMatchObject({ code: "undecryptable" });
    }
    for (const length of [0, 3, 100, envelope.length - 1]) {
      await expect(openEnvelope(BINDING, envelope.slice(0, length), phone.id, phone.keys)).rejects.toMatchObject({ code: "undecryptable" });
    }
  });

  it("is another one each time", async () => {
    const [one, two] = await Promise.all([sealEnvelope(BINDING, PLAINTEXT, [phone]), sealEnvelope(BINDING, PLAINTEXT, [phone])]);
    expect(one).not.toEqual(two);
  });

  it("leaves out devices without a key, and is refused where nobody else could read it", async () => {
    const bare = { ...phone, encryptionKey: null };
    const envelope = await sealEnvelope(BINDING, PLAINTEXT, [own, bare, other]);
    await expect(openEnvelope(BINDING, envelope, bare.id, phone.keys)).rejects.toMatchObject({ code: "undecryptable" });
    await expect(sealEnvelope(BINDING, PLAINTEXT, [own, bare])).rejects.toMatchObject({ code: "no_recipients" });
    await expect(sealEnvelope(BINDING, PLAINTEXT, [])).rejects.toMatchObject({ code: "no_recipients" });
    expect(await openEnvelope(BINDING, await sealEnvelope(BINDING, PLAINTEXT, [own]), own.id, own.keys)).toEqual(PLAINTEXT);
  });

  it("is refused over the server's limit", async () => {
    await expect(sealEnvelope(BINDING, new Uint8Array(65_536), [phone])).rejects.toMatchObject({ code: "too_large" });
  });
});

describe("media", () => {
  it("open with their own key alone", async () => {
    const { data, key } = await sealMedia(PLAINTEXT);
    expect(await openMedia(data, key)).toEqual(PLAINTEXT);
    const { key: another } = await sealMedia(PLAINTEXT);
    await expect(openMedia(data, another)).rejects.toMatchObject({ code: "undecryptable" });
    await expect(openMedia(data.map((byte, at) => (at === 20 ? byte ^ 1 : byte)), key)).rejects.toMatchObject({ code: "undecryptable" });
  });
});

describe("the engine", () => {
  const identity = { userId: ADA, deviceId: own.id };

  it("keeps its keys over a restart, and nobody can take them out", async () => {
    const storage = memoryStorage();
    const keys = { durable: true, get: (name: string) => storage.get("keys", name), put: (name: string, value: unknown) => storage.put("keys", name, value), delete: (name: string) => storage.delete("keys", name) };
    const first = await encryptionEngine().start({ identity, keys });
    const again = await encryptionEngine().start({ identity, keys });
    expect(again).toEqual(first);
    expect(first.warnings).toEqual([]);
    expect(decodeBase64(first.publicKey ?? "")).toHaveLength(32);
    expect(decodeBase64(first.encryptionKey ?? "")).toHaveLength(32);
    const stored = (await storage.get("keys", "device-keys-v1")) as { signing: { privateKey: CryptoKey }; encryption: CryptoKeyPair };
    for (const key of [stored.signing.privateKey, stored.encryption.privateKey]) {
      expect(key.extractable).toBe(false);
      await expect(crypto.subtle.exportKey("pkcs8", key)).rejects.toThrow();
    }
  });
});

/** Two people with engines, and a server that can do with what it stores as it likes. */
async function secretPair() {
  const server = new FakeServer();
  const conversation = server.conversation([ADA, BOB]);
  const [ada, bob] = await Promise.all([online(server, ADA, { engine: encryptionEngine() }), online(server, BOB, { engine: encryptionEngine() })]);
  return { server, conversation, ada, bob, mine: open(ada, conversation.id), his: open(bob, conversation.id) };
}

describe("a conversation", () => {
  it("shows nothing of what the server put in a member's mouth", async () => {
    const { server, conversation, mine, his } = await secretPair();
    await mine.send("the truth").stored;
    await until(his, () => messages(his)[0]?.security === "verified");
    const real = conversation.entries.at(-1);
    // The same message again as if it were another one, and repeated as it is.
    server.append(conversation, { ...real, messageId: crypto.randomUUID(), clientRandom: 99 });
    server.append(conversation, { ...real, messageId: crypto.randomUUID() });
    // And one whose public part is not what was signed, told to Bob alone before Ada's own comes.
    for (const socket of server.socketsOf(conversation)) {
      if (socket.device?.userId === BOB) server.pushTo(socket, "new_message", { ...real, messageId: crypto.randomUUID(), seq: 5, clientRandom: real?.clientRandom, senderDeviceId: real?.senderDeviceId, metadata: { forged: true }, type: "media", mediaId: "x" });
    }
    await until(his, () => messages(his).length === 2 && messages(his).every((item) => item.security !== "opening"));
    expect(messages(his).map((item) => [item.security, item.text])).toEqual([["verified", "the truth"], ["undecryptable", null]]);
  });

  it("shows nothing of a message whose public part is not what was signed", async () => {
    const { conversation, bob, mine } = await secretPair();
    bob.disconnect();
    await mine.send("the truth").stored;
    const real = conversation.entries.at(-1);
    if (real !== undefined) conversation.entries[1] = { ...real, metadata: { forged: true } };
    await bob.connect();
    const his = bob.conversation(conversation.id);
    await until(his, () => messages(his)[0]?.security === "forged");
    expect(messages(his)[0]).toMatchObject({ text: null, body: null });
  });

  it("says so where the server took the signature away", async () => {
    const { conversation, bob, mine } = await secretPair();
    bob.disconnect();
    await mine.send("signed").stored;
    const real = conversation.entries.at(-1);
    if (real !== undefined) conversation.entries[1] = { ...real, signature: null };
    await bob.connect();
    const his = bob.conversation(conversation.id);
    await until(his, () => messages(his)[0]?.security === "unsigned");
    expect(texts(his)).toEqual(["signed"]);
  });

  it("notices keys that changed, and takes them for known once a person said so", async () => {
    const { server, ada, bob, mine, his } = await secretPair();
    await mine.send("one").stored;
    await his.send("two").stored;
    await untilTexts(mine, ["one", "two"]);
    const before = await ada.security.safetyNumber(BOB);
    await ada.security.setVerified(BOB, true);
    const deviceId = bob.identity?.deviceId ?? "";
    await bob.close();
    // The same device with other keys: it was set up anew, or somebody is in between.
    const again = await online(server, BOB, { identity: { userId: BOB, deviceId }, getToken: server.options(BOB, deviceId).getToken, engine: encryptionEngine() });
    await again.conversation(mine.id).send("three").stored;
    // Its signature does not fit the known key, so the keys are asked for: it is not taken for forged.
    await until(mine, () => messages(mine).at(-1)?.security === "changed_key" && messages(mine).at(-1)?.text === "three");
    server.close(1012, ADA); // a new connection asks for the keys anew
    await until(ada.connection, ({ guarantee }) => guarantee === "live");
    await mine.send("four").stored;
    await until(ada.security, ({ notices }) => notices.some((notice) => notice.kind === "changed_keys"));
    expect(ada.security.getSnapshot().devices.find((device) => device.deviceId === deviceId)).toMatchObject({ changed: true, verified: false });
    expect(await ada.security.safetyNumber(BOB)).not.toBe(before);
    await again.conversation(mine.id).send("five").stored;
    await until(mine, () => messages(mine).at(-1)?.security === "changed_key" && messages(mine).at(-1)?.text === "five");
    await ada.security.accept(deviceId);
    expect(ada.security.getSnapshot().notices).toEqual([]);
  });

  it("signed with keys that a device had before is still its own, on a later visit too", async () => {
    const server = new FakeServer();
    const { id } = server.conversation([ADA, BOB]);
    const adas = { ...server.options(ADA), storage: memoryStorage() };
    const bobs = server.options(BOB);
    const ada = await online(server, ADA, { ...adas, engine: encryptionEngine() });
    const bob = await online(server, BOB, { ...bobs, engine: encryptionEngine() });
    await bob.conversation(id).send("with the first keys").stored;
    await untilTexts(open(ada, id), ["with the first keys"]);
    await bob.close();
    const again = await online(server, BOB, { ...bobs, engine: encryptionEngine() });
    await again.conversation(id).send("with the second keys").stored;
    await untilTexts(ada.conversation(id), ["with the first keys", "with the second keys"]);
    await ada.close();
    const later = open(await online(server, ADA, { ...adas, engine: encryptionEngine() }), id);
    await untilTexts(later, ["with the first keys", "with the second keys"]);
    expect(messages(later).map(({ security }) => security)).toEqual(["verified", "changed_key"]);
  });

  it("is encrypted again under the same key where the members changed meanwhile", async () => {
    const { server, conversation, mine, his } = await secretPair();
    await mine.send("one").stored;
    conversation.membersVersion += 1; // the list of devices that is here is of before
    await mine.send("two").stored;
    await untilTexts(his, ["one", "two"]);
    const tries = server.requests.filter(([name]) => name === "send_message").map(([, payload]) => payload as { clientRandom: number; content: string }).slice(1);
    expect(tries).toHaveLength(2);
    expect(tries[0]?.clientRandom).toBe(tries[1]?.clientRandom);
    expect(tries[0]?.content).not.toBe(tries[1]?.content);
  });

  it("is sent again with the same bytes where only the answer was lost", async () => {
    const { server, mine, his } = await secretPair();
    server.fail("send_message", { refuse: "timeout", retryAfter: 0.01 });
    await mine.send("one").stored;
    await untilTexts(his, ["one"]);
    const tries = server.requests.filter(([name]) => name === "send_message").map(([, payload]) => JSON.stringify(payload));
    expect(tries).toHaveLength(2);
    expect(tries[0]).toBe(tries[1]);
  });

  it("waits for somebody's first key", async () => {
    const server = new FakeServer();
    const { id } = server.conversation([ADA, BOB]);
    await online(server, BOB); // without an engine: a device without keys
    const ada = await online(server, ADA, { engine: encryptionEngine() });
    const handle = open(ada, id).send("when you can read it");
    const { failure } = await until(handle, ({ attempts }) => attempts === 1);
    expect(failure).toMatchObject({ willRetry: true });
    await online(server, BOB, { engine: encryptionEngine() });
    server.close(1012, ADA);
    await handle.stored;
    expect(texts(ada.conversation(id))).toEqual(["when you can read it"]);
  });
});
