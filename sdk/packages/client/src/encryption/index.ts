/**
 * End-to-end encryption: `createClient({ …, engine: encryptionEngine() })`.
 *
 * What it gives and what not is in the package's README; the form of what it writes is in `envelope.ts`.
 *
 * @module @whispr/client/encryption
 */
export { encryptionEngine } from "./engine";
export { sealEnvelope, openEnvelope } from "./envelope";
export { openMedia, sealMedia } from "./media";
