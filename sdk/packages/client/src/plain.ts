/** An engine that does not encrypt: for development, and for conversations that the server may read. */
import type { EncryptionEngine } from "./types/engine";

/** Bytes as they are, no signatures. A server with `WHISPR_SIGNATURES=required` refuses what it sends. */
export function plainEngine(): EncryptionEngine {
  return {
    name: "plain",
    encrypts: false,
    start: async () => ({ publicKey: null, encryptionKey: null, warnings: ["no_engine"] }),
    seal: async ({ plaintext }) => plaintext,
    open: async ({ content }) => content,
    sign: async () => null,
    verify: async () => "unsigned",
    sealMedia: async () => null,
    openMedia: async (data) => data,
  };
}
