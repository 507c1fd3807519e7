/** What is the user's own: drafts, scheduled messages, settings, devices, blocks, and whose keys are known. */
import type { MessageBody } from "./body";
import type { Store } from "./store";
import type { DeviceView, ScheduledView, SettingsChange, UserSettings } from "./wire";

/** What is being written in a conversation, here or on another of the user's devices. */
export interface DraftState {
  readonly text: string;
  /** saved: on all devices; changed: to be saved soon; conflict: another device wrote too, its text is `other`. */
  readonly state: "none" | "saved" | "changed" | "conflict";
  readonly other: string | null;
  readonly changedAt: number | null;
}

/** A message that the server sends later. */
export interface ScheduledItem {
  readonly id: string;
  readonly conversationId: string;
  /** Null where this device cannot read it. */
  readonly body: MessageBody | null;
  /** In ms since 1970. */
  readonly at: number;
  /** `needs_reencrypt` is done by the client itself where it wrote the message or can read it. */
  readonly state: ScheduledView["state"];
  readonly reason: string | null;
  readonly messageId: string | null;
}

/** All scheduled messages. */
export interface ScheduledSnapshot {
  /** The earliest first. */
  readonly items: readonly ScheduledItem[];
  readonly loaded: boolean;
}

/** Messages that the server sends later, over all conversations. */
export interface ScheduledStore extends Store<ScheduledSnapshot> {
  /** Read it anew. Throws the server's refusal. */
  refresh(): Promise<void>;
  /** Have it sent at another time. Throws the server's refusal. */
  reschedule(id: string, at: Date): Promise<void>;
  /** Have it say something else; by the device that wrote it. Throws InvalidInputError, the server's refusal. */
  edit(id: string, body: MessageBody | string): Promise<void>;
  /** Do not send it. Throws the server's refusal: `not_found` where it is sent already. */
  cancel(id: string): Promise<void>;
}

/** The user's settings, on all their devices. */
export interface SettingsSnapshot {
  readonly settings: UserSettings;
  readonly loaded: boolean;
}

/** The user's settings; a change made elsewhere arrives by itself. */
export interface SettingsStore extends Store<SettingsSnapshot> {
  /** Read it anew. Throws the server's refusal. */
  refresh(): Promise<void>;
  /** Change some of them; what is left out stays, of `notifications` too. Throws the server's refusal. */
  update(change: SettingsChange): Promise<void>;
}

/** The user's devices, removed ones among them. */
export interface DevicesSnapshot {
  readonly devices: readonly DeviceView[];
  readonly loaded: boolean;
}

/** The user's own devices. */
export interface DevicesStore extends Store<DevicesSnapshot> {
  /** Read it anew. Throws the server's refusal. */
  refresh(): Promise<void>;
  /** Give it another name. */
  rename(id: string, name: string): Promise<void>;
  /** For good. One's own: the client is signed out. */
  revoke(id: string): Promise<void>;
}

/** A device whose keys were met here, and what a person decided about them. */
export interface KnownDevice {
  readonly deviceId: string;
  readonly userId: string;
  /** base64 of Ed25519 and X25519 public keys. */
  readonly publicKey: string | null;
  readonly encryptionKey: string | null;
  /** What it signed with before, the latest last: its earlier messages are still its own. */
  readonly formerKeys?: readonly string[];
  /** 60 decimal digits in 12 groups, the same on both sides. Null for a device without keys. */
  readonly fingerprint: string | null;
  readonly firstSeenAt: number;
  /** Compared by a person, with these keys. */
  readonly verified: boolean;
  /** These keys are not the ones that were known before, and nobody accepted that yet. */
  readonly changed: boolean;
  readonly revoked: boolean;
}

/** Something about keys that a person should know. */
export interface SecurityNotice {
  readonly id: string;
  readonly kind: "new_device" | "changed_keys" | "revoked_device";
  readonly userId: string;
  readonly deviceId: string;
  readonly at: number;
}

/** Whether there is encryption, and whose keys are known. */
export interface SecuritySnapshot {
  /** Whether messages are encrypted at all. */
  readonly encrypted: boolean;
  /** Why not, or what is weaker here than elsewhere, as a code: "no_engine", "no_ed25519", "keys_in_memory". */
  readonly warnings: readonly string[];
  readonly own: KnownDevice | null;
  readonly devices: readonly KnownDevice[];
  readonly notices: readonly SecurityNotice[];
}

export interface SecurityStore extends Store<SecuritySnapshot> {
  /** The number that two people compare: of all keys of both. Null where one of them has no keys yet. */
  safetyNumber(userId: string): Promise<string | null>;
  /** A person compared the number, or takes that back. */
  setVerified(userId: string, verified: boolean): Promise<void>;
  /** A person saw that keys changed. */
  accept(deviceId: string): Promise<void>;
  /** Put a notice away; nothing else changes. */
  dismiss(noticeId: string): Promise<void>;
}

/** Who is blocked, as far as it was asked for. */
export interface BlocksSnapshot {
  readonly userIds: ReadonlySet<string>;
  readonly loaded: boolean;
}

/**
 * Whom the user does not want to hear from. What a blocked person sends in a direct conversation does not arrive; what
 * they send to a group does, and is left out of `items`, of previews and of what is unread. Asked for with each
 * connection, and when somebody comes back to the page: a block of another device shows by then.
 */
export interface BlockList extends Store<BlocksSnapshot> {
  /** The blocked users' ids, asked for anew. */
  list(): Promise<readonly string[]>;
  /** Block somebody; a second time changes nothing. */
  block(userId: string): Promise<void>;
  /** Take that back. */
  unblock(userId: string): Promise<void>;
}
