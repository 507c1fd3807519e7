/** How a body is written into `content`: JSON with a version; bytes that are plain text are read as that. */
import { utf8Bytes, utf8Text } from "./base64";
import type { BodyCodec, MessageBody } from "./types/body";

const VERSION = 1;

/** The default codec. */
export const jsonCodec: BodyCodec = {
  encode: ({ text, media, extra, ttl }) => utf8Bytes(JSON.stringify({ v: VERSION, text, media, extra, ttl })),
  decode: (bytes) => {
    const text = decodeText(bytes);
    return text === null ? null : (parse(text) ?? { text });
  },
};

function parse(text: string): MessageBody | null {
  if (!text.startsWith('{"v":')) return null;
  try {
    const { text: words, media, extra, ttl } = JSON.parse(text) as Partial<MessageBody>;
    if (typeof words !== "string") return null;
    return { text: words, ...(media && { media }), ...(extra && { extra }), ...(typeof ttl === "number" && { ttl }) };
  } catch {
    return null;
  }
}

/** UTF-8 without control characters that people do not write; null for anything else (ciphertext). */
function decodeText(bytes: Uint8Array): string | null {
  try {
    const text = utf8Text(bytes);
    return /[\u0000-\u0008\u000e-\u001f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}
