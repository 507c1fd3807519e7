/** Clients of a server in memory, and waiting for what their stores come to. */
import { FakeServer } from "@whispr/testing";
import { onTestFinished, vi } from "vitest";
import { createClient, memoryStorage, plainEngine, type ClientOptions, type ConversationStore, type MessageItem, type Store, type WhisprClient } from "../index";

export const ADA = "01900000-0000-7000-8000-0000000000aa";
export const BOB = "01900000-0000-7000-8000-0000000000bb";
/** The server's longest promise is 10 s, and the fake one is quick. */
const WAIT = { timeout: 4_000, interval: 2 };

export function until<T>(store: Store<T>, fits: (snapshot: T) => boolean): Promise<T> {
  return vi.waitFor(() => {
    const snapshot = store.getSnapshot();
    if (!fits(snapshot)) throw new Error(`not yet: ${JSON.stringify(snapshot).slice(0, 2_000)}`);
    return snapshot;
  }, WAIT);
}

export function clientOf(server: FakeServer, userId: string, options: Partial<ClientOptions> = {}): WhisprClient {
  const made = createClient({ ...server.options(userId), storage: memoryStorage(), engine: plainEngine(), ...options });
  onTestFinished(() => made.close());
  return made;
}

export async function online(server: FakeServer, userId: string, options: Partial<ClientOptions> = {}): Promise<WhisprClient> {
  const made = clientOf(server, userId, options);
  await made.connect();
  await until(made.connection, ({ guarantee }) => guarantee === "live");
  return made;
}

export function open(client: WhisprClient, id: string): ConversationStore {
  const conversation = client.conversation(id);
  onTestFinished(conversation.open());
  return conversation;
}

export function messages(store: ConversationStore): MessageItem[] {
  return store.getSnapshot().items.filter((item): item is MessageItem => item.kind === "message");
}

export function texts(store: ConversationStore): (string | null)[] {
  return messages(store).map((item) => item.text);
}

export function untilTexts(store: ConversationStore, expected: readonly (string | null)[]): Promise<unknown> {
  return until(store, () => JSON.stringify(texts(store)) === JSON.stringify(expected));
}

/** Ada and Bob, online, in a conversation that both have open. */
export async function pair() {
  const server = new FakeServer();
  const { id } = server.conversation([ADA, BOB]);
  const [ada, bob] = await Promise.all([online(server, ADA), online(server, BOB)]);
  return { server, id, ada, bob, mine: open(ada, id), his: open(bob, id) };
}

/** The clientRandoms under which something was sent, try by try. */
export function triesOf(server: FakeServer): unknown[] {
  return server.requests.filter(([name]) => name === "send_message").map(([, payload]) => (payload as { clientRandom: number }).clientRandom);
}
