/**
 * The client of Whispr: guaranteed sending, an outbox, receipts, and conversations as stores.
 *
 * @module @whispr/client
 */
export { decodeBase64, encodeBase64 } from "./base64";
export { chainStart, entryLink, genesis, isWhole, verifyChain, verifySync, type ChainEntry, type ChainPoint, type ChainProof, type WireChain } from "./chain";
export { createClient } from "./client";
export { jsonCodec } from "./codec";
export {
  ChainBrokenError,
  ContentTooLargeError,
  DecryptionError,
  DiscardedError,
  Ed25519UnavailableError,
  InvalidInputError,
  NoRecipientsError,
  OutboxBusyError,
  OutboxFullError,
  RequestError,
  SignedOutError,
  UnansweredError,
  WhisprError,
  type ChainFault,
  type ErrorAction,
} from "./errors";
export { canonicalJson, type Metadata } from "./fields";
export { plainEngine } from "./plain";
export { ERRORS, LIMITS } from "./protocol.gen";
export {
  generateDeviceKeys,
  isEd25519Available,
  signatureEnvelope,
  signEnvelope,
  verifySignature,
  type DeviceKeys,
  type Signable,
} from "./signature";
export { memoryStorage } from "./storage/memory";
export type * from "./types";
export type { Store } from "./types/store";
