/** Clients of people to be, on a running server, and the means to wait for what they come to. */
import { createClient, memoryStorage, type ClientOptions, type ClientStorage, type ConversationStore, type MessageItem, type Store, type WhisprClient } from "@whispr/client";
import { encryptionEngine } from "@whispr/client/encryption";
import { describe, onTestFinished } from "vitest";
import { WebSocket } from "ws";

const URL_OF_SERVER = process.env["WHISPR_TEST_URL"] ?? "";
const CONTROL = process.env["WHISPR_TEST_CONTROL"];
/** The server promises an answer within 10 s. In ms. */
const DEADLINE_MS = 15_000;

/** Tests of a running server. Without one they are skipped, which `announce.ts` says aloud. */
export const describeServer = describe.skipIf(URL_OF_SERVER === "");
/** Tests that stop and start the server. */
export const describeRestart = describe.skipIf(URL_OF_SERVER === "" || CONTROL === undefined);

export interface Person {
  readonly name: string;
  readonly token: string;
  readonly userId: string;
  readonly deviceId: string;
}

/** A person nobody has been before, or another device of one. */
export async function person(name: string, isKnown = false): Promise<Person> {
  const full = isKnown ? name : `${name} ${crypto.randomUUID().slice(0, 8)}`;
  const response = await fetch(`${URL_OF_SERVER}/api/v1/dev/tokens`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name: full }),
  });
  if (!response.ok) throw new Error(`dev/tokens answered ${response.status}: ${await response.text()}`);
  return { name: full, ...((await response.json()) as Omit<Person, "name">) };
}

/** A WebSocket that a test can cut and keep cut, as a tunnel does. */
export class Network {
  private isDown = false;
  private readonly sockets = new Set<WebSocket>();
  readonly transport: unknown;

  constructor() {
    const network = this;
    this.transport = class extends WebSocket {
      constructor(address: string | URL, protocols?: string | string[]) {
        super(network.isDown ? "ws://127.0.0.1:9/" : address, protocols, { perMessageDeflate: false });
        network.sockets.add(this);
        this.addEventListener("close", () => network.sockets.delete(this));
        this.addEventListener("error", () => undefined);
      }
    };
  }

  readonly fetch: typeof fetch = (input, init) => (this.isDown ? Promise.reject(new TypeError("network down")) : fetch(input, init));

  down(): void {
    this.isDown = true;
    for (const socket of this.sockets) socket.terminate();
  }

  up(): void {
    this.isDown = false;
  }
}

export interface Setup {
  readonly storage?: ClientStorage;
  readonly network?: Network;
  readonly encrypted?: boolean;
  readonly options?: Partial<ClientOptions>;
}

/** A connected client; it is closed when the test ends. */
export async function client(who: Person, { storage, network = new Network(), encrypted = false, options = {} }: Setup = {}): Promise<WhisprClient> {
  const made = createClient({
    url: URL_OF_SERVER,
    getToken: () => who.token,
    storage: storage ?? memoryStorage(),
    fetch: network.fetch,
    socket: { transport: network.transport, reconnectAfterMs: () => 100 },
    ...(encrypted ? { engine: encryptionEngine() } : {}),
    ...options,
  });
  onTestFinished(() => made.close());
  await made.connect();
  return made;
}

export async function online(who: Person, setup: Setup = {}): Promise<WhisprClient> {
  const made = await client(who, setup);
  await until(made.connection, ({ guarantee }) => guarantee === "live", `${who.name} to be online`);
  return made;
}

/** A new conversation of these people. */
export async function together(one: WhisprClient, others: readonly Person[]): Promise<string> {
  const type = others.length === 1 ? "direct" : "group";
  return (await one.createConversation({ type, members: others.map((other) => other.userId) })).id;
}

/** Wait until a store's snapshot is as it should be. */
export async function until<T>(store: Store<T>, fits: (snapshot: T) => boolean, what: string, ms = DEADLINE_MS): Promise<T> {
  return new Promise((resolve, reject) => {
    const look = (): boolean => {
      const snapshot = store.getSnapshot();
      if (!fits(snapshot)) return false;
      clearTimeout(timer);
      end();
      resolve(snapshot);
      return true;
    };
    const timer = setTimeout(() => {
      end();
      reject(new Error(`Waited for ${what}; there was ${JSON.stringify(store.getSnapshot()).slice(0, 4_000)}`));
    }, ms);
    const end = store.subscribe(look);
    look();
  });
}

export function messages(conversation: ConversationStore): MessageItem[] {
  return conversation.getSnapshot().items.filter((item): item is MessageItem => item.kind === "message");
}

export function texts(conversation: ConversationStore): (string | null)[] {
  return messages(conversation).map((item) => item.text);
}

/** Open a conversation for the time of the test. */
export function opened(of: WhisprClient, id: string): ConversationStore {
  const conversation = of.conversation(id);
  onTestFinished(conversation.open());
  return conversation;
}

export function untilTexts(conversation: ConversationStore, expected: readonly string[], ms?: number): Promise<unknown> {
  return until(conversation, () => JSON.stringify(texts(conversation)) === JSON.stringify(expected), `the texts ${expected}`, ms);
}

/** Ask the side that runs the server to do something with it: `kill` (SIGKILL) or `start`. */
export async function control(what: "kill" | "start"): Promise<void> {
  const response = await fetch(`${CONTROL}/${what}`, { method: "POST", signal: AbortSignal.timeout(60_000) });
  if (!response.ok) throw new Error(`${what} failed: ${await response.text()}`);
}
