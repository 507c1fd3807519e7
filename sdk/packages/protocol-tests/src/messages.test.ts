/** Messages, receipts and catch-up through the unmodified client. */
import { expect, it } from "vitest";
import {
  base64, connect, describeServer, device, direct, entries, entriesUntil, envelope, inbox, join, message, nextRandom, openEnvelope, push,
  rest, sleep, somebody, text, type Device, type Entry, type Joined,
} from "./harness";

interface Pair {
  ada: Device;
  bob: Device;
  id: string;
  /** The seq of the first message: what the conversation's creation wrote comes before it. */
  next: number;
}

async function pair(): Promise<Pair> {
  const [ada, bob] = await Promise.all([somebody("Ada"), somebody("Bob")]);
  const { id, lastSeq } = await direct(ada, bob);
  return { ada, bob, id, next: lastSeq + 1 };
}

/** Send so many messages `prefix 1` … in order; the replies. */
async function sendMany(from: Joined, id: string, prefix: string, count: number): Promise<Record<string, unknown>[]> {
  const pushes = Array.from({ length: count }, (_, index) => push(from.channel, "send_message", message(id, `${prefix} ${index + 1}`)));
  const replies = await Promise.all(pushes);
  for (const reply of replies) expect(reply).toMatchObject({ status: "ok", response: { status: "sent" } });
  return replies.map((reply) => reply.response as Record<string, unknown>);
}

function words(list: Entry[]): string[] {
  return list.filter((entry) => entry.type === "text").map((entry) => text(entry.content));
}

function about(joined: Joined, event: string): Record<string, unknown>[] {
  return joined.pushes.all.filter(([name]) => name === event).map(([, payload]) => payload as Record<string, unknown>);
}

describeServer("a message", () => {
  it("is answered with its place, and arrives whole", async () => {
    const { ada, bob, id, next } = await pair();
    const mine = await inbox(connect(ada), ada);
    const his = await inbox(connect(bob), bob);
    const clientRandom = nextRandom();
    const reply = await push(mine.channel, "send_message", {
      conversationId: id, type: "text", content: base64("Grüße 👋"), clientRandom, metadata: { a: [1, { b: null }] },
    });
    expect(reply).toEqual({
      status: "ok",
      response: { status: "sent", messageId: expect.any(String), conversationId: id, seq: next, sentAt: expect.any(String) },
    });
    const [, got] = await his.pushes.first(([event, body]) => event === "new_message" && (body as Entry).seq === next, "the message");
    expect(got).toEqual({
      messageId: reply.response.messageId,
      conversationId: id,
      seq: next,
      senderId: ada.userId,
      senderDeviceId: ada.deviceId,
      type: "text",
      content: base64("Grüße 👋"),
      metadata: { a: [1, { b: null }] },
      replyTo: null,
      target: null,
      mediaId: null,
      clientRandom,
      sentAt: reply.response.sentAt,
      editedAt: null,
      expiresAt: null,
      signature: null,
    });
    // The sending socket has its reply and is not told again.
    await sleep(200);
    expect(entries(mine).filter((entry) => entry.seq === next)).toEqual([]);
  });

  it("sent again is the same message, over the socket and over REST; its key is refused to another", async () => {
    const { ada, bob, id } = await pair();
    const mine = await inbox(connect(ada), ada);
    const his = await inbox(connect(bob), bob);
    const one = message(id, "once");
    const first = await push(mine.channel, "send_message", one);
    const { messageId, seq, sentAt } = first.response;
    const again = await push(mine.channel, "send_message", one);
    expect(again).toEqual({ status: "ok", response: { status: "duplicate", messageId, conversationId: id, seq, sentAt } });
    const overRest = await rest("POST", "messages", ada, one);
    expect(overRest).toEqual({ status: 200, body: { status: "duplicate", messageId, conversationId: id, seq, sentAt } });
    const other = await push(mine.channel, "send_message", { ...one, content: base64("twice") });
    expect(other).toMatchObject({ status: "error", response: { reason: "client_random_reused" } });
    await sleep(200);
    expect(words(entries(his))).toEqual(["once"]);
  });

  it("keeps its order behind the others of its socket", async () => {
    const { ada, bob, id, next } = await pair();
    const mine = await inbox(connect(ada), ada);
    const his = await inbox(connect(bob), bob);
    const replies = await sendMany(mine, id, "number", 50);
    expect(replies.map((reply) => reply["seq"])).toEqual(Array.from({ length: 50 }, (_, index) => next + index));
    await his.pushes.until(() => words(entries(his)).length >= 50, "50 messages");
    expect(words(entries(his))).toEqual(Array.from({ length: 50 }, (_, index) => `number ${index + 1}`));
    const times = entries(his).map((entry) => entry.sentAt);
    expect([...new Set(times)].sort()).toEqual(times);
  });

  it("of a stranger is refused as if there were no such conversation", async () => {
    const { id } = await pair();
    const eve = await somebody("Eve");
    const { channel } = await inbox(connect(eve), eve);
    const foreign = await push(channel, "send_message", message(id, "let me in"));
    const missing = await push(channel, "send_message", message(crypto.randomUUID(), "let me in"));
    expect(foreign).toMatchObject({ status: "error", response: { reason: "not_found" } });
    expect(missing).toEqual(foreign);
  });

  it.each<[string, Record<string, unknown>, string]>([
    ["no content", { content: undefined }, "bad_request"],
    ["content that is not base64", { content: "%%%" }, "bad_request"],
    ["content over 64 KiB", { content: "A".repeat(4 * 22_000) }, "too_large"],
    ["a clientRandom of 2^53", { clientRandom: 2 ** 53 }, "bad_request"],
    ["an unknown type", { type: "shout" }, "bad_request"],
    ["a type that only the server writes", { type: "system" }, "forbidden"],
    ["a conversation that is no UUID", { conversationId: "x" }, "bad_request"],
    ["a reply to nothing", { replyTo: crypto.randomUUID() }, "invalid_target"],
  ])("with %s is refused and stores nothing", async (_, change, reason) => {
    const { ada, id, next } = await pair();
    const { channel } = await inbox(connect(ada), ada);
    const reply = await push(channel, "send_message", { ...message(id, "bad"), ...change });
    expect(reply).toMatchObject({ status: "error", response: { reason } });
    const good = await push(channel, "send_message", message(id, "good"));
    expect(good.response.seq).toBe(next);
  });
});

describeServer("receipts", () => {
  it("tell the sender of delivery and of reading, cumulatively", async () => {
    const { ada, bob, id, next } = await pair();
    const mine = await inbox(connect(ada), ada);
    const his = await inbox(connect(bob), bob);
    const replies = await sendMany(mine, id, "message", 3);
    await his.pushes.until(() => words(entries(his)).length === 3, "three messages");
    expect(await push(his.channel, "message_received", { conversationId: id, upTo: next + 1 })).toEqual({ status: "ok", response: {} });
    await mine.pushes.first(([event]) => event === "delivery_status_update", "the delivery");
    const delivered = about(mine, "delivery_status_update");
    expect(delivered.at(-1)).toEqual({
      conversationId: id,
      recipientId: bob.userId,
      status: "delivered",
      messageIds: replies.slice(0, 2).map((reply) => reply["messageId"]),
      upTo: next + 1,
      timestamp: expect.any(String),
    });
    expect(about(mine, "read_status_update")).toEqual([]);
    expect(await push(his.channel, "message_read", { acks: [{ conversationId: id, upTo: next + 2 }] })).toEqual({ status: "ok", response: {} });
    await mine.pushes.first(([event]) => event === "read_status_update", "the reading");
    expect(about(mine, "read_status_update").at(-1)).toMatchObject({ conversationId: id, recipientId: bob.userId, status: "read", upTo: next + 2 });
    const receipts = await rest("GET", `conversations/${id}/receipts`, ada);
    expect(receipts.body.receipts).toContainEqual(expect.objectContaining({ userId: bob.userId, deliveredSeq: next + 2, readSeq: next + 2 }));
  });

  it("go by message too, and never backwards", async () => {
    const { ada, bob, id, next } = await pair();
    const mine = await inbox(connect(ada), ada);
    const his = await inbox(connect(bob), bob);
    const replies = await sendMany(mine, id, "message", 2);
    expect((await push(his.channel, "message_read", { messageIds: [replies[1]?.["messageId"]] })).status).toBe("ok");
    await mine.pushes.first(([event]) => event === "read_status_update", "the reading");
    expect((await push(his.channel, "message_received", { conversationId: id, upTo: next })).status).toBe("ok");
    const receipts = await rest("GET", `conversations/${id}/receipts`, ada);
    expect(receipts.body.receipts).toContainEqual(expect.objectContaining({ userId: bob.userId, deliveredSeq: next + 1, readSeq: next + 1 }));
  });
});

describeServer("several devices", () => {
  it("of the sender learn what the sending one wrote, with its clientRandom", async () => {
    const { ada, id } = await pair();
    const laptop = await device(ada.name);
    const phone = await inbox(connect(ada), ada);
    const desk = await inbox(connect(laptop), laptop);
    const one = message(id, "from the phone");
    const reply = await push(phone.channel, "send_message", one);
    const [, got] = await desk.pushes.first(([event, body]) => event === "new_message" && (body as Entry).seq === reply.response.seq, "it");
    expect(got).toMatchObject({ clientRandom: one["clientRandom"], senderDeviceId: ada.deviceId, messageId: reply.response.messageId });
  });

  it("of the recipient each get every message", async () => {
    const { ada, bob, id } = await pair();
    const laptop = await device(bob.name);
    const mine = await inbox(connect(ada), ada);
    const phone = await inbox(connect(bob), bob);
    const desk = await inbox(connect(laptop), laptop);
    await sendMany(mine, id, "message", 5);
    for (const joined of [phone, desk]) {
      await joined.pushes.until(() => words(entries(joined)).length === 5, "five messages");
      expect(words(entries(joined))).toEqual([1, 2, 3, 4, 5].map((number) => `message ${number}`));
    }
    // What one of them acknowledges, the other still gets when it comes back.
    expect((await push(phone.channel, "message_received", { conversationId: id, upTo: entries(phone).at(-1)?.seq })).status).toBe("ok");
    const again = await inbox(connect(laptop), laptop);
    expect(words(entries(again))).toEqual([1, 2, 3, 4, 5].map((number) => `message ${number}`));
  });
});

describeServer("coming back", () => {
  it("brings exactly what the cursor lacks, in order, and then sync_complete", async () => {
    const { ada, bob, id, next } = await pair();
    const mine = await inbox(connect(ada), ada);
    await sendMany(mine, id, "message", 10);
    const his = await inbox(connect(bob), bob, { cursors: { [id]: next + 3 } });
    expect(his.reply.response.conversations).toBe(1);
    expect(his.pushes.all.map(([event]) => event)).toEqual([...Array(6).fill("new_message"), "sync_complete"]);
    expect(entries(his).map((entry) => entry.seq)).toEqual([4, 5, 6, 7, 8, 9].map((offset) => next + offset));
    expect(about(his, "sync_complete")).toEqual([{ conversations: 1, messages: 6 }]);
  });

  it("without a cursor goes on from what this device acknowledged", async () => {
    const { ada, bob, id, next } = await pair();
    const mine = await inbox(connect(ada), ada);
    await sendMany(mine, id, "message", 4);
    const client = connect(bob);
    const his = await inbox(client, bob);
    expect(words(entries(his)).length).toBe(4);
    expect((await push(his.channel, "message_received", { conversationId: id, upTo: next + 2 })).status).toBe("ok");
    const again = await inbox(connect(bob), bob);
    expect(entries(again).map((entry) => entry.seq)).toEqual([next + 3]);
  });

  it("with nothing missing is only sync_complete", async () => {
    const { bob, id, next } = await pair();
    const his = await inbox(connect(bob), bob, { cursors: { [id]: next - 1 } });
    expect(his.pushes.all).toEqual([["sync_complete", { conversations: 1, messages: 0 }]]);
  });

  it("with a cursor past the head asks for a fresh start", async () => {
    const { bob, id, next } = await pair();
    const his = await join(connect(bob), `user:${bob.userId}`, { cursors: { [id]: next + 1_000 } });
    const [, body] = await his.pushes.first(([event]) => event === "resync_required", "resync_required");
    expect(body).toMatchObject({ conversationId: id, reason: expect.any(String) });
  });

  it("has no hole and no repeat at the seam with live traffic", async () => {
    const { ada, bob, id } = await pair();
    const mine = await inbox(connect(ada), ada);
    await sendMany(mine, id, "before", 100);
    const sending = sendMany(mine, id, "during", 100);
    const his = await join(connect(bob), `user:${bob.userId}`);
    await sending;
    await his.pushes.until(() => {
      const seqs = entries(his).map((entry) => entry.seq);
      if (seqs.length > 0) his.channel.push("message_received", { conversationId: id, upTo: Math.max(...seqs) });
      return words(entries(his)).length >= 200;
    }, "200 messages");
    await sleep(200);
    const seqs = entries(his).map((entry) => entry.seq);
    expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, index) => index + 1));
    expect(words(entries(his)).length).toBe(200);
  });
});

describeServer("history", () => {
  it("pages backwards and forwards by seq, as REST does", async () => {
    const { ada, id, next } = await pair();
    const { channel } = await inbox(connect(ada), ada);
    const mine = { channel } as Joined;
    await sendMany(mine, id, "message", 7);
    const last = await push(channel, "history", { conversationId: id, limit: 3 });
    const seqs = (answer: { messages: Entry[] }): number[] => answer.messages.map((entry) => entry.seq).sort((one, other) => one - other);
    expect(seqs(last.response)).toEqual([next + 4, next + 5, next + 6]);
    expect(last.response.hasMore).toBe(true);
    const before = await push(channel, "history", { conversationId: id, before: next + 4, limit: 3 });
    expect(seqs(before.response)).toEqual([next + 1, next + 2, next + 3]);
    const after = await push(channel, "history", { conversationId: id, after: next + 4, limit: 50 });
    expect(seqs(after.response)).toEqual([next + 5, next + 6]);
    expect(after.response.hasMore).toBe(false);
    for (const query of ["limit=3", `limit=3&before=${next + 4}`, `limit=50&after=${next + 4}`]) {
      const answer = await rest("GET", `conversations/${id}/messages?${query}`, ada);
      const overSocket = { "limit=3": last, [`limit=3&before=${next + 4}`]: before }[query] ?? after;
      expect(answer).toEqual({ status: 200, body: overSocket.response });
    }
    const both = await push(channel, "history", { conversationId: id, before: 5, after: 1 });
    expect(both).toMatchObject({ status: "error", response: { reason: "bad_request" } });
  });
});

describeServer("a conversation's own topic", () => {
  it("needs no conversationId, and brings what the inbox brings", async () => {
    const { ada, bob, id, next } = await pair();
    const mine = await join(connect(ada), `conversation:${id}`, { cursors: { [id]: next - 1 } });
    expect(mine.reply.status).toBe("ok");
    const his = await join(connect(bob), `conversation:${id}`, { cursors: { [id]: next - 1 } });
    const { conversationId: _, ...withoutId } = message(id, "on its topic");
    expect(await push(mine.channel, "send_message", withoutId)).toMatchObject({ status: "ok", response: { status: "sent", seq: next } });
    expect(words(await entriesUntil(his, 1))).toEqual(["on its topic"]);
    expect(await push(his.channel, "message_read", { upTo: next })).toEqual({ status: "ok", response: {} });
    await mine.pushes.first(([event]) => event === "read_status_update", "the reading");
  });
});

describeServer("binary frames", () => {
  const bytes = Uint8Array.from({ length: 300 }, (_, index) => index % 256);

  it("carry a send: length, header, ciphertext", async () => {
    const { ada, bob, id, next } = await pair();
    const mine = await inbox(connect(ada), ada);
    const his = await inbox(connect(bob), bob);
    const { content: _, ...header } = message(id, "");
    const reply = await push(mine.channel, "send_message", envelope(header, bytes));
    expect(reply).toMatchObject({ status: "ok", response: { status: "sent", seq: next } });
    const [, got] = await his.pushes.first(([event, body]) => event === "new_message" && (body as Entry).seq === next, "the message");
    expect((got as Entry).content).toBe(Buffer.from(bytes).toString("base64"));
    const again = await push(mine.channel, "send_message", { ...header, content: Buffer.from(bytes).toString("base64") });
    expect(again).toMatchObject({ status: "ok", response: { status: "duplicate", seq: next } });
  });

  it("carry messages to whoever joined with binary, the header without content", async () => {
    const { ada, bob, id, next } = await pair();
    const mine = await inbox(connect(ada), ada);
    const client = connect(bob);
    const his = await inbox(client, bob, { cursors: { [id]: next - 1 }, binary: true });
    const { content: _, ...header } = message(id, "");
    const reply = await push(mine.channel, "send_message", { ...header, content: Buffer.from(bytes).toString("base64") });
    const [, payload] = await his.pushes.first(([event]) => event === "new_message", "the message");
    expect(payload).toBeInstanceOf(ArrayBuffer);
    const got = openEnvelope(payload as ArrayBuffer);
    expect(Buffer.from(got.content).equals(Buffer.from(bytes))).toBe(true);
    expect(got.header).toEqual({
      messageId: reply.response.messageId,
      conversationId: id,
      seq: next,
      senderId: ada.userId,
      senderDeviceId: ada.deviceId,
      type: "text",
      metadata: {},
      replyTo: null,
      target: null,
      mediaId: null,
      clientRandom: header["clientRandom"],
      sentAt: reply.response.sentAt,
      editedAt: null,
      expiresAt: null,
      signature: null,
    });
    expect(client.binaryFrames.all.length).toBe(1);
    // Catch-up is binary too.
    const again = await inbox(connect(bob), bob, { cursors: { [id]: next - 1 }, binary: true });
    const caughtUp = again.pushes.all.filter(([event]) => event === "new_message").map(([, body]) => openEnvelope(body as ArrayBuffer));
    expect(caughtUp.map((one) => one.header["seq"])).toEqual([next]);
    expect(Buffer.from((caughtUp[0] as { content: Uint8Array }).content).equals(Buffer.from(bytes))).toBe(true);
  });

  it("with a broken envelope are refused, and the topic goes on", async () => {
    const { ada, id } = await pair();
    const { channel } = await inbox(connect(ada), ada);
    expect(await push(channel, "send_message", new Uint8Array([0, 0, 1, 0, 123]).buffer)).toMatchObject({
      status: "error",
      response: { reason: "bad_request" },
    });
    expect((await push(channel, "send_message", message(id, "still here"))).status).toBe("ok");
  });
});
