/** The server's side of a socket, and the WebSocket that a client is given for it. */
import { decodeFrame, encodeFrame, FrameError, type Ref } from "./frames";
import type { Device } from "./token";

type Reply = { readonly status: "ok" | "error"; readonly response: object };

export interface SocketHost {
  /** Who connects; null is refused. */
  accept(socket: FakeSocket, token: string): Device | null;
  join(socket: FakeSocket, topic: string, payload: Readonly<Record<string, unknown>>): Reply;
  /** After the reply to a join. */
  joined(socket: FakeSocket, topic: string, payload: Readonly<Record<string, unknown>>): void;
  /** Null: no answer comes. */
  event(socket: FakeSocket, topic: string, event: string, payload: Readonly<Record<string, unknown>>): Reply | null;
  gone(socket: FakeSocket): void;
}

const AUTH = "base64url.bearer.phx.";

/** As much of a WebSocket as the phoenix package uses. Everything arrives in a later turn, as over a network. */
export class FakeSocket {
  /** @internal */
  readyState = 0;
  /** @internal */
  binaryType = "arraybuffer";
  /** @internal */
  bufferedAmount = 0;
  /** @internal */
  onopen: (() => void) | null = null;
  /** @internal */
  onclose: ((event: { code: number; reason: string; wasClean: boolean }) => void) | null = null;
  /** @internal */
  onerror: ((event: unknown) => void) | null = null;
  /** @internal */
  onmessage: ((event: { data: string }) => void) | null = null;
  device: Device | null = null;
  /** Topics that were joined, with the join_ref of each. */
  readonly topics = new Map<string, Ref>();

  /** @internal */
  constructor(
    private readonly host: SocketHost,
    protocols: readonly string[] = [],
  ) {
    const encoded = protocols.find((one) => one.startsWith(AUTH))?.slice(AUTH.length) ?? "";
    setTimeout(() => this.open(atob(encoded)), 0);
  }

  /** @internal */
  send(text: string): void {
    setTimeout(() => {
      if (this.readyState === 1) this.receive(text);
    }, 0);
  }

  /** @internal */
  close(code = 1000, reason = ""): void {
    if (this.readyState >= 2) return;
    this.readyState = 2;
    setTimeout(() => this.closed(code, reason), 0);
  }

  /** The server closes. */
  end(code: number): void {
    if (this.readyState < 2) this.closed(code, "");
  }

  /** The server pushes to a topic that was joined. */
  push(topic: string, event: string, payload: object): void {
    const joinRef = this.topics.get(topic);
    if (joinRef !== undefined) this.write(joinRef, null, topic, event, payload);
  }

  private open(token: string): void {
    if (this.readyState !== 0) return;
    this.device = this.host.accept(this, token);
    if (this.device === null) {
      this.onerror?.({ message: "Unexpected server response: 403" });
      return this.closed(1006, "");
    }
    this.readyState = 1;
    this.onopen?.();
  }

  private closed(code: number, reason: string): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.topics.clear();
    this.host.gone(this);
    this.onclose?.({ code, reason, wasClean: code !== 1006 });
  }

  private receive(text: string): void {
    try {
      const [joinRef, ref, topic, event, payload] = decodeFrame(text);
      if (topic === "phoenix" && event === "heartbeat") this.reply(null, ref, topic, { status: "ok", response: {} });
      else if (event === "phx_join") this.join(joinRef, ref, topic, payload);
      else if (!this.topics.has(topic) && event === "phx_leave") this.reply(joinRef, ref, topic, { status: "ok", response: {} });
      else if (!this.topics.has(topic)) this.reply(null, ref, topic, { status: "error", response: { reason: "unmatched topic" } });
      else if (this.topics.get(topic) !== joinRef) return; // of a join that is over
      else if (event === "phx_leave") this.leave(joinRef, ref, topic);
      else this.event(joinRef, ref, topic, event, payload);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.reply(null, null, "phoenix", { status: "error", response: { reason: "bad_request", message: error.message } });
    }
  }

  private join(joinRef: Ref, ref: Ref, topic: string, payload: Readonly<Record<string, unknown>>): void {
    const reply = this.host.join(this, topic, payload);
    if (reply.status === "ok") this.topics.set(topic, joinRef);
    this.reply(joinRef, ref, topic, reply);
    if (reply.status === "ok") this.host.joined(this, topic, payload);
  }

  private leave(joinRef: Ref, ref: Ref, topic: string): void {
    this.reply(joinRef, ref, topic, { status: "ok", response: {} });
    this.write(joinRef, joinRef, topic, "phx_close", {});
    this.topics.delete(topic);
  }

  private event(joinRef: Ref, ref: Ref, topic: string, event: string, payload: Readonly<Record<string, unknown>>): void {
    const reply = this.host.event(this, topic, event, payload);
    if (reply !== null) this.reply(joinRef, ref, topic, reply);
  }

  private reply(joinRef: Ref, ref: Ref, topic: string, reply: Reply): void {
    this.write(joinRef, ref, topic, "phx_reply", { status: reply.status, response: reply.response });
  }

  private write(joinRef: Ref, ref: Ref, topic: string, event: string, payload: object): void {
    const data = encodeFrame([joinRef, ref, topic, event, payload as Record<string, unknown>]);
    setTimeout(() => {
      if (this.readyState === 1) this.onmessage?.({ data });
    }, 0);
  }
}
