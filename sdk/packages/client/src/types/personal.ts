/** What is the user's own: drafts, scheduled messages, settings, devices, blocks, and whose keys are known. */
import type { MessageBody } from "./body";
import type { Store } from "./store";
import type { DeviceView, ScheduledView, UserSettings } from "./wire";

export interface DraftState {
  readonly text: string;
  /** saved: on all devices; changed: to be saved soon; conflict: another device wrote too, its text is `other`. */
  readonly state: "none" | "saved" | "changed" | "conflict";
  readonly other: string | null;
  readonly changedAt: number | null;
}

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

export interface ScheduledSnapshot {
  /** The earliest first. */
  readonly items: readonly ScheduledItem[];
  readonly loaded: boolean;
}

export interface ScheduledStore extends Store<ScheduledSnapshot> {
  refresh(): Promise<void>;
  reschedule(id: string, at: Date): Promise<void>;
  cancel(id: string): Promise<void>;
}

export interface SettingsSnapshot {
  readonly settings: UserSettings;
  readonly loaded: boolean;
}

export interface SettingsStore extends Store<SettingsSnapshot> {
  refresh(): Promise<void>;
  update(change: Partial<UserSettings>): Promise<void>;
}

export interface DevicesSnapshot {
  readonly devices: readonly DeviceView[];
  readonly loaded: boolean;
}

export interface DevicesStore extends Store<DevicesSnapshot> {
  refresh(): Promise<void>;
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
  dismiss(noticeId: string): Promise<void>;
}

export interface BlockList {
  list(): Promise<readonly string[]>;
  block(userId: string): Promise<void>;
  unblock(userId: string): Promise<void>;
}
