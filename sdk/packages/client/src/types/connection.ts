/** How the client is connected, and what one may rely on at this moment. */

/**
 * idle: `connect` was not called; connecting: for the first time; online: the inbox is joined; offline: lost, it is
 * tried again at `retryAt`; replaced: another client took this device over; ended: sign in again.
 */
export type ConnectionPhase = "idle" | "connecting" | "online" | "offline" | "replaced" | "ended";

/** Why the client is not online. Each stands for a close code or for what was seen of the network. */
export type OfflineReason =
  | "network"
  | "device_offline"
  | "server_restart"
  | "server_fault"
  | "token_expired"
  | "unauthenticated"
  | "revoked"
  | "replaced"
  | "too_slow"
  | "too_many_sockets"
  | "client_fault";

/**
 * What becomes of a message that is written now:
 * live: stored, and delivered at once; syncing: the same, while older messages still arrive; degraded: stored or
 * queued at the server, some services are away (`service.lost`); queued: kept on this device and sent when the
 * connection is back; volatile: kept only as long as this page lives; closed: not sent before one signs in again.
 */
export type Guarantee = "live" | "syncing" | "degraded" | "queued" | "volatile" | "closed";

/** The last `service_state` of the server. */
export interface ServiceState {
  readonly state: "normal" | "degraded";
  /** What is away: "push", "receipts", … */
  readonly lost: readonly string[];
}

/** How the client is connected now, and what it means for what is written. */
export interface ConnectionState {
  readonly phase: ConnectionPhase;
  readonly reason: OfflineReason | null;
  /** The code of the last close, as docs/protocol.md has them. */
  readonly closeCode: number | null;
  /** When the next try is, in ms since 1970. Null while none is planned. */
  readonly retryAt: number | null;
  /** Whether everything that was missed has arrived since the last connection (`sync_complete`). */
  readonly synced: boolean;
  readonly guarantee: Guarantee;
  readonly service: ServiceState;
  /** Whether this tab holds the connection, or another one of the same device shares its own. */
  readonly tab: "leader" | "follower";
}

/** Who the client is, as its token says. */
export interface Identity {
  readonly userId: string;
  readonly deviceId: string;
}
