import { createClient, memoryStorage, type WhisprClient } from "@whispr/client";
import { FakeServer } from "@whispr/testing";
import { expect, it, onTestFinished } from "vitest";
import { ADA, BOB, messages, open, until, untilTexts } from "../src/test/clients";
import { sharedKeyEngine } from "./shared-key-engine";

const newKey = (): Promise<CryptoKey> => crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);

async function member(server: FakeServer, userId: string, key: CryptoKey): Promise<WhisprClient> {
  const made = createClient({ ...server.options(userId), storage: memoryStorage(), engine: sharedKeyEngine(key) });
  onTestFinished(() => made.close());
  await made.connect();
  return made;
}

it("an engine of one's own takes the place of the default one", async () => {
  const server = new FakeServer();
  const { id } = server.conversation([ADA, BOB]);
  const key = await newKey();
  const [ada, bob] = [await member(server, ADA, key), await member(server, BOB, key)];
  const other = await member(server, BOB, await newKey());
  expect(ada.security.getSnapshot()).toMatchObject({ encrypted: true, warnings: [] });
  const [his, unreadable] = [open(bob, id), open(other, id)];

  await ada.conversation(id).send("for the team alone").stored;

  await untilTexts(his, ["for the team alone"]);
  expect(messages(his)[0]?.security).toBe("unsigned");
  await until(unreadable, () => messages(unreadable)[0]?.security === "undecryptable");
  const stored = [...server.conversations.values()].flatMap(({ entries }) => entries.map(({ content }) => atob(content)));
  expect(stored.join()).not.toContain("for the team");
});
