/** A socket of our own and the inbox topic of its user, over the phoenix package as it comes from npm. */
import { Presence as PhoenixPresence, Socket, type Channel } from "phoenix";
import { encodeBase64, utf8Bytes } from "../base64";
import { RequestError, InvalidInputError } from "../errors";
import type { Tokens } from "../tokens";
import type { SocketOptions } from "../types/client";
import type { Presence } from "../types/conversation";
import { closeOf, onNetwork, reconnectAfterMs, type Close } from "./closes";
import { IDLE, INBOX_EVENTS, type JoinPayload, type JoinReply, type Link, type LinkEvents, type LinkState, type PushResult } from "./link";

/** The server answers within 10 s; what takes longer is lost. */
const PUSH_MS = 11_000;
/** A refused upgrade looks like any lost connection, so after this many in a row the token is suspected. */
const SUSPICIOUS_FAILURES = 3;
const HIDDEN_MS = 5_000;

interface Refusal {
  readonly reason?: string;
  readonly message?: string;
  readonly retryAfter?: number;
  readonly details?: Readonly<Record<string, unknown>>;
}

export class SocketLink implements Link {
  private socket: Socket | null = null;
  private inbox: Channel | null = null;
  private readonly rooms = new Map<string, { channel: Channel | null; count: number }>();
  private readonly open = new Set<(result: PushResult) => void>();
  private state: LinkState = IDLE;
  private failures = 0;
  private unlisten: (() => void) | null = null;

  constructor(
    private readonly userId: string,
    private readonly address: string,
    private readonly options: SocketOptions,
    private readonly tokens: Tokens,
    private readonly joinPayload: JoinPayload,
    private readonly events: LinkEvents,
  ) {}

  start(): void {
    this.letGo();
    this.unlisten ??= onNetwork((isThere) => this.network(isThere));
    this.set({ ...IDLE, phase: this.state.phase === "offline" ? "offline" : "connecting" });
    void this.connectWithToken();
  }

  stop(): void {
    this.letGo();
    this.unlisten?.();
    this.unlisten = null;
    if (this.state.phase !== "ended" && this.state.phase !== "replaced") this.set(IDLE);
  }

  private letGo(): void {
    const socket = this.socket;
    this.socket = null;
    this.inbox = null;
    for (const room of this.rooms.values()) room.channel = null;
    socket?.disconnect();
    this.settleOpen();
  }

  /** The device says that its network went or is there: a socket would notice only after its heartbeat. */
  private network(isThere: boolean): void {
    if (this.state.phase !== "online" && this.state.phase !== "offline" && this.state.phase !== "connecting") return;
    if (isThere) return this.reconnectNow();
    this.letGo();
    this.set({ phase: "offline", reason: "device_offline", closeCode: null, retryAt: null });
  }

  reconnectNow(): void {
    if (this.state.phase === "online") return;
    this.failures = 0;
    this.start();
  }

  push(event: string, payload: object): Promise<PushResult> {
    const channel = this.inbox;
    if (channel === null || this.state.phase !== "online") return Promise.resolve({ outcome: "unanswered", isLost: true });
    return new Promise((resolve) => {
      const settle = (result: PushResult): void => {
        if (this.open.delete(settle)) resolve(result);
      };
      this.open.add(settle);
      channel
        .push(event, payload, PUSH_MS)
        .receive("ok", (response: unknown) => settle({ outcome: "ok", response }))
        .receive("error", (refusal: Refusal) => settle({ outcome: "refused", error: errorOf(refusal) }))
        .receive("timeout", () => settle({ outcome: "unanswered", isLost: false }));
    });
  }

  watch(conversationId: string): () => void {
    const room = this.rooms.get(conversationId) ?? { channel: null, count: 0 };
    room.count += 1;
    this.rooms.set(conversationId, room);
    if (room.channel === null) this.joinRoom(conversationId);
    let isWatching = true;
    return () => {
      if (!isWatching) return;
      isWatching = false;
      room.count -= 1;
      if (room.count > 0) return;
      this.rooms.delete(conversationId);
      room.channel?.leave();
    };
  }

  /** With a token that still holds, if there is one to be had; without network the socket would fail as well. */
  private async connectWithToken(): Promise<void> {
    const isAnew = this.tokens.current === "" || this.tokens.hasExpired;
    try {
      if (isAnew && (await this.tokens.renew(this.tokens.current === "" ? "start" : "expired")) === null) return this.end();
    } catch {
      if (this.state.phase === "idle") return;
      const wait = this.pause((this.failures += 1));
      this.set({ ...this.state, phase: "offline", reason: "network", retryAt: Date.now() + wait });
      setTimeout(() => {
        if (this.socket === null && this.state.phase === "offline") void this.connectWithToken();
      }, wait);
      return;
    }
    if (this.socket === null && this.state.phase !== "idle") this.connect();
  }

  private connect(): void {
    const transport = this.options.transport ?? (globalThis as { WebSocket?: unknown }).WebSocket;
    if (transport === undefined) throw new InvalidInputError("no WebSocket here: give one as socket.transport");
    const socket = new Socket(this.address, {
      // Asked at each connection, so that a new token is used as soon as it is there. The types know no function here.
      ...(typeof btoa === "function"
        ? { transport, authToken: () => this.tokens.current }
        : { transport: withToken(transport as Transport, () => this.tokens.current) }),
      reconnectAfterMs: (tries: number) => this.planned(tries),
      rejoinAfterMs: (tries: number) => reconnectAfterMs(tries + 2),
      ...(this.options.heartbeatIntervalMs === undefined ? {} : { heartbeatIntervalMs: this.options.heartbeatIntervalMs }),
    } as unknown as ConstructorParameters<typeof Socket>[1]);
    this.socket = socket;
    socket.onOpen(() => {
      this.failures = 0;
    });
    socket.onClose((event) => {
      if (this.socket === socket) this.closed((event as { code?: number } | undefined)?.code ?? 1006);
    });
    this.joinInbox(socket);
    for (const id of this.rooms.keys()) this.joinRoom(id);
    socket.connect();
  }

  private joinInbox(socket: Socket): void {
    const channel = socket.channel(`user:${this.userId}`, () => this.joinPayload(null));
    this.inbox = channel;
    for (const name of INBOX_EVENTS) channel.on(name, (payload: unknown) => this.events.event(name, payload));
    channel.on("token_expiring", () => void this.renewLive());
    channel.onError(() => {
      if (this.inbox === channel) this.lost();
    });
    channel
      .join()
      .receive("ok", (reply: JoinReply) => {
        this.set({ phase: "online", reason: null, closeCode: null, retryAt: null });
        this.events.joined(reply);
      })
      .receive("error", () => this.lost("server_fault"));
  }

  private joinRoom(conversationId: string): void {
    const room = this.rooms.get(conversationId);
    if (this.socket === null || room === undefined) return;
    const channel = this.socket.channel(`conversation:${conversationId}`, () => this.joinPayload(conversationId));
    const presence = new PhoenixPresence(channel);
    presence.onSync(() => this.events.presence(conversationId, presence.list(presentUser)));
    room.channel = channel;
    channel.join();
  }

  private closed(code: number): void {
    const close = closeOf(code);
    this.failures += 1;
    if (close.then === "stay") return this.end(close, code);
    this.lost(close.reason, code);
    if (close.then === "token") void this.renew("expired");
    else if (this.failures % SUSPICIOUS_FAILURES === 0) void this.renew("refused");
    if (close.pauseMs > 0) this.startIn(close.pauseMs);
    else setTimeout(() => this.connectHidden(), HIDDEN_MS);
  }

  private startIn(ms: number): void {
    this.socket?.disconnect();
    this.set({ ...this.state, retryAt: Date.now() + ms });
    const socket = this.socket;
    setTimeout(() => {
      if (this.socket === socket && this.state.phase === "offline") this.start();
    }, ms);
  }

  /** The phoenix package does not connect again while a page is hidden; notifications come just then. */
  private connectHidden(): void {
    const page = (globalThis as { document?: { visibilityState?: string } }).document;
    if (page?.visibilityState !== "hidden" || this.state.phase !== "offline") return;
    if (this.socket?.connectionState() === "closed") this.socket.connect();
  }

  private async renew(reason: "expired" | "refused"): Promise<void> {
    const token = await this.tokens.renew(reason).catch(() => undefined);
    if (token === null) this.end();
  }

  /** The server says a minute before that the token of this socket ends: with a new one it lives on. */
  private async renewLive(): Promise<void> {
    const socket = this.socket;
    // Our own clock may have asked a moment ago. Where there is none to be had, the socket is closed with 4401.
    const token = this.tokens.isFresh ? this.tokens.current : await this.tokens.renew("expiring").catch(() => undefined);
    if (token === null) this.end();
    else if (token !== undefined && this.socket === socket) await this.push("renew_token", { token });
  }

  private lost(reason: LinkState["reason"] = "network", closeCode: number | null = null): void {
    if (this.state.phase === "online" || this.state.phase === "connecting" || closeCode !== null) {
      this.set({ ...this.state, phase: "offline", reason, closeCode });
    }
    this.settleOpen();
  }

  private end(close?: Close, closeCode: number | null = null): void {
    const reason = close?.reason ?? "unauthenticated";
    this.stop();
    this.set({ phase: reason === "replaced" ? "replaced" : "ended", reason, closeCode, retryAt: null });
  }

  private planned(tries: number): number {
    const wait = this.pause(tries);
    if (this.state.phase !== "online") this.set({ ...this.state, retryAt: Date.now() + wait });
    return wait;
  }

  private pause(tries: number): number {
    return (this.options.reconnectAfterMs ?? reconnectAfterMs)(tries);
  }

  private settleOpen(): void {
    for (const settle of [...this.open]) settle({ outcome: "unanswered", isLost: true });
  }

  private set(state: LinkState): void {
    this.state = state;
    this.events.state(state);
  }
}

type Transport = new (address: string, protocols?: readonly string[]) => object;

/** What the phoenix package makes of `authToken`, where there is no btoa for it (React Native before 0.74). */
function withToken(transport: Transport, token: () => string): Transport {
  return class {
    constructor(address: string) {
      const encoded = encodeBase64(utf8Bytes(token())).replaceAll("=", "");
      return new transport(address, ["phoenix", `base64url.bearer.phx.${encoded}`]);
    }
  };
}

function presentUser(userId: string, found: unknown): Presence {
  const { metas } = found as { metas: { deviceId: string; onlineAt: string }[] };
  return { userId, deviceIds: metas.map((meta) => meta.deviceId), since: Date.parse(metas[0]?.onlineAt ?? "") || 0 };
}

/** A refusal without a code comes from Phoenix's own layer ("unmatched topic"). */
function errorOf({ reason, message, retryAfter, details }: Refusal): RequestError {
  return new RequestError(reason ?? "bad_request", message ?? reason ?? "refused", retryAfter ?? null, details);
}
