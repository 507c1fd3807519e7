/** One socket and the inbox topic of its user, over the phoenix package as it comes from npm. */
import { Socket, type Channel } from "phoenix";
import type { Refusal } from "./wire";

/**
 * connecting: not yet; online: joined; offline: lost, trying again; replaced: another tab took this device over;
 * ended: the device was revoked or its sign-in is not accepted any more.
 */
export type LinkState = "connecting" | "online" | "offline" | "replaced" | "ended";

export type PushResult =
  | { outcome: "ok"; response: unknown }
  | { outcome: "refused"; refusal: Refusal }
  | { outcome: "unanswered" };

export interface LinkEvents {
  state(state: LinkState): void;
  joined(reply: { epoch?: string }): void;
  event(name: string, payload: unknown): void;
  /** The payload of the next join: asked again for each one, so that it says what is here by then. */
  joinPayload(): object;
  /** A fresh token, or null when there is none to be had. Rejects while the server cannot be reached. */
  renew(): Promise<string | null>;
}

export const SERVER_EVENTS = [
  "new_message",
  "delivery_status_update",
  "read_status_update",
  "sync_complete",
  "resync_required",
  "service_state",
] as const;

const CLOSED_EXPIRED = 4401;
const CLOSED_REVOKED = 4403;
const CLOSED_REPLACED = 4409;
/** A refused upgrade looks like any lost connection, so after this many in a row the token is suspected. */
const SUSPICIOUS_FAILURES = 3;
/** Quick at first, for a server that restarts; then slow enough not to be a burden. In ms. */
const RECONNECT_MS = [100, 250, 500, 1_000, 2_000];
const RECONNECT_MAX_MS = 5_000;

export class Link {
  private socket: Socket | null = null;
  private channel: Channel | null = null;
  private failures = 0;
  private renewing = false;
  private readonly open = new Set<(result: PushResult) => void>();
  private current: LinkState = "connecting";

  constructor(
    private readonly userId: string,
    private token: string,
    private readonly events: LinkEvents,
  ) {}

  get state(): LinkState {
    return this.current;
  }

  /** Connect and stay connected until `stop`. */
  start(): void {
    this.stop();
    this.set(this.current === "offline" ? "offline" : "connecting");
    const socket = new Socket("/socket", {
      authToken: this.token,
      reconnectAfterMs: (tries) => (RECONNECT_MS[tries - 1] ?? RECONNECT_MAX_MS) * (0.75 + Math.random() / 2),
    });
    this.socket = socket;
    socket.onOpen(() => {
      this.failures = 0;
    });
    socket.onClose((event) => {
      if (this.socket === socket) this.closed(event.code);
    });
    const channel = socket.channel(`user:${this.userId}`, () => this.events.joinPayload());
    this.channel = channel;
    for (const name of SERVER_EVENTS) channel.on(name, (payload: unknown) => this.events.event(name, payload));
    channel.onError(() => {
      if (this.channel === channel) this.lost();
    });
    channel
      .join()
      .receive("ok", (reply: { epoch?: string }) => {
        this.set("online");
        this.events.joined(reply);
      })
      .receive("error", () => this.set("offline"));
    socket.connect();
  }

  /** Close the socket and stay away. */
  stop(): void {
    const socket = this.socket;
    this.socket = null;
    this.channel = null;
    socket?.disconnect();
    this.settleOpen();
  }

  /**
   * Push, and say what came of it. `unanswered` where the connection is gone or silent: whether the server has it is
   * then not known. Nothing is buffered for later; keeping things is the outbox's task.
   */
  push(event: string, payload: object): Promise<PushResult> {
    const channel = this.channel;
    if (channel === null || this.current !== "online") return Promise.resolve({ outcome: "unanswered" });
    return new Promise((resolve) => {
      const settle = (result: PushResult): void => {
        this.open.delete(settle);
        resolve(result);
      };
      this.open.add(settle);
      channel
        .push(event, payload)
        .receive("ok", (response: unknown) => settle({ outcome: "ok", response }))
        .receive("error", (refusal: Refusal) => settle({ outcome: "refused", refusal }))
        .receive("timeout", () => settle({ outcome: "unanswered" }));
    });
  }

  private closed(code: number): void {
    this.lost();
    this.failures += 1;
    if (code === CLOSED_REPLACED) this.end("replaced");
    else if (code === CLOSED_REVOKED) this.end("ended");
    else if (code === CLOSED_EXPIRED || this.failures % SUSPICIOUS_FAILURES === 0) void this.renew();
  }

  private lost(): void {
    if (this.current === "online" || this.current === "connecting") this.set("offline");
    this.settleOpen();
  }

  private end(state: LinkState): void {
    this.stop();
    this.set(state);
  }

  private async renew(): Promise<void> {
    if (this.renewing) return;
    this.renewing = true;
    try {
      const socket = this.socket;
      const token = await this.events.renew();
      if (this.socket !== socket || socket === null) return;
      if (token === null) this.end("ended");
      else if (token !== this.token) {
        this.token = token;
        this.start();
      }
    } catch {
      // Not reachable either: the socket keeps trying, and this with it.
    } finally {
      this.renewing = false;
    }
  }

  private settleOpen(): void {
    for (const settle of [...this.open]) settle({ outcome: "unanswered" });
  }

  private set(state: LinkState): void {
    if (state === this.current) return;
    this.current = state;
    this.events.state(state);
  }
}
