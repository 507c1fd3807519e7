/** Keys that nobody drew before. */

/** A new idempotency key, evenly drawn from 0 … 2^53 − 1: 21 bits and 32 bits of the environment's random source. */
export function drawClientRandom(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return ((high ?? 0) % 2 ** 21) * 2 ** 32 + (low ?? 0);
}

/** A local name: randomUUID is not there on pages that came over plain HTTP. */
export function drawId(): string {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36).padStart(7, "0")).join("");
}
