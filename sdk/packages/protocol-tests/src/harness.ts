/** The phoenix client on a Node transport, people to be, and the means to wait for what the server says. */
import { Socket, type Channel } from "phoenix";
import { describe, onTestFinished } from "vitest";
import { WebSocket, type MessageEvent } from "ws";

const URL_OF_SERVER = process.env["WHISPR_TEST_URL"];
const CONTROL = process.env["WHISPR_TEST_CONTROL"];
/** As the server promises for any request (docs/protocol.md, rules, 8). In ms. */
const DEADLINE_MS = 10_000;

/** Tests of a running server. Without one they are skipped, which `announce.ts` says aloud. */
export const describeServer = describe.skipIf(URL_OF_SERVER === undefined);
/** Tests that stop and start the server. */
export const describeRestart = describe.skipIf(URL_OF_SERVER === undefined || CONTROL === undefined);

export interface Device {
  name: string;
  token: string;
  userId: string;
  deviceId: string;
}

export interface Entry {
  messageId: string;
  conversationId: string;
  seq: number;
  senderId: string;
  senderDeviceId: string | null;
  type: string;
  content: string;
  metadata: Record<string, unknown>;
  clientRandom: number | null;
  sentAt: string;
}

export interface Reply {
  status: "ok" | "error";
  // A response is whatever the test expects it to be.
  response: any;
}

export interface Rest {
  status: number;
  body: any;
}

/** A request to the REST side. */
export async function rest(method: string, path: string, device: Device | null, body?: object): Promise<Rest> {
  const response = await fetch(`${URL_OF_SERVER}/api/v1/${path}`, {
    method,
    headers: {
      "Content-Type": "application/json",
      ...(device === null ? {} : { Authorization: `Bearer ${device.token}` }),
    },
    body: body === undefined ? null : JSON.stringify(body),
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? null : JSON.parse(text) };
}

/** A person nobody has been before. */
export function somebody(name: string): Promise<Device> {
  return device(`${name} ${crypto.randomUUID().slice(0, 8)}`);
}

/** A new device of the person of this name. */
export async function device(name: string): Promise<Device> {
  const answer = await rest("POST", "dev/tokens", null, { name });
  if (answer.status >= 300) throw new Error(`dev/tokens answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  return { name, ...answer.body };
}

/** A new direct conversation. */
export async function direct(one: Device, other: Device): Promise<{ id: string; lastSeq: number }> {
  const answer = await rest("POST", "conversations", one, { type: "direct", members: [other.userId] });
  if (answer.status !== 201) throw new Error(`conversations answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

let drawn = Math.floor(Math.random() * 2 ** 40);

export function nextRandom(): number {
  drawn += 1;
  return drawn;
}

export function base64(text: string): string {
  return Buffer.from(text, "utf-8").toString("base64");
}

export function text(content: string): string {
  return Buffer.from(content, "base64").toString("utf-8");
}

/** A text message. */
export function message(conversationId: string, words: string, clientRandom = nextRandom()): Record<string, unknown> {
  return { conversationId, type: "text", content: base64(words), clientRandom };
}

/** What arrived, and a way to wait for more of it. */
export class Arrivals<T> {
  readonly all: T[] = [];
  private waiting: (() => void)[] = [];

  add(item: T): void {
    this.all.push(item);
    const waiting = this.waiting;
    this.waiting = [];
    for (const look of waiting) look();
  }

  /** Wait until `done` says so of all that arrived. */
  async until(done: (all: readonly T[]) => boolean, what: string): Promise<readonly T[]> {
    const deadline = Date.now() + DEADLINE_MS;
    while (!done(this.all)) {
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`Waited for ${what}; there was ${JSON.stringify(this.all)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return this.all;
  }

  async first(fits: (item: T) => boolean, what: string): Promise<T> {
    const all = await this.until((items) => items.some(fits), what);
    return all.find(fits) as T;
  }
}

export interface Client {
  socket: Socket;
  /** Every text frame that came in, as it was on the wire; and every binary one. */
  frames: Arrivals<string>;
  binaryFrames: Arrivals<ArrayBuffer>;
  errors: Arrivals<string>;
  closes: Arrivals<number>;
  opens: Arrivals<string>;
}

export interface ClientOptions {
  token?: string | null;
  vsn?: string;
  // The package's own types know neither the subprotocols nor these.
  [option: string]: unknown;
}

/** A phoenix Socket for this device; it is connected, and disconnected when the test ends. */
export function connect(who: Device | null, options: ClientOptions = {}): Client {
  const { token = who?.token ?? null, ...rest } = options;
  const frames = new Arrivals<string>();
  const binaryFrames = new Arrivals<ArrayBuffer>();
  const opens = new Arrivals<string>();
  const errors = new Arrivals<string>();
  const closes = new Arrivals<number>();

  /** Node's transport: it listens to the raw frames beside the client, and changes none. */
  class Transport extends WebSocket {
    constructor(address: string | URL, protocols?: string | string[]) {
      super(address, protocols, { perMessageDeflate: false });
      this.addEventListener("open", () => opens.add(this.protocol));
      this.addEventListener("message", (event: MessageEvent) => {
        if (typeof event.data === "string") frames.add(event.data);
        else binaryFrames.add(event.data as ArrayBuffer);
      });
      this.addEventListener("error", (event) => errors.add(event.message));
      this.addEventListener("close", (event) => closes.add(event.code));
    }
  }

  const socket = new Socket(`${URL_OF_SERVER}/socket`.replace(/^http/, "ws"), {
    transport: Transport,
    reconnectAfterMs: () => 100,
    rejoinAfterMs: () => 100,
    ...(token === null ? {} : { authToken: token }),
    ...rest,
  });
  onTestFinished(() => new Promise<void>((resolve) => socket.disconnect(() => resolve())));
  socket.connect();
  return { socket, frames, binaryFrames, errors, closes, opens };
}

export interface Joined {
  channel: Channel;
  /** The reply of the first join. */
  reply: Reply;
  /** What the server pushed, in order: [event, payload]. */
  pushes: Arrivals<[string, unknown]>;
  /** The replies of all joins, of rejoins too. */
  joins: Arrivals<Reply>;
  closed: Arrivals<string>;
}

export const PUSHED = [
  "new_message",
  "delivery_status_update",
  "read_status_update",
  "sync_complete",
  "resync_required",
  "typing",
  "service_state",
] as const;

/** Join a topic, and wait for the answer, whichever it is. */
export async function join(client: Client, topic: string, payload: object | (() => object) = {}): Promise<Joined> {
  const channel = client.socket.channel(topic, payload);
  const pushes = new Arrivals<[string, unknown]>();
  const joins = new Arrivals<Reply>();
  const closed = new Arrivals<string>();
  for (const event of PUSHED) channel.on(event, (body: unknown) => pushes.add([event, body]));
  channel.onClose(() => closed.add(topic));
  channel
    .join()
    .receive("ok", (response: unknown) => joins.add({ status: "ok", response }))
    .receive("error", (response: unknown) => joins.add({ status: "error", response }));
  const reply = (await joins.until((all) => all.length > 0, `the answer to the join of ${topic}`))[0] as Reply;
  return { channel, reply, pushes, joins, closed };
}

/** The inbox of the device's user, joined and caught up. */
export async function inbox(client: Client, who: Device, payload: object | (() => object) = {}): Promise<Joined> {
  const joined = await join(client, `user:${who.userId}`, payload);
  if (joined.reply.status !== "ok") throw new Error(`The join was refused: ${JSON.stringify(joined.reply.response)}`);
  await joined.pushes.first(([event]) => event === "sync_complete", "sync_complete");
  return joined;
}

/** Push, and wait for the reply. Rejects when none comes. */
export function push(channel: Channel, event: string, payload: object | ArrayBuffer): Promise<Reply> {
  return new Promise((resolve, reject) => {
    channel
      .push(event, payload, DEADLINE_MS)
      .receive("ok", (response: unknown) => resolve({ status: "ok", response }))
      .receive("error", (response: unknown) => resolve({ status: "error", response }))
      .receive("timeout", () => reject(new Error(`No answer to ${event}.`)));
  });
}

/** The messages among the pushes so far, in the order of arrival. */
export function entries(joined: Joined): Entry[] {
  return joined.pushes.all.filter(([event]) => event === "new_message").map(([, payload]) => payload as Entry);
}

/** Wait for so many messages. */
export async function entriesUntil(joined: Joined, count: number): Promise<Entry[]> {
  const isEntry = ([event]: [string, unknown]): boolean => event === "new_message";
  await joined.pushes.until((all) => all.filter(isEntry).length >= count, `${count} messages`);
  return entries(joined);
}

/** `[u32 big-endian header length][JSON header][ciphertext]`. */
export function envelope(header: object, content: Uint8Array): ArrayBuffer {
  const json = new TextEncoder().encode(JSON.stringify(header));
  const joined = new Uint8Array(4 + json.length + content.length);
  new DataView(joined.buffer).setUint32(0, json.length);
  joined.set(json, 4);
  joined.set(content, 4 + json.length);
  return joined.buffer;
}

export function openEnvelope(payload: ArrayBuffer): { header: Record<string, unknown>; content: Uint8Array } {
  const size = new DataView(payload).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(payload, 4, size))) as Record<string, unknown>;
  return { header, content: new Uint8Array(payload.slice(4 + size)) };
}

/** Ask the side that runs the server to do something with it: `kill` (SIGKILL) or `start`. */
export async function control(what: "kill" | "start"): Promise<void> {
  const response = await fetch(`${CONTROL}/${what}`, { method: "POST", signal: AbortSignal.timeout(60_000) });
  if (!response.ok) throw new Error(`${what} failed: ${await response.text()}`);
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
