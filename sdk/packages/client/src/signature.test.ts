/** The device signature on the golden cases that Python passes too, and on what they cannot say. */
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it, vi } from "vitest";
import { decodeBase64, encodeBase64 } from "./base64";
import { Ed25519UnavailableError, InvalidInputError } from "./errors";
import { canonicalJson } from "./fields";
import { generateDeviceKeys, isEd25519Available, signatureEnvelope, signEnvelope, SMALL_ORDER_Y, verifySignature, type Signable } from "./signature";

interface Case {
  readonly name: string;
  readonly valid: boolean;
  readonly input: Signable;
  readonly canonicalMetadata: string;
  readonly envelope: string;
  readonly seed: string;
  readonly publicKey: string;
  readonly signature: string;
}

const file = new URL("../../../../tests/vectors/signatures.json", import.meta.url);
const CASES = (JSON.parse(readFileSync(file, "utf8")) as { cases: Case[] }).cases;
const GOOD = CASES.filter((one) => one.valid);
const FIRST = GOOD[0] as Case;
/** What stands before a seed in PKCS #8, the one form that WebCrypto takes a seed in. */
const PKCS8 = "302e020100300506032b657004220420";

const available = await isEd25519Available();
if (!available) console.warn(`\n*** NOT TESTED: Node ${process.version} has no Ed25519 in WebCrypto; signing and verifying are left out. ***\n`);

function bytes(hex: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

function privateKey(seed: string): Promise<CryptoKey> {
  return crypto.subtle.importKey("pkcs8", bytes(PKCS8 + seed), "Ed25519", false, ["sign"]);
}

function verified(one: Case): Promise<boolean> {
  return verifySignature(decodeBase64(one.publicKey), bytes(one.envelope), decodeBase64(one.signature));
}

describe("the golden cases", () => {
  it("are there", () => {
    expect(GOOD.length).toBeGreaterThanOrEqual(15);
    expect(CASES.length - GOOD.length).toBeGreaterThanOrEqual(20);
  });

  it.each(CASES)("envelope: $name", (one) => {
    expect(canonicalJson(one.input.metadata)).toBe(one.canonicalMetadata);
    expect(Buffer.from(signatureEnvelope(one.input)).toString("hex")).toBe(one.envelope);
  });

  it.runIf(available).each(CASES)("verified is $valid: $name", async (one) => {
    expect(await verified(one)).toBe(one.valid);
  });

  it.runIf(available).each(GOOD)("signed the same: $name", async (one) => {
    expect(encodeBase64(await signEnvelope(await privateKey(one.seed), signatureEnvelope(one.input)))).toBe(one.signature);
  });
});

describe("verifySignature", () => {
  it.runIf(available)("refuses one changed bit, wherever it is", async () => {
    const parts = [decodeBase64(FIRST.publicKey), bytes(FIRST.envelope), decodeBase64(FIRST.signature)] as const;
    expect(await verifySignature(...parts)).toBe(true);
    for (const [which, part] of parts.entries()) {
      for (let bit = 0; bit < part.length * 8; bit += 1) {
        const flipped = part.map((byte, place) => (place === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
        const [key, envelope, signature] = parts.map((one, at) => (at === which ? flipped : one)) as [Uint8Array, Uint8Array, Uint8Array];
        expect(await verifySignature(key, envelope, signature), `part ${which}, bit ${bit}`).toBe(false);
      }
    }
  });

  it.runIf(available)("refuses every key of small order, in each spelling", async () => {
    const signature = new Uint8Array(64);
    signature[0] = 1; // R the identity, S = 0
    const spellings = [...SMALL_ORDER_Y, `ed${"ff".repeat(30)}7f`, `ee${"ff".repeat(30)}7f`];
    for (const y of spellings) {
      for (const sign of [0, 0x80]) {
        const key = bytes(y);
        key[31] = (key[31] ?? 0) | sign;
        for (let n = 0; n < 16; n += 1) expect(await verifySignature(key, Uint8Array.of(n), signature)).toBe(false);
      }
    }
  });

  it("knows the points of small order by the curve's equation", () => {
    const p = 2n ** 255n - 19n;
    const mod = (n: bigint): bigint => ((n % p) + p) % p;
    const power = (base: bigint, exponent: bigint): bigint => (exponent === 0n ? 1n : mod((exponent & 1n ? base : 1n) * power(mod(base * base), exponent >> 1n)));
    const d = mod(-121665n * power(121666n, p - 2n));
    const number = (hex: string): bigint => BigInt(`0x${Buffer.from(hex, "hex").reverse().toString("hex")}`);
    const [zero, one, minusOne, ...eighths] = SMALL_ORDER_Y.map(number);
    expect([zero, one, minusOne]).toEqual([0n, 1n, p - 1n]);
    expect(new Set(eighths).size).toBe(2);
    // Twice a point of order 8 has y = 0: d·y⁴ + 2·y² − 1 = 0.
    for (const y of eighths) expect(mod(d * power(y, 4n) + 2n * y * y - 1n)).toBe(0n);
  });
});

describe("keys of one's own", () => {
  it.runIf(available)("sign what they verify, and cannot be read", async () => {
    const [keys, others] = await Promise.all([generateDeviceKeys(), generateDeviceKeys()]);
    const envelope = signatureEnvelope(FIRST.input);
    const signature = await signEnvelope(keys.privateKey, envelope);
    expect(keys.publicKey.length).toBe(32);
    expect(await verifySignature(keys.publicKey, envelope, signature)).toBe(true);
    expect(await verifySignature(others.publicKey, envelope, signature)).toBe(false);
    await expect(crypto.subtle.exportKey("pkcs8", keys.privateKey)).rejects.toThrow();
  });

  it.runIf(available)("of another kind are refused", async () => {
    const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
    await expect(signEnvelope(pair.privateKey, new Uint8Array(1))).rejects.toThrow(InvalidInputError);
  });
});

describe("the form", () => {
  it.each([
    { conversationId: "x" },
    { clientRandom: -1 },
    { clientRandom: 2 ** 53 },
    { ttl: 0.5 },
    { content: "%" },
    { metadata: { a: "\udc00" } },
    { metadata: { a: Number.POSITIVE_INFINITY } },
  ] as Partial<Signable>[])("refuses %j", (change) => {
    expect(() => signatureEnvelope({ ...FIRST.input, ...change })).toThrow(InvalidInputError);
  });

  it("takes content as bytes too, and absent for null", () => {
    const { replyTo, target, mediaId, ttl, ...rest } = FIRST.input;
    expect([replyTo, target, mediaId, ttl]).toEqual([null, null, null, null]);
    const content = decodeBase64(FIRST.input.content as string);
    expect(signatureEnvelope({ ...rest, content })).toEqual(bytes(FIRST.envelope));
  });
});

describe("where WebCrypto lacks it", () => {
  afterEach(() => vi.unstubAllGlobals());

  const refusing = { subtle: Object.fromEntries(["importKey", "generateKey", "sign", "verify"].map((name) => [name, () => Promise.reject(new Error("unknown algorithm"))])) };

  it.each([
    ["no crypto", undefined],
    ["a page over plain HTTP", {}],
    ["an engine without Ed25519", refusing],
  ])("%s: a clear error, and no verdict", async (_, stub) => {
    vi.stubGlobal("crypto", stub);
    expect(await isEd25519Available()).toBe(false);
    await expect(verified(FIRST)).rejects.toThrow(Ed25519UnavailableError);
    await expect(generateDeviceKeys()).rejects.toMatchObject({ code: "ed25519_unavailable" });
    await expect(signEnvelope({} as CryptoKey, new Uint8Array(1))).rejects.toThrow(Ed25519UnavailableError);
  });
});
