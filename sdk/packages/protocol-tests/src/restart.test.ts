/** The server dies and comes back while the client waits: nothing confirmed is lost, nothing is doubled. */
import { expect, it } from "vitest";
import {
  connect, control, describeRestart, direct, entries, inbox, message, push, rest, sleep, somebody, text, type Entry, type Joined,
} from "./harness";

/** Send until there is an answer, always with the same clientRandom: what a client's outbox does. */
async function sendSurely(joined: Joined, one: Record<string, unknown>): Promise<Record<string, unknown>> {
  for (;;) {
    const reply = await Promise.race([push(joined.channel, "send_message", one).catch(() => null), sleep(1_500).then(() => null)]);
    if (reply?.status === "ok") return reply.response as Record<string, unknown>;
  }
}

describeRestart("a killed server", () => {
  it(
    "is found again by the client, which rejoins with its cursors and misses nothing",
    async () => {
      const [ada, bob] = await Promise.all([somebody("Ada"), somebody("Bob")]);
      const { id } = await direct(ada, bob);
      const held = new Map<string, number>();
      const adas = connect(ada);
      const bobs = connect(bob);
      const mine = await inbox(adas, ada);
      const his = await inbox(bobs, bob, () => ({ cursors: Object.fromEntries(held) }));
      his.channel.on("new_message", (entry: Entry) => {
        held.set(entry.conversationId, Math.max(entry.seq, held.get(entry.conversationId) ?? 0));
      });
      for (const entry of entries(his)) held.set(id, entry.seq);
      const before = await push(mine.channel, "send_message", message(id, "before"));
      expect(before.response.status).toBe("sent");
      await his.pushes.until(() => entries(his).some((entry) => text(entry.content) === "before"), "the first message");

      await control("kill");
      await bobs.closes.until((all) => all.length > 0, "the loss of the connection");
      await control("start");
      await Promise.all([his, mine].map((joined) => joined.joins.until((all) => all.length >= 2, "the rejoin")));
      expect(his.joins.all.every((reply) => reply.status === "ok")).toBe(true);

      const after = await push(mine.channel, "send_message", message(id, "after"));
      expect(after.response).toMatchObject({ status: "sent", seq: before.response.seq + 1 });
      await his.pushes.until(() => entries(his).some((entry) => text(entry.content) === "after"), "the second message");
      expect(entries(his).filter((entry) => entry.type === "text").map((entry) => text(entry.content))).toEqual(["before", "after"]);
    },
    90_000,
  );

  it(
    "under load holds everything it confirmed, once and in order",
    async () => {
      const [ada, bob] = await Promise.all([somebody("Ada"), somebody("Bob")]);
      const { id, lastSeq } = await direct(ada, bob);
      const mine = await inbox(connect(ada), ada);
      const his = await inbox(connect(bob), bob, () => ({ cursors: {} }));
      const acknowledge = setInterval(() => {
        const newest = Math.max(0, ...entries(his).map((entry) => entry.seq));
        if (newest > 0 && his.channel.state === "joined") his.channel.push("message_received", { conversationId: id, upTo: newest });
      }, 100);
      const confirmed: { words: string; seq: number; messageId: string }[] = [];
      let stop = false;
      const sender = (async () => {
        for (let number = 1; !stop; number += 1) {
          const words = `number ${number}`;
          const reply = await sendSurely(mine, message(id, words));
          confirmed.push({ words, seq: reply["seq"] as number, messageId: reply["messageId"] as string });
        }
      })();
      try {
        for (let round = 0; round < 2; round += 1) {
          await sleep(500);
          await control("kill");
          await control("start");
          await mine.joins.until((all) => all.length >= round + 2, "the rejoin");
        }
        await sleep(500);
      } finally {
        stop = true;
        await sender;
      }
      expect(confirmed.length).toBeGreaterThan(10);
      // One at a time was sent, so the places are 1, 2, 3 … after the conversation's own entries.
      expect(confirmed.map((one) => one.seq)).toEqual(confirmed.map((_, index) => lastSeq + 1 + index));
      const stored: Entry[] = [];
      for (let after = lastSeq; ; ) {
        const page = await rest("GET", `conversations/${id}/messages?after=${after}&limit=200`, bob);
        const messages = (page.body.messages as Entry[]).sort((one, other) => one.seq - other.seq);
        stored.push(...messages);
        if (!page.body.hasMore) break;
        after = (messages.at(-1) as Entry).seq;
      }
      expect(stored.map((entry) => ({ words: text(entry.content), seq: entry.seq, messageId: entry.messageId }))).toEqual(confirmed);
      const last = (confirmed.at(-1) as { seq: number }).seq;
      await his.pushes.until(() => entries(his).some((entry) => entry.seq === last), "the last message");
      clearInterval(acknowledge);
      // Bob may have got an entry twice, around a rejoin, but always as the same one and in order of first sight.
      const seen = new Map<number, string>();
      for (const entry of entries(his)) {
        expect(seen.get(entry.seq) ?? entry.messageId).toBe(entry.messageId);
        seen.set(entry.seq, entry.messageId);
      }
      expect([...seen.keys()]).toEqual(Array.from({ length: last }, (_, index) => index + 1));
    },
    120_000,
  );
});
