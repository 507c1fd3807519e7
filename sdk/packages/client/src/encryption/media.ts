/** Media: the bytes under a key of their own, AES-256-GCM; the key goes into the encrypted message, never to the server. */
import { decodeBase64, encodeBase64 } from "../base64";
import { DecryptionError } from "../errors";

const NONCE_BYTES = 12;
const KEY_BYTES = 32;

/** `12 nonce · ciphertext`, and the key in base64. */
export async function sealMedia(data: Uint8Array): Promise<{ readonly data: Uint8Array; readonly key: string }> {
  const secret = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  const key = await crypto.subtle.importKey("raw", secret, "AES-GCM", false, ["encrypt"]);
  const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const ciphertext = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, new Uint8Array(data)));
  const sealed = new Uint8Array(NONCE_BYTES + ciphertext.length);
  sealed.set(iv);
  sealed.set(ciphertext, NONCE_BYTES);
  return { data: sealed, key: encodeBase64(secret) };
}

/** Throws DecryptionError where the bytes are not what was sealed with this key. */
export async function openMedia(data: Uint8Array, key: string): Promise<Uint8Array> {
  try {
    const secret = await crypto.subtle.importKey("raw", decodeBase64(key), "AES-GCM", false, ["decrypt"]);
    const iv = data.slice(0, NONCE_BYTES);
    return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, secret, data.slice(NONCE_BYTES)));
  } catch (error) {
    throw new DecryptionError("The medium is not what was sealed.", { cause: error });
  }
}
