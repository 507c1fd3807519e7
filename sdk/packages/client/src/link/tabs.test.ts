/** Several tabs of one device: one connection, the same everywhere, and the next tab takes over. */
import { FakeServer } from "@whispr/testing";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { memoryStorage, type WhisprClient } from "../index";
import { ADA, BOB, clientOf, messages, online, open, texts, triesOf, until, untilTexts } from "../test/clients";

/** As much of Web Locks as is used: the first who asks holds it, the others wait in their order. */
class Locks {
  private readonly lines = new Map<string, { run: () => Promise<void> }[]>();

  async request(name: string, { signal }: { signal: AbortSignal }, held: () => Promise<void>): Promise<void> {
    const line = this.lines.get(name) ?? [];
    this.lines.set(name, line);
    await new Promise<void>((resolve, reject) => {
      const own = { run: () => held().then(() => (line.shift(), resolve(), void line[0]?.run())) };
      signal.addEventListener("abort", () => {
        if (line[0] === own) return;
        line.splice(line.indexOf(own), 1);
        reject(new DOMException("aborted", "AbortError"));
      });
      line.push(own);
      if (line[0] === own) void own.run();
    });
  }

  query() {
    return Promise.resolve({ held: [...this.lines].filter(([, line]) => line.length > 0).map(([name]) => ({ name })) });
  }
}

beforeAll(() => {
  vi.stubGlobal("navigator", { locks: new Locks(), onLine: true });
  vi.stubGlobal("document", { visibilityState: "visible" });
});
afterAll(() => void vi.unstubAllGlobals());

/** Two tabs of Ada's device, and Bob. */
async function tabs() {
  const server = new FakeServer();
  const { id } = server.conversation([ADA, BOB]);
  const storage = memoryStorage();
  const deviceId = crypto.randomUUID();
  const { identity, getToken } = server.options(ADA, deviceId);
  const shared = { storage, identity, getToken, sharedTabs: true };
  const first = await online(server, ADA, shared);
  const second = clientOf(server, ADA, shared);
  await second.connect();
  await until(second.connection, ({ guarantee, tab }) => guarantee === "live" && tab === "follower");
  const bob = await online(server, BOB);
  return { server, id, first, second, bob, stores: [open(first, id), open(second, id)] as const, his: open(bob, id) };
}

function socketsOf(server: FakeServer): number {
  return [...server.sockets].filter((socket) => socket.device?.userId === ADA).length;
}

describe("two tabs of one device", () => {
  it("have one connection, and neither replaces the other", async () => {
    const { server, first, second } = await tabs();
    expect(socketsOf(server)).toBe(1);
    expect(first.connection.getSnapshot().tab).toBe("leader");
    expect(second.connection.getSnapshot().phase).toBe("online");
  });

  it("show the same, whoever writes", async () => {
    const { stores, his, server } = await tabs();
    await stores[0].send("from the first").stored;
    await stores[1].send("from the second").stored;
    await his.send("from Bob").stored;
    for (const store of [...stores, his]) await untilTexts(store, ["from the first", "from the second", "from Bob"]);
    expect(new Set(triesOf(server)).size).toBe(3);
    expect(triesOf(server)).toHaveLength(3);
    his.markRead();
    for (const store of stores) await until(store, () => messages(store)[0]?.status === "read");
  });

  it("have one outbox", async () => {
    const { server, first, second, id } = await tabs();
    server.fail("send_message", { refuse: "too_large" });
    const handle = second.conversation(id).send("too much");
    await until(handle, ({ status }) => status === "failed");
    await until(first.outbox, ({ failed }) => failed === 1);
    await second.outbox.discard(handle.id);
    await until(first.outbox, ({ items }) => items.length === 0);
    await expect(handle.stored).rejects.toMatchObject({ code: "discarded" });
  });

  it("go on in the second one when the first is closed", async () => {
    const { server, first, second, id, stores, his } = await tabs();
    server.fail("send_message", "lost");
    stores[1].send("written in the second, sent by the first").stored.catch(() => undefined);
    await vi.waitFor(() => expect(triesOf(server)).toHaveLength(1));
    await first.close();
    await until(second.connection, ({ tab, guarantee }) => tab === "leader" && guarantee === "live");
    await until(second.outbox, ({ items }) => items.length === 0);
    await second.conversation(id).send("after it").stored;
    await untilTexts(his, ["written in the second, sent by the first", "after it"]);
    expect(texts(stores[1])).toEqual(["written in the second, sent by the first", "after it"]);
    expect(socketsOf(server)).toBe(1);
  });

  it("are told of what arrives by the leader that comes after, though they asked nothing of it", async () => {
    const { server, first, second, bob, id } = await tabs();
    const third = clientOf(server, ADA, { storage: memoryStorage(), identity: first.identity!, getToken: server.options(ADA, first.identity!.deviceId).getToken, sharedTabs: true });
    await third.connect();
    await until(third.connection, ({ guarantee, tab }) => guarantee === "live" && tab === "follower");
    await first.close();
    await until(second.connection, ({ tab, guarantee }) => tab === "leader" && guarantee === "live");
    const heard: string[] = [];
    third.on("message", ({ text }) => heard.push(text ?? ""));
    await until(third.connection, ({ guarantee }) => guarantee === "live");
    await bob.conversation(id).send("for all of them").stored;
    await vi.waitFor(() => expect(heard).toEqual(["for all of them"]));
  });

  it("know at once whom the other one blocked", async () => {
    const { first, second } = await tabs();
    await Promise.all([first, second].map((tab) => until(tab.blocks, ({ loaded }) => loaded)));
    await second.blocks.block(BOB);
    await until(first.blocks, ({ userIds }) => userIds.has(BOB));
    await first.blocks.unblock(BOB);
    await until(second.blocks, ({ userIds }) => !userIds.has(BOB));
  });

  it("cost a tab that is alone no copy of what arrives", async () => {
    const server = new FakeServer();
    const { id } = server.conversation([ADA, BOB]);
    const posted = vi.spyOn(BroadcastChannel.prototype, "postMessage");
    const alone = await online(server, ADA, { sharedTabs: true });
    const bob = await online(server, BOB);
    await bob.conversation(id).send("to one tab").stored;
    await untilTexts(open(alone, id), ["to one tab"]);
    const kinds = posted.mock.calls.map(([message]) => (message as { t: string }).t);
    expect(kinds).toContain("joined");
    expect(kinds).not.toContain("event");
    posted.mockRestore();
  });

  it("are told by the leader of what the follower asks", async () => {
    const { second, stores } = await tabs();
    const follower: WhisprClient = second;
    await until(follower.inbox, ({ conversations }) => conversations.length === 1);
    await until(stores[1], ({ loaded, presence }) => loaded && presence.length === 2);
    const handle = stores[1].edit(crypto.randomUUID(), "nothing");
    const { failure } = await until(handle, ({ status }) => status === "failed");
    expect(failure?.code).toBe("not_found");
  });
});
