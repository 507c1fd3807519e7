/** Connections: how they end, what is caught up, and what everybody is told (docs/protocol.md §2, §3, §5). */
import { buildEntry, buildPush, fakeToken, FakeServer } from "@whispr/testing";
import { describe, expect, it, vi } from "vitest";
import type { MessageItem, TokenReason } from "./index";
import { ADA, BOB, clientOf, messages, online, open, pair, texts, until, untilTexts } from "./test/clients";

describe("the connection", () => {
  it("is nothing before connect, and live when everything arrived", async () => {
    const server = new FakeServer();
    const client = clientOf(server, ADA);
    expect(client.connection.getSnapshot()).toMatchObject({ phase: "idle", guarantee: "volatile", synced: false, tab: "leader" });
    expect(server.requests).toEqual([]);
    await client.connect();
    await until(client.connection, ({ guarantee }) => guarantee === "live");
    client.disconnect();
    expect(client.connection.getSnapshot()).toMatchObject({ phase: "idle", synced: false });
    await client.connect();
    await until(client.connection, ({ guarantee }) => guarantee === "live");
  });

  it.each([
    [1006, "network"],
    [1012, "server_restart"],
    [4408, "too_slow"],
    [4500, "server_fault"],
  ] as const)("comes back after %i", async (code, reason) => {
    const server = new FakeServer();
    const client = await online(server, ADA);
    const seen: unknown[] = [];
    client.connection.subscribe(() => seen.push(client.connection.getSnapshot().reason));
    server.close(code);
    await until(client.connection, ({ phase }) => phase === "offline");
    expect(client.connection.getSnapshot()).toMatchObject({ reason, closeCode: code });
    await until(client.connection, ({ guarantee, reason: why }) => guarantee === "live" && why === null);
  });

  it.each([
    [4403, "ended", "revoked"],
    [4409, "replaced", "replaced"],
  ] as const)("stays closed after %i", async (code, phase, reason) => {
    const server = new FakeServer();
    const client = await online(server, ADA);
    server.close(code);
    await until(client.connection, (state) => state.phase === phase);
    expect(client.connection.getSnapshot()).toMatchObject({ reason, guarantee: "closed", retryAt: null });
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(server.sockets.size).toBe(0);
  });

  it.each([4400, 4429])("waits longer after %i, and says how long", async (code) => {
    const server = new FakeServer();
    const client = await online(server, ADA);
    server.close(code);
    const { retryAt } = await until(client.connection, (state) => state.phase === "offline" && state.retryAt !== null);
    expect(retryAt).toBeGreaterThan(Date.now() + 5_000);
    client.reconnectNow();
    await until(client.connection, ({ guarantee }) => guarantee === "live");
  });

  it("asks for a new token where the old one expired", async () => {
    const server = new FakeServer();
    const reasons: TokenReason[] = [];
    const { identity } = server.options(ADA);
    const getToken = (reason: TokenReason): string => {
      reasons.push(reason);
      return fakeToken(identity.userId, identity.deviceId);
    };
    const client = await online(server, ADA, { identity, getToken });
    server.close(4401);
    await until(client.connection, ({ phase }) => phase === "offline");
    await until(client.connection, ({ guarantee }) => guarantee === "live");
    expect(reasons).toEqual(["start", "expired"]);
  });

  it("lives on with a new token where the server says that the old one ends soon", async () => {
    const server = new FakeServer();
    const { identity } = server.options(ADA);
    let seconds = 70;
    const client = await online(server, ADA, { identity, getToken: () => fakeToken(identity.userId, identity.deviceId, seconds) });
    seconds = 3_600;
    server.push(ADA, "token_expiring", { expiresAt: new Date(Date.now() + 60_000).toISOString() });
    await vi.waitFor(() => expect(server.requests.some(([name]) => name === "renew_token")).toBe(true));
    expect(client.connection.getSnapshot().phase).toBe("online");
  });

  it("is let go of at once when the device loses its network, and back with it", async () => {
    const server = new FakeServer();
    const page = new EventTarget();
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
    const client = await online(server, ADA);
    page.dispatchEvent(new Event("offline"));
    expect(client.connection.getSnapshot()).toMatchObject({ phase: "offline", reason: "device_offline" });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.sockets.size).toBe(0);
    page.dispatchEvent(new Event("online"));
    await until(client.connection, ({ guarantee }) => guarantee === "live");
    vi.unstubAllGlobals();
  });

  it("ends where there is no token any more", async () => {
    const server = new FakeServer();
    const { identity } = server.options(ADA);
    let token: string | null = fakeToken(identity.userId, identity.deviceId);
    const client = await online(server, ADA, { identity, getToken: () => token });
    token = null;
    server.close(4401);
    await until(client.connection, ({ phase, reason }) => phase === "ended" && reason === "unauthenticated");
  });

  it("tells what the server cannot do", async () => {
    const { server, ada, mine } = await pair();
    server.push(ADA, "service_state", buildPush.service_state("degraded", ["push", "receipts"]));
    await until(ada.connection, ({ guarantee }) => guarantee === "degraded");
    expect(ada.connection.getSnapshot().service.lost).toEqual(["push", "receipts"]);
    server.fail("send_message", { refuse: "temporary_unavailable", retryAfter: 600 });
    const handle = mine.send("when it is better");
    await until(handle, ({ attempts }) => attempts === 1);
    server.push(ADA, "service_state", buildPush.service_state("normal"));
    await handle.stored;
    expect(ada.connection.getSnapshot().guarantee).toBe("live");
  });
});

describe("catching up", () => {
  it("goes on from what is here, in order and without a repetition", async () => {
    const { server, id, mine, ada } = await pair();
    await mine.send("one").stored;
    const conversation = server.conversations.get(id);
    server.down();
    await until(ada.connection, ({ phase }) => phase === "offline");
    for (const text of ["two", "three"]) if (conversation) server.append(conversation, { ...fromBob(text) });
    server.up();
    await untilTexts(mine, ["one", "two", "three"]);
    const joins = server.requests.filter(([name, payload]) => name === "phx_join" && (payload as { topic: string }).topic === `user:${ADA}`);
    expect(joins.at(-1)?.[1]).toMatchObject({ cursors: { [id]: 2 }, epoch: "one" });
  });

  it("fills a hole from history", async () => {
    const { server, id, mine } = await pair();
    const conversation = server.conversations.get(id);
    const lost = conversation?.append(fromBob("lost on the way"));
    if (conversation) server.append(conversation, fromBob("arrived"));
    await untilTexts(mine, ["lost on the way", "arrived"]);
    expect(lost?.seq).toBe(2);
  });

  it("reads everything anew in another epoch", async () => {
    const { server, id, mine, ada } = await pair();
    await mine.send("of before").stored;
    const reasons: string[] = [];
    ada.on("resync", (reason) => reasons.push(reason));
    server.epoch = "two";
    const conversation = server.conversations.get(id);
    conversation?.entries.splice(1);
    conversation?.append(fromBob("of the backup"));
    server.close(1012);
    await untilTexts(mine, ["of the backup"]);
    expect(reasons).toContain("epoch_changed");
  });

  it("acknowledges in batches what it received", async () => {
    const { server, id } = await pair();
    const conversation = server.conversations.get(id);
    for (let count = 0; count < 45; count += 1) if (conversation) server.append(conversation, fromBob(String(count)));
    await vi.waitFor(() => expect(conversation?.members.get(ADA)?.delivered).toBe(46), { timeout: 4_000 });
    const acks = server.requests.filter(([name]) => name === "message_received");
    expect(acks.length).toBeLessThan(10);
  });
});

describe("what others do", () => {
  it("is announced live, and not while catching up", async () => {
    const { server, id, ada } = await pair();
    const heard: MessageItem[] = [];
    ada.on("message", (item) => heard.push(item));
    const conversation = server.conversations.get(id);
    if (conversation) server.append(conversation, fromBob("live"));
    await vi.waitFor(() => expect(heard).toMatchObject([{ text: "live", mine: false, conversationId: id }]));
    server.down();
    await until(ada.connection, ({ phase }) => phase === "offline");
    conversation?.append(fromBob("missed"));
    server.up();
    await until(ada.conversation(id), () => texts(ada.conversation(id)).length === 2);
    expect(heard).toHaveLength(1);
  });

  it("is counted as unread until it is read, here or on another device", async () => {
    const { server, id, ada, mine, his } = await pair();
    const other = await online(server, ADA);
    await his.send("one").stored;
    await his.send("two").stored;
    for (const client of [ada, other]) await until(client.inbox, ({ unread }) => unread === 2);
    await until(mine, () => messages(mine).length === 2);
    mine.markRead();
    expect(ada.inbox.getSnapshot().unread).toBe(0);
    await until(other.inbox, ({ unread }) => unread === 0);
    expect(server.conversations.get(id)?.members.get(ADA)?.read).toBe(3);
  });

  it("makes a conversation that was not known appear", async () => {
    const server = new FakeServer();
    const [ada, bob] = await Promise.all([online(server, ADA), online(server, BOB)]);
    const { id } = await bob.createConversation({ type: "direct", members: [ADA] });
    await bob.conversation(id).send("hello").stored;
    const { conversations } = await until(ada.inbox, ({ conversations: [first] }) => first?.unread === 1 && first.preview?.text === "hello");
    expect(conversations).toMatchObject([{ id, peerId: BOB, type: "direct", left: false }]);
  });

  it("is seen while they write and are there", async () => {
    const { mine, his } = await pair();
    his.setTyping(true);
    await until(mine, ({ typing }) => typing.includes(BOB));
    await his.send("done").stored;
    await until(mine, ({ typing }) => typing.length === 0);
    await until(mine, ({ presence }) => presence.length === 2);
  });
});

describe("what is the user's own", () => {
  it("has drafts on all devices, and says where two write at once", async () => {
    const { server, id, mine } = await pair();
    const other = open(await online(server, ADA), id);
    mine.setDraft("half a");
    expect(mine.getSnapshot().draft).toMatchObject({ text: "half a", state: "changed" });
    await until(other, ({ draft }) => draft.text === "half a" && draft.state === "saved");
    other.setDraft("half a sentence");
    mine.setDraft("half an hour");
    await until(mine, ({ draft }) => draft.state === "conflict" || draft.text === "half a sentence" || draft.state === "saved");
    const conflicts = [mine, other].filter((store) => store.getSnapshot().draft.state === "conflict");
    await vi.waitFor(() => expect([mine, other].filter((store) => store.getSnapshot().draft.state === "conflict").length + conflicts.length).toBeGreaterThan(0), { timeout: 4_000 });
  });

  it("has a draft no longer once it is sent", async () => {
    const { mine } = await pair();
    mine.setDraft("soon sent");
    await mine.send("soon sent").stored;
    expect(mine.getSnapshot().draft.state).toBe("none");
  });

  it("encrypts a scheduled message again where the server holds it", async () => {
    const { server, id, mine } = await pair();
    const item = await mine.schedule("later", new Date(Date.now() + 3_600_000));
    expect(mine.getSnapshot().scheduled).toMatchObject([{ id: item.id, state: "scheduled", body: { text: "later" } }]);
    const held = server.scheduled.get(item.id)?.view;
    Object.assign(held ?? {}, { state: "needs_reencrypt" });
    server.push(ADA, "personal_update", { kind: "scheduled", ...held, content: null });
    await vi.waitFor(() => expect(server.requests.some(([name]) => name === `PUT messages/scheduled/${item.id}`)).toBe(true));
    await until(mine, ({ scheduled: [one] }) => one?.state === "scheduled");
    expect(id).toBe(mine.id);
  });

  it("has settings that follow the other devices", async () => {
    const server = new FakeServer();
    const [one, other] = await Promise.all([online(server, ADA), online(server, ADA)]);
    await one.settings.update({ readReceipts: false });
    await until(other.settings, ({ settings }) => !settings.readReceipts);
  });

  it("can end another device", async () => {
    const server = new FakeServer();
    const [one, other] = await Promise.all([online(server, ADA), online(server, ADA)]);
    await one.devices.refresh();
    const id = other.identity?.deviceId ?? "";
    await one.devices.revoke(id);
    await until(other.connection, ({ reason }) => reason === "revoked");
  });
});

function fromBob(text: string) {
  const { content, clientRandom } = buildEntry({ text, clientRandom: Math.floor(Math.random() * 2 ** 40) });
  return { senderId: BOB, content, clientRandom };
}
