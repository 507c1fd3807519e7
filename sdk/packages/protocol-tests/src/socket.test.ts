/** The protocol's edges, as the unmodified client meets them. */
import { expect, it } from "vitest";
import { connect, describeServer, device, direct, inbox, join, message, push, sleep, somebody, text, type Entry } from "./harness";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

describeServer("the handshake", () => {
  it("takes the token that authToken sends as a subprotocol, and answers phoenix", async () => {
    const ada = await somebody("Ada");
    const client = connect(ada);
    const { reply } = await join(client, `user:${ada.userId}`);
    expect(client.opens.all).toEqual(["phoenix"]);
    expect(reply).toEqual({
      status: "ok",
      response: {
        userId: ada.userId,
        deviceId: ada.deviceId,
        serverTime: expect.any(String),
        epoch: expect.any(String),
        conversations: 0,
      },
    });
    expect(Math.abs(Date.parse(reply.response.serverTime) - Date.now())).toBeLessThan(60_000);
    expect(ada.deviceId).toMatch(UUID);
  });

  it.each([
    ["no token", null],
    ["something else than a token", "nonsense"],
    ["an empty signature", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."],
  ])("refuses %s with 403", async (_, token) => {
    const client = connect(null, { token });
    const error = await client.errors.first(() => true, "the refusal");
    expect(error).toBe("Unexpected server response: 403");
    expect(client.opens.all).toEqual([]);
  });

  it("refuses a token whose signature was changed", async () => {
    const ada = await somebody("Ada");
    const [head, body, signature = ""] = ada.token.split(".");
    const changed = (signature.startsWith("A") ? "B" : "A") + signature.slice(1);
    const client = connect(null, { token: `${head}.${body}.${changed}` });
    expect(await client.errors.first(() => true, "the refusal")).toBe("Unexpected server response: 403");
  });
});

describeServer("heartbeats", () => {
  it("are answered without a join, with exactly Phoenix's frame", async () => {
    const client = connect(await somebody("Ada"));
    await client.opens.until((all) => all.length === 1, "the socket");
    await new Promise<void>((resolve) => expect(client.socket.ping(() => resolve())).toBe(true));
    expect(client.frames.all.length).toBe(1);
    const [joinRef, ref, ...rest] = JSON.parse(client.frames.all[0] as string) as unknown[];
    expect([joinRef, ...rest]).toEqual([null, "phoenix", "phx_reply", { status: "ok", response: {} }]);
    expect(ref).toEqual(expect.any(String));
  });

  it("keep their own pace", async () => {
    const client = connect(await somebody("Ada"), { heartbeatIntervalMs: 50 });
    await client.frames.until((all) => all.length >= 3, "three heartbeats");
    expect(client.closes.all).toEqual([]);
  });
});

describeServer("topics", () => {
  it("that do not exist are unmatched, and cost the others nothing", async () => {
    const ada = await somebody("Ada");
    const client = connect(ada);
    const mine = await inbox(client, ada);
    for (const topic of ["nonsense", "room:lobby", "user:", "user:not-a-uuid"]) {
      const other = await join(client, topic);
      other.channel.leave();
      expect([topic, other.reply.status, other.reply.response.reason]).toEqual([topic, "error", "unmatched topic"]);
    }
    expect(mine.channel.state).toBe("joined");
    expect(mine.closed.all).toEqual([]);
  });

  it("of others are not to be joined, and are not told from those that do not exist", async () => {
    const [ada, bob, eve] = await Promise.all([somebody("Ada"), somebody("Bob"), somebody("Eve")]);
    const { id } = await direct(ada, bob);
    const client = connect(eve);
    const refusals = [];
    for (const topic of [`conversation:${id}`, `conversation:${crypto.randomUUID()}`]) {
      const { channel, reply } = await join(client, topic);
      channel.leave();
      refusals.push(reply);
    }
    expect(refusals[0]).toMatchObject({ status: "error", response: { reason: "not_found" } });
    expect(refusals[1]).toEqual(refusals[0]);
    const inboxOfAda = await join(client, `user:${ada.userId}`);
    inboxOfAda.channel.leave();
    expect(inboxOfAda.reply).toEqual({ status: "error", response: { reason: "unmatched topic" } });
  });

  it("answer a frame to a topic that was never joined", async () => {
    const client = connect(await somebody("Ada"));
    await client.opens.until((all) => all.length === 1, "the socket");
    client.socket.push({ join_ref: "7", ref: "8", topic: "user:nobody", event: "typing", payload: {} });
    const frame = await client.frames.first(() => true, "the answer");
    expect(JSON.parse(frame)).toEqual([null, "8", "user:nobody", "phx_reply", { status: "error", response: { reason: "unmatched topic" } }]);
  });

  it("answer an unknown event, and go on", async () => {
    const ada = await somebody("Ada");
    const { channel, closed } = await inbox(connect(ada), ada);
    expect(await push(channel, "no_such_event", {})).toEqual({ status: "error", response: { reason: "unmatched event" } });
    expect(await push(channel, "message_received", { acks: [] })).toEqual({ status: "ok", response: {} });
    expect(closed.all).toEqual([]);
  });
});

describeServer("a second join of a topic", () => {
  it("by the client's own rules ends the first channel and works", async () => {
    const ada = await somebody("Ada");
    const client = connect(ada);
    const first = await inbox(client, ada);
    const second = await inbox(client, ada);
    expect(first.closed.all.length).toBe(1);
    expect(first.channel.state).toBe("closed");
    expect(await push(second.channel, "message_received", { acks: [] })).toEqual({ status: "ok", response: {} });
  });

  it("without a leave closes the first with its own join_ref", async () => {
    const ada = await somebody("Ada");
    const client = connect(ada);
    const first = await inbox(client, ada);
    const topic = `user:${ada.userId}`;
    const firstRef = (JSON.parse(client.frames.all[0] as string) as unknown[])[0];
    client.socket.push({ join_ref: "join-2", ref: "join-2", topic, event: "phx_join", payload: {} });
    const isAbout = (event: string) => (frame: string) => (JSON.parse(frame) as unknown[])[3] === event;
    const close = JSON.parse(await client.frames.first(isAbout("phx_close"), "phx_close")) as unknown[];
    expect(close).toEqual([firstRef, firstRef, topic, "phx_close", {}]);
    const reply = await client.frames.first((frame) => frame.startsWith('["join-2","join-2"'), "the second join's reply");
    expect((JSON.parse(reply) as unknown[])[4]).toMatchObject({ status: "ok" });
    expect(client.frames.all.indexOf(reply)).toBeGreaterThan(client.frames.all.findIndex(isAbout("phx_close")));
    expect(first.closed.all.length).toBe(1);
  });
});

describeServer("a stale join_ref", () => {
  it("is not carried out and not answered", async () => {
    const [ada, bob] = await Promise.all([somebody("Ada"), somebody("Bob")]);
    const { id } = await direct(ada, bob);
    const client = connect(ada);
    const { channel } = await inbox(client, ada);
    const topic = `user:${ada.userId}`;
    const stale = message(id, "stale");
    client.socket.push({ join_ref: "from-before", ref: "stale-1", topic, event: "send_message", payload: stale });
    client.socket.push({ join_ref: "from-before", ref: "stale-2", topic, event: "phx_leave", payload: {} });
    const answer = await push(channel, "send_message", message(id, "live"));
    expect(answer).toMatchObject({ status: "ok", response: { status: "sent" } });
    expect(client.frames.all.filter((frame) => frame.includes("stale-"))).toEqual([]);
    const history = await push(channel, "history", { conversationId: id });
    const words = (history.response.messages as Entry[]).filter((entry) => entry.type === "text").map((entry) => text(entry.content));
    expect(words).toEqual(["live"]);
  });
});

describeServer("leaving", () => {
  it("is answered, closes the channel, and stops its pushes", async () => {
    const [ada, bob] = await Promise.all([somebody("Ada"), somebody("Bob")]);
    const { id } = await direct(ada, bob);
    const bobs = connect(bob);
    const { channel, closed } = await inbox(bobs, bob);
    await new Promise<void>((resolve, reject) => {
      channel.leave().receive("ok", () => resolve()).receive("timeout", () => reject(new Error("no answer")));
    });
    expect(closed.all.length).toBe(1);
    const before = bobs.frames.all.length;
    const adas = await inbox(connect(ada), ada);
    expect((await push(adas.channel, "send_message", message(id, "to nobody"))).status).toBe("ok");
    await sleep(300);
    // The client takes its leave at once; the server's reply and close follow, and nothing else.
    const later = bobs.frames.all.slice(before).map((frame) => JSON.parse(frame) as unknown[]);
    expect(later.map((frame) => frame[3])).toEqual(["phx_reply", "phx_close"]);
    expect(later[0]?.[4]).toEqual({ status: "ok", response: {} });
    // The topic can be joined again on the same socket.
    const again = await inbox(bobs, bob);
    expect(again.pushes.all.some(([event]) => event === "new_message")).toBe(true);
  });
});

describeServer("devices", () => {
  it("of one person each have an inbox", async () => {
    const phone = await somebody("Ada");
    const laptop = await device(phone.name);
    expect(laptop.userId).toBe(phone.userId);
    expect(laptop.deviceId).not.toBe(phone.deviceId);
    const one = await inbox(connect(phone), phone);
    const other = await inbox(connect(laptop), laptop);
    expect(one.reply.response.deviceId).toBe(phone.deviceId);
    expect(other.reply.response.deviceId).toBe(laptop.deviceId);
  });

  it("have one socket: a newer one replaces the older with 4409", async () => {
    const ada = await somebody("Ada");
    const older = connect(ada, { reconnectAfterMs: () => 60_000 });
    await inbox(older, ada);
    const newer = connect(ada);
    await inbox(newer, ada);
    expect(await older.closes.first(() => true, "the close of the older socket")).toBe(4409);
    expect(newer.closes.all).toEqual([]);
  });
});

describeServer("version 1", () => {
  /** What phoenix.js 1.2 sent: objects without a join_ref. */
  const v1 = {
    vsn: "1.0.0",
    encode: (frame: Record<string, unknown>, done: (encoded: string) => void) => {
      const { topic, event, payload, ref } = frame;
      done(JSON.stringify({ topic, event, payload, ref }));
    },
    decode: (raw: string, done: (decoded: unknown) => void) => done({ join_ref: null, ...(JSON.parse(raw) as object) }),
  };

  it("speaks objects: join, send, receive, leave", async () => {
    const [ada, bob] = await Promise.all([somebody("Ada"), somebody("Bob")]);
    const { id } = await direct(ada, bob);
    const adas = connect(ada, v1);
    const mine = await inbox(adas, ada);
    const his = await inbox(connect(bob, v1), bob);
    const sent = await push(mine.channel, "send_message", message(id, "version 1"));
    expect(sent).toMatchObject({ status: "ok", response: { status: "sent" } });
    const [, got] = await his.pushes.first(([event, body]) => event === "new_message" && (body as Entry).seq === sent.response.seq, "it");
    expect(text((got as Entry).content)).toBe("version 1");
    for (const frame of adas.frames.all) {
      expect(Object.keys(JSON.parse(frame) as object).sort()).toEqual(["event", "payload", "ref", "topic"]);
    }
    await new Promise<void>((resolve, reject) => {
      mine.channel.leave().receive("ok", () => resolve()).receive("timeout", () => reject(new Error("no answer")));
    });
  });
});
