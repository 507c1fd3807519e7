/** What encrypts, decrypts and signs. `@whispr/client/encryption` has the default one; any other may take its place. */
import type { Signable } from "../signature";
import type { MessageSecurity } from "./timeline";
import type { Identity } from "./connection";
import type { KeyStorage } from "./storage";

/** A device of a member, as `GET conversations/{id}/devices` has it; keys are base64 of 32 bytes, or null. */
export interface PeerDevice {
  readonly id: string;
  readonly userId: string;
  readonly publicKey: string | null;
  readonly encryptionKey: string | null;
}

/** What the ciphertext is bound to: it opens nowhere else. */
export interface Binding {
  /** A draft does not open as a message. Default: message. */
  readonly purpose?: "message" | "draft";
  readonly conversationId: string;
  readonly senderId: string;
  readonly senderDeviceId: string;
  readonly clientRandom: number;
}

/** Who an engine works for, and where it keeps its keys. */
export interface EngineContext {
  readonly identity: Identity;
  /** Of this device alone; survives a restart where the storage does. */
  readonly keys: KeyStorage;
}

/** The public keys to register, base64 of 32 bytes. */
export interface EnginePublicKeys {
  readonly publicKey: string | null;
  readonly encryptionKey: string | null;
}

/** What is to be encrypted, for whom, and bound to what. */
export interface SealRequest {
  readonly binding: Binding;
  readonly plaintext: Uint8Array;
  /** Every live device of every member, the sender's own among them. */
  readonly devices: readonly PeerDevice[];
}

/** What is to be decrypted, and what it has to be bound to. */
export interface OpenRequest {
  readonly binding: Binding;
  readonly content: Uint8Array;
}

/** What was signed, by whom, and the key that this client knows of that device (null: none). */
export interface VerifyRequest {
  readonly signable: Signable;
  readonly signature: Uint8Array;
  readonly publicKey: string | null;
}

/** What encrypts and signs: one object a client. `encryptionEngine` and `plainEngine` make one. */
export interface EncryptionEngine {
  readonly name: string;
  /** False for an engine that only writes bytes: `SecuritySnapshot.encrypted`. */
  readonly encrypts: boolean;
  /** Load or make this device's keys. Called once, before anything else. Warnings are codes for people. */
  start(context: EngineContext): Promise<EnginePublicKeys & { readonly warnings: readonly string[] }>;
  /** Throws NoRecipientsError where none of the devices has a key, ContentTooLargeError over 64 KiB. */
  seal(request: SealRequest): Promise<Uint8Array>;
  /** Throws DecryptionError where it is not for this device, or not what was sealed. */
  open(request: OpenRequest): Promise<Uint8Array>;
  /** Null: this engine does not sign. */
  sign(signable: Signable): Promise<Uint8Array | null>;
  /** "unsigned" where nothing can be said. */
  verify(request: VerifyRequest): Promise<Extract<MessageSecurity, "verified" | "forged" | "unsigned">>;
  /** Encrypted with a fresh key; the key goes into the message. `null`: this engine leaves media as they are. */
  sealMedia(data: Uint8Array): Promise<{ readonly data: Uint8Array; readonly key: string } | null>;
  /** Throws DecryptionError where the bytes are not what was sealed with this key. */
  openMedia(data: Uint8Array, key: string): Promise<Uint8Array>;
}
