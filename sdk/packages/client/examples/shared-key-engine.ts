/**
 * Another engine in the place of the default one: a key that all members already share, for a team whose devices are
 * set up by its company. It shows what an engine has to do; whoever needs forward secrecy puts MLS here the same way.
 */
import { DecryptionError, plainEngine, type Binding, type EncryptionEngine } from "@whispr/client";

const NONCE_BYTES = 12;

/** `key`: an AES-GCM key, the same on every device. Nothing is signed, so `item.security` says `unsigned`. */
export function sharedKeyEngine(key: CryptoKey): EncryptionEngine {
  return {
    ...plainEngine(), // no signatures, and media as they are
    name: "shared-key-v1",
    encrypts: true,
    start: async () => ({ publicKey: null, encryptionKey: null, warnings: [] }),
    seal: async ({ binding, plaintext }) => {
      const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
      const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: bound(binding) }, key, new Uint8Array(plaintext));
      return Uint8Array.of(...iv, ...new Uint8Array(sealed));
    },
    open: async ({ binding, content }) => {
      const [iv, sealed] = [content.slice(0, NONCE_BYTES), content.slice(NONCE_BYTES)];
      try {
        return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv, additionalData: bound(binding) }, key, sealed));
      } catch (error) {
        throw new DecryptionError("It was not sealed with this key.", { cause: error });
      }
    },
  };
}

/** What the ciphertext is bound to: the server cannot show it in another place, or as somebody else's. */
function bound({ purpose, conversationId, senderId, senderDeviceId, clientRandom }: Binding): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify([purpose ?? "message", conversationId, senderId, senderDeviceId, clientRandom]));
}
