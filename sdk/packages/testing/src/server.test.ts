/** The fake server keeps the promises that a client relies on (docs/protocol.md §8), so that tests with it mean something. */
import { readFileSync } from "node:fs";
import { createClient, entryLink, memoryStorage, plainEngine, type ChainEntry, type WhisprClient } from "@whispr/client";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { buildEntry, buildPush, buildReaction, buildSystem, contentOf, FakeServer, uuid } from "./index";

function clientOf(server: FakeServer, userId: string): WhisprClient {
  const made = createClient({ ...server.options(userId), storage: memoryStorage(), engine: plainEngine() });
  onTestFinished(() => made.close());
  return made;
}

describe("a log", () => {
  it("has one entry a key, and no hole", async () => {
    const server = new FakeServer();
    const [ada, bob] = [uuid(), uuid()];
    const conversation = server.conversation([ada, bob]);
    const client = clientOf(server, ada);
    await client.connect();
    server.fail("send_message", { refuse: "timeout", retryAfter: 0.01 });
    server.fail("send_message", "close");
    const sent = await Promise.all(["one", "two", "three"].map((text) => client.conversation(conversation.id).send(text).stored));
    expect(sent.map(({ seq }) => seq)).toEqual([2, 3, 4]);
    expect(conversation.entries.map((entry) => entry.seq)).toEqual([1, 2, 3, 4]);
  });

  it("refuses another content under the same key", async () => {
    const server = new FakeServer();
    const [ada, bob] = [uuid(), uuid()];
    const { id } = server.conversation([ada, bob]);
    const said: unknown[] = [];
    const { identity, socket } = server.options(ada);
    const Transport = socket?.transport as new (address: string, protocols: string[]) => { onopen: () => void; onmessage: (event: { data: string }) => void; send(text: string): void };
    const token = server.options(ada, identity.deviceId).getToken("start") as string;
    const wire = new Transport("", ["phoenix", `base64url.bearer.phx.${btoa(token)}`]);
    wire.onmessage = ({ data }) => said.push(JSON.parse(data));
    await new Promise<void>((resolve) => (wire.onopen = resolve));
    const frame = (ref: string, event: string, payload: object): void => wire.send(JSON.stringify(["1", ref, `user:${ada}`, event, payload]));
    frame("1", "phx_join", {});
    frame("2", "send_message", { conversationId: id, type: "text", content: contentOf("a"), clientRandom: 5 });
    frame("3", "send_message", { conversationId: id, type: "text", content: contentOf("a"), clientRandom: 5 });
    frame("4", "send_message", { conversationId: id, type: "text", content: contentOf("b"), clientRandom: 5 });
    frame("5", "no_such_event", {});
    await vi.waitFor(() => expect(said.length).toBeGreaterThanOrEqual(7));
    const reply = (ref: string) => (said as [unknown, string, string, string, { status: string; response: Record<string, unknown> }][]).find((one) => one[1] === ref)?.[4];
    expect(reply("2")).toMatchObject({ status: "ok", response: { status: "sent", seq: 2 } });
    expect(reply("3")).toMatchObject({ status: "ok", response: { status: "duplicate", seq: 2, messageId: reply("2")?.response["messageId"] } });
    expect(reply("4")).toMatchObject({ status: "error", response: { reason: "client_random_reused" } });
    expect(reply("5")).toEqual({ status: "error", response: { reason: "unmatched event" } });
  });
});

describe("builders", () => {
  it("make entries that the chain's vectors have the form of", () => {
    const file = new URL("../../../../tests/vectors/hash_chain.json", import.meta.url);
    const [first] = (JSON.parse(readFileSync(file, "utf8")) as { cases: { entry: ChainEntry }[] }).cases;
    const built = buildEntry();
    for (const name of Object.keys(first?.entry ?? {})) expect(built, name).toHaveProperty(name);
    expect(entryLink(new Uint8Array(32), built)).toHaveLength(32);
  });

  it("say what they are asked to", () => {
    const entry = buildEntry({ text: "hello", seq: 7 });
    expect(atob(entry.content)).toBe('{"v":1,"text":"hello"}');
    expect(buildReaction(entry, "👍")).toMatchObject({ type: "reaction", target: entry.messageId, metadata: { emoji: "👍", remove: false }, content: "" });
    expect(buildSystem("member_added", { userIds: ["a"] }).metadata).toEqual({ event: "member_added", userIds: ["a"] });
    expect(buildPush.service_state("degraded", ["push"])).toEqual({ state: "degraded", lost: ["push"] });
    expect(new Set(Array.from({ length: 100 }, uuid)).size).toBe(100);
  });
});
