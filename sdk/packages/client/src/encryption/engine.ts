/** The default engine: HPKE to every device, Ed25519 signatures, keys that no script can read. */
import { encodeBase64, decodeBase64 } from "../base64";
import { DecryptionError, Ed25519UnavailableError } from "../errors";
import { generateDeviceKeys, isEd25519Available, signatureEnvelope, signEnvelope, verifySignature, type DeviceKeys } from "../signature";
import type { EncryptionEngine, EngineContext } from "../types/engine";
import { openEnvelope, sealEnvelope } from "./envelope";
import { openMedia, sealMedia } from "./media";

const STORED = "device-keys-v1";

interface StoredKeys {
  readonly signing: DeviceKeys;
  readonly encryption: CryptoKeyPair;
}

/**
 * The engine of one client; give each its own.
 *
 * Where WebCrypto has no Ed25519 or X25519 (old browsers; any page over plain HTTP from another machine), this device
 * gets no keys: it can send to the others, and can read nothing. `security.warnings` says `no_ed25519` or `no_x25519`.
 */
export function encryptionEngine(): EncryptionEngine {
  let keys: StoredKeys | null = null;
  let deviceId = "";

  async function start({ identity, keys: storage }: EngineContext) {
    deviceId = identity.deviceId;
    const warnings: string[] = storage.durable ? [] : ["keys_in_memory"];
    const stored = (await storage.get(STORED)) as StoredKeys | undefined;
    keys = stored ?? null;
    if (keys === null) {
      const missing = await missingAlgorithm();
      if (missing !== null) return { publicKey: null, encryptionKey: null, warnings: [...warnings, missing] };
      keys = { signing: await generateDeviceKeys(), encryption: await generateEncryptionKeys() };
      await storage.put(STORED, keys);
    }
    const encryptionKey = new Uint8Array(await crypto.subtle.exportKey("raw", keys.encryption.publicKey));
    return { publicKey: encodeBase64(keys.signing.publicKey), encryptionKey: encodeBase64(encryptionKey), warnings };
  }

  return {
    name: "hpke-v1",
    encrypts: true,
    start,
    seal: ({ binding, plaintext, devices }) => sealEnvelope(binding, plaintext, devices),
    open: async ({ binding, content }) => {
      if (keys === null) throw new DecryptionError("This device has no keys.");
      return openEnvelope(binding, content, deviceId, keys.encryption);
    },
    sign: async (signable) => (keys === null ? null : signEnvelope(keys.signing.privateKey, signatureEnvelope(signable))),
    verify: async ({ signable, signature, publicKey }) => {
      if (publicKey === null) return "unsigned";
      try {
        return (await verifySignature(decodeBase64(publicKey), signatureEnvelope(signable), signature)) ? "verified" : "forged";
      } catch (error) {
        if (error instanceof Ed25519UnavailableError) return "unsigned";
        throw error;
      }
    },
    sealMedia,
    openMedia,
  };
}

/** Private keys that cannot be exported, but kept in IndexedDB. */
async function generateEncryptionKeys(): Promise<CryptoKeyPair> {
  return (await crypto.subtle.generateKey("X25519", false, ["deriveBits"])) as CryptoKeyPair;
}

async function missingAlgorithm(): Promise<"no_ed25519" | "no_x25519" | null> {
  if (!(await isEd25519Available())) return "no_ed25519";
  try {
    await generateEncryptionKeys();
    return null;
  } catch {
    return "no_x25519";
  }
}
