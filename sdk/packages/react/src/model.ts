/** What components take and give that the client has no name for. */
import type { MessageItem } from "@whispr/client";

/** What a composer hands over. Times in ms since 1970, `ttl` in seconds. */
export interface Composed {
  readonly text: string;
  readonly file: File | null;
  readonly ttl: number | null;
  readonly ttlStart: "send" | "read";
  readonly scheduledFor: number | null;
}

/** What a composer is about, where it is not a message of its own. */
export type ComposerMode =
  | { readonly kind: "reply"; readonly message: MessageItem }
  | { readonly kind: "edit"; readonly message: MessageItem };

/** One row of a list of devices. Times in ms since 1970. */
export interface DeviceRow {
  readonly id: string;
  readonly name: string;
  readonly platform: string;
  readonly isThis: boolean;
  readonly isRevoked: boolean;
  readonly createdAt: number | null;
  readonly lastActiveAt: number | null;
  /** Of its public keys, in groups to read aloud. */
  readonly fingerprint: string | null;
}
