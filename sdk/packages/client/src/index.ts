/** The client of Whispr. What is here so far: the hash chain of a conversation and the device signature. */
export { decodeBase64, encodeBase64 } from "./base64";
export { chainStart, entryLink, genesis, isWhole, verifyChain, verifySync, type ChainEntry, type ChainPoint, type ChainProof, type WireChain } from "./chain";
export { ChainBrokenError, Ed25519UnavailableError, InvalidInputError, WhisprError, type ChainFault } from "./errors";
export { canonicalJson, type Metadata } from "./fields";
export {
  generateDeviceKeys,
  isEd25519Available,
  signatureEnvelope,
  signEnvelope,
  verifySignature,
  type DeviceKeys,
  type Signable,
} from "./signature";
