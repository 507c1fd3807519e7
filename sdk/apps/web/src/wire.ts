/** The shapes of docs/protocol.md that this page uses, and the small conversions around them. */
import type { WireChain } from "@whispr/client";

export interface Entry {
  messageId: string;
  conversationId: string;
  seq: number;
  senderId: string;
  senderDeviceId: string | null;
  type: "text" | "media" | "system" | "ephemeral" | "edit" | "reaction";
  content: string;
  metadata: Record<string, unknown>;
  replyTo: string | null;
  target: string | null;
  clientRandom: number | null;
  sentAt: string;
  editedAt: string | null;
  expiresAt: string | null;
  signature: string | null;
}

/** What this page reads of `POST sync`; `chain` is there where the server keeps the hash chain. */
export interface SyncPage {
  conversations: { id: string; messages: Entry[]; hasMore: boolean; chain?: WireChain; resyncRequired?: string }[];
}

export interface SendReply {
  status: "sent" | "duplicate" | "pending";
  messageId: string;
  conversationId: string;
  seq?: number;
  sentAt?: string;
}

export interface Receipt {
  conversationId: string;
  recipientId: string;
  status: "delivered" | "read";
  messageIds: string[];
  upTo: number;
  timestamp: string;
}

export interface ConversationView {
  id: string;
  type: "direct" | "group";
  lastSeq: number;
  lastSentAt: string | null;
  unread: number;
  joinedSeq: number;
  readSeq: number;
  createdAt: string;
}

export interface Person {
  name: string;
  userId: string;
}

/** What a refused push or request carries. */
export interface Refusal {
  reason: string;
  message: string;
  retryAfter?: number;
}

export const RANDOM_LIMIT = 2 ** 53;

/** A new idempotency key, evenly drawn from 0 … 2^53 − 1: 21 bits and 32 bits of the browser's random source. */
export function drawClientRandom(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return ((high ?? 0) % 2 ** 21) * 2 ** 32 + (low ?? 0);
}

/** Text as the base64 of its UTF-8 bytes, which is what `content` carries. */
export function encodeContent(text: string): string {
  let binary = "";
  for (const byte of new TextEncoder().encode(text)) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** The text in `content`, or null where the bytes are not text (another client's ciphertext). */
export function decodeContent(content: string): string | null {
  try {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    // Control characters other than tab and line ends do not occur in what people write.
    return /[\u0000-\u0008\u000e-\u001f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}
