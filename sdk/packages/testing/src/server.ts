/**
 * A server in memory: conversations with a log, receipts, typing, drafts, devices, and everything that can go wrong.
 *
 *     const server = new FakeServer();
 *     const ada = createClient(server.options("ada"));
 *
 * It keeps the promises of docs/protocol.md §8 that a client relies on: one entry a clientRandom, a log without a hole,
 * catch-up before `sync_complete`. It checks no signature and no limit, and has no groups' rights: a real server does.
 */
import { ERRORS, type ClientOptions, type Entry, type ErrorCode, type SendOutcome } from "@whispr/client";
import { buildReceipt, uuid } from "./builders";
import { FakeConversation } from "./log";
import { handleRest, type RestAnswer } from "./rest";
import { FakeSocket } from "./socket";
import { fakeToken, readFakeToken, type Device } from "./token";
import { handlePush } from "./pushes";

/** `epoch`: two servers with different ones are as one that lost its memory. */
export interface FakeServerOptions {
  readonly epoch?: string;
}

/**
 * What becomes of the next request of an event: refused with a code; lost: carried out, and nothing answered; silent:
 * neither; pending: queued, until `settle`.
 */
export type Fault = { readonly refuse: ErrorCode; readonly retryAfter?: number; readonly details?: object } | "lost" | "silent" | "pending" | "close";

type Payload = Readonly<Record<string, unknown>>;

/** A server in memory. What it holds can be read and changed; what goes wrong is said by `fail`, `close` and `down`. */
export class FakeServer {
  readonly conversations = new Map<string, FakeConversation>();
  readonly sockets = new Set<FakeSocket>();
  readonly drafts = new Map<string, { content: string; revision: number; deviceId: string }>();
  readonly devices = new Map<string, { id: string; userId: string; publicKey: string | null; encryptionKey: string | null; name: string; revokedAt: string | null }>();
  readonly media = new Map<string, Uint8Array>();
  readonly scheduled = new Map<string, { userId: string; view: Record<string, unknown> }>();
  readonly settings = new Map<string, Record<string, unknown>>();
  /** Whom each user blocked. Nothing is withheld: a real server does that. */
  readonly blocks = new Map<string, Set<string>>();
  /** Every request of every client, in order: `[event, payload]`, or `["POST conversations", body]`. */
  readonly requests: (readonly [name: string, payload: unknown])[] = [];
  /** (user, clientRandom) → what was stored under it. */
  readonly keys = new Map<string, { readonly fingerprint: string; readonly outcome: SendOutcome }>();
  epoch: string;
  private readonly faults = new Map<string, Fault[]>();
  private readonly queued: (() => void)[] = [];
  private isDown = false;

  constructor({ epoch = "one" }: FakeServerOptions = {}) {
    this.epoch = epoch;
  }

  /** What `createClient` needs to be this user, on a new device or on the one that is given. */
  options(userId: string = uuid(), deviceId: string = uuid()): ClientOptions & { readonly identity: Device } {
    const server = this;
    class Transport extends FakeSocket {
      constructor(_address: string, protocols?: readonly string[]) {
        super(server, protocols);
      }
    }
    return {
      url: "http://whispr.test",
      identity: { userId, deviceId },
      getToken: () => fakeToken(userId, deviceId),
      fetch: this.fetch,
      socket: { transport: Transport, reconnectAfterMs: () => 5 },
      sharedTabs: false,
    };
  }

  /** A conversation that exists already, with `conversation_created` as its first entry. */
  conversation(userIds: readonly string[], type: "direct" | "group" = userIds.length === 2 ? "direct" : "group"): FakeConversation {
    const by = userIds[0] ?? uuid();
    const made = new FakeConversation(type, by);
    for (const userId of userIds) made.join(userId, userId === by ? "owner" : "member");
    this.conversations.set(made.id, made);
    this.append(made, { type: "system", content: "", metadata: { event: "conversation_created", userIds, by }, clientRandom: null, senderId: by });
    return made;
  }

  /** Append an entry and push it to everybody but the socket it came from. */
  append(conversation: FakeConversation, given: Partial<Entry>, origin: FakeSocket | null = null): Entry {
    const entry = conversation.append(given);
    for (const socket of this.socketsOf(conversation)) if (socket !== origin) this.pushTo(socket, "new_message", entry);
    return entry;
  }

  /** Push anything to all sockets of a user. */
  push(userId: string, event: string, payload: object): void {
    for (const socket of this.sockets) if (socket.device?.userId === userId) this.pushTo(socket, event, payload);
  }

  /** What becomes of the next `times` requests of an event (`send_message`, …) or route (`PUT messages/drafts`, …). */
  fail(name: string, fault: Fault, times = 1): void {
    this.faults.set(name, [...(this.faults.get(name) ?? []), ...Array.from({ length: times }, () => fault)]);
  }

  /** What was accepted as `pending` is stored now. */
  settle(): void {
    for (const store of this.queued.splice(0)) store();
  }

  /** @internal Keep for `settle`. */
  queue(store: () => void): void {
    this.queued.push(store);
  }

  /** Close the sockets of a user, or all. */
  close(code: number, userId?: string): void {
    for (const socket of [...this.sockets]) if (userId === undefined || socket.device?.userId === userId) socket.end(code);
  }

  /** Nobody reaches the server until `up`. */
  down(): void {
    this.isDown = true;
    this.close(1006);
  }

  /** The end of `down`: the next try to connect succeeds. */
  up(): void {
    this.isDown = false;
  }

  /** @internal */
  takeFault(name: string): Fault | null {
    const waiting = this.faults.get(name);
    return waiting?.shift() ?? null;
  }

  /** @internal */
  refusal(code: ErrorCode, retryAfter?: number, details?: object): { readonly reason: string; readonly message: string } {
    const after = retryAfter ?? ERRORS[code].retryAfter;
    return { reason: code, message: `refused: ${code}`, ...(after === null ? {} : { retryAfter: after }), ...(details === undefined ? {} : { details }) };
  }

  /** The sockets of a conversation's members. */
  socketsOf(conversation: FakeConversation): FakeSocket[] {
    return [...this.sockets].filter((socket) => socket.device !== null && conversation.members.has(socket.device.userId));
  }

  /** @internal */
  pushTo(socket: FakeSocket, event: string, payload: object): void {
    socket.push(`user:${socket.device?.userId}`, event, payload);
  }

  /** A receipt: noted, and told to everybody else. */
  acknowledge(conversation: FakeConversation, userId: string, upTo: number, status: "delivered" | "read"): void {
    const member = conversation.members.get(userId);
    if (member === undefined) return;
    const before = status === "read" ? member.read : member.delivered;
    if (upTo <= before) return;
    member.delivered = Math.max(member.delivered, upTo);
    if (status === "read") member.read = upTo;
    const receipt = buildReceipt({ conversationId: conversation.id, recipientId: userId, status, upTo, timestamp: new Date().toISOString() });
    const event = status === "read" ? "read_status_update" : "delivery_status_update";
    for (const socket of this.socketsOf(conversation)) this.pushTo(socket, event, receipt);
  }

  // --- What sockets ask for

  /** @internal */
  accept(socket: FakeSocket, token: string): Device | null {
    const device = this.isDown ? null : readFakeToken(token);
    if (device === null) return null;
    if (this.devices.get(device.deviceId)?.revokedAt != null) return null;
    for (const other of [...this.sockets]) if (other.device?.deviceId === device.deviceId) other.end(4409);
    this.sockets.add(socket);
    this.know(device);
    return device;
  }

  /** @internal */
  join(socket: FakeSocket, topic: string, payload: Payload): { status: "ok" | "error"; response: object } {
    this.requests.push(["phx_join", { topic, ...payload }]);
    const userId = socket.device?.userId ?? "";
    const [kind, id = ""] = topic.split(":");
    const isKnown = kind === "user" ? id === userId : this.conversations.get(id)?.members.has(userId) === true;
    if (!isKnown) return { status: "error", response: { reason: kind === "conversation" ? "not_found" : "unmatched topic" } };
    const response = { userId, deviceId: socket.device?.deviceId, serverTime: new Date().toISOString(), epoch: this.epoch, conversations: this.of(userId).length };
    return { status: "ok", response };
  }

  /** @internal */
  joined(socket: FakeSocket, topic: string, payload: Payload): void {
    const { userId = "" } = socket.device ?? {};
    const cursors = (payload["cursors"] ?? {}) as Record<string, number>;
    if (!topic.startsWith("user:")) {
      const present = [...this.sockets].filter((one) => one.topics.has(topic)).map((one) => [one.device?.userId, { metas: [{ phx_ref: uuid(), deviceId: one.device?.deviceId, onlineAt: new Date().toISOString() }] }]);
      for (const one of this.sockets) one.push(topic, "presence_state", Object.fromEntries(present) as object);
      return;
    }
    const isOld = typeof payload["epoch"] === "string" && payload["epoch"] !== this.epoch;
    if (isOld) this.pushTo(socket, "resync_required", { reason: "epoch_changed" });
    let messages = 0;
    for (const conversation of this.of(userId)) {
      const cursor = isOld ? 0 : (cursors[conversation.id] ?? conversation.members.get(userId)?.delivered ?? 0);
      for (const entry of conversation.entries.slice(cursor)) {
        this.pushTo(socket, "new_message", entry);
        messages += 1;
      }
    }
    this.pushTo(socket, "sync_complete", { conversations: this.of(userId).length, messages });
  }

  /** @internal */
  event(socket: FakeSocket, _topic: string, event: string, payload: Payload): { status: "ok" | "error"; response: object } | null {
    this.requests.push([event, payload]);
    const fault = this.takeFault(event);
    if (fault === "silent") return null;
    if (fault === "close") {
      socket.end(1006);
      return null;
    }
    if (fault !== null && typeof fault === "object") return { status: "error", response: this.refusal(fault.refuse, fault.retryAfter, fault.details) };
    const answer = handlePush(this, socket, event, payload, fault === "pending");
    return fault === "lost" ? null : answer;
  }

  /** @internal */
  gone(socket: FakeSocket): void {
    this.sockets.delete(socket);
  }

  /** @internal */
  of(userId: string): FakeConversation[] {
    return [...this.conversations.values()].filter((conversation) => conversation.members.has(userId));
  }

  /** @internal */
  know({ userId, deviceId }: Device): void {
    if (!this.devices.has(deviceId)) this.devices.set(deviceId, { id: deviceId, userId, publicKey: null, encryptionKey: null, name: "", revokedAt: null });
  }

  /** The REST side, as `fetch`. */
  readonly fetch = async (input: unknown, init: RequestInit = {}): Promise<Response> => {
    await new Promise((resolve) => setTimeout(resolve, 0));
    if (this.isDown) throw new TypeError("fetch failed");
    const { status, body } = this.answer(new URL(String(input)), init);
    if (body instanceof Uint8Array) return new Response(new Uint8Array(body), { status });
    return new Response(status === 204 ? null : JSON.stringify(body), { status });
  };

  private answer(url: URL, init: RequestInit): RestAnswer {
    const token = new Headers(init.headers).get("Authorization")?.replace("Bearer ", "") ?? "";
    const device = readFakeToken(token);
    const path = url.pathname.replace(/^\/api\/v1\//, "");
    const method = init.method ?? "GET";
    const body: unknown = typeof init.body === "string" ? JSON.parse(init.body) : init.body;
    this.requests.push([`${method} ${path}`, body]);
    const refuse = (code: ErrorCode): RestAnswer => ({ status: ERRORS[code].status, body: { code, detail: code, retryAfter: ERRORS[code].retryAfter ?? undefined } });
    if (device === null) return refuse("unauthenticated");
    this.know(device);
    const fault = this.takeFault(`${method} ${path}`);
    if (fault !== null && typeof fault === "object") return refuse(fault.refuse);
    return handleRest(this, device, method, path, url.searchParams, body) ?? refuse("not_found");
  }
}
