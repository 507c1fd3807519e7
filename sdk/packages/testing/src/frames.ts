/** Frames of Phoenix Channels, version 2, as the server reads and writes them: `tests/vectors/phoenix.json` has the cases. */

/** What ties an answer to its request, and a frame to its join. */
export type Ref = string | number | null;
/** A frame of the phoenix protocol's version 2.0.0. */
export type Frame = readonly [joinRef: Ref, ref: Ref, topic: string, event: string, payload: Readonly<Record<string, unknown>>];

/** What the server answers with `bad_request`. */
export class FrameError extends Error {}

const REF_BYTES = 64;
const EVENT_BYTES = 64;
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** The frame in `text`. Throws FrameError for whatever the server refuses. */
export function decodeFrame(text: string): Frame {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text, (_, value: unknown) => checked(value));
  } catch (error) {
    throw new FrameError("not JSON", { cause: error });
  }
  if (!Array.isArray(parsed) || parsed.length < 5) throw new FrameError("not a frame");
  const [joinRef, ref, topic, event, payload] = parsed as unknown[];
  if (!isRef(joinRef) || !isRef(ref) || typeof topic !== "string" || typeof event !== "string") throw new FrameError("not a frame");
  if (bytes(event) > EVENT_BYTES || typeof payload !== "object" || payload === null || Array.isArray(payload)) throw new FrameError("not a frame");
  return [joinRef, ref, topic, event, payload as Record<string, unknown>];
}

/** Compact JSON, as the server writes it. */
export function encodeFrame(frame: Frame): string {
  return JSON.stringify(frame);
}

function isRef(value: unknown): value is Ref {
  if (value === null || Number.isSafeInteger(value)) return true;
  return typeof value === "string" && bytes(value) <= REF_BYTES;
}

function checked(value: unknown): unknown {
  const texts = typeof value === "string" ? [value] : typeof value === "object" && value !== null ? Object.keys(value) : [];
  if (texts.some((one) => one.includes("\0") || LONE_SURROGATE.test(one))) throw new FrameError("not text");
  return value;
}

function bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}
