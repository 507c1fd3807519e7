/** What a message says, before it is encrypted and after it was decrypted. */

/** A medium that was uploaded; `key`, where it is there, is what its bytes are encrypted with. */
export interface MediaReference {
  readonly mediaId: string;
  readonly name: string;
  readonly mimeType: string;
  /** Bytes of the medium itself, as people know it. */
  readonly size: number;
  readonly width?: number;
  readonly height?: number;
  readonly durationMs?: number;
  /** A tiny picture to show at once, as a data URL; it counts against the 64 KiB of a message. */
  readonly thumbnail?: string;
  /** AES-256-GCM, base64: made anew for each medium, carried in the encrypted message alone. Absent: not encrypted. */
  readonly key?: string;
  /** SHA-256 of the encrypted bytes, base64. */
  readonly sha256?: string;
}

/** The readable part of a message. `extra` is an application's own, anything that JSON can say. */
export interface MessageBody {
  readonly text: string;
  readonly media?: MediaReference;
  readonly extra?: Readonly<Record<string, unknown>>;
  /** Seconds, as they were signed; written by the client itself. */
  readonly ttl?: number;
}

/** How a body is written into `content`, and read back. */
export interface BodyCodec {
  /** The bytes that are encrypted and sent. */
  encode(body: MessageBody): Uint8Array;
  /** Null for bytes that are no body. */
  decode(bytes: Uint8Array): MessageBody | null;
}
