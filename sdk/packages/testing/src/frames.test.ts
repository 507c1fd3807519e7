/** The shared cases of the Phoenix protocol, which the real server passes too. */
import { readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { decodeFrame, encodeFrame, FrameError, type Frame } from "./frames";
import { FakeSocket, type SocketHost } from "./socket";

interface Vectors {
  readonly decode: readonly { name: string; version: number; in: string; out?: Frame; out_text?: string; error?: string }[];
  readonly encode: readonly { name: string; version: number; message: Frame; out: string }[];
  readonly sessions: readonly { name: string; version: number; steps: readonly Step[] }[];
}

interface Step {
  readonly client?: string;
  readonly server?: string;
  readonly response?: object;
  readonly out: readonly { send?: unknown; event?: unknown; join?: string }[];
}

const file = new URL("../../../../tests/vectors/phoenix.json", import.meta.url);
const VECTORS = JSON.parse(readFileSync(file, "utf8")) as Vectors;

describe("frames", () => {
  const cases = VECTORS.decode.filter((one) => one.version === 2);
  it("has the cases", () => expect(cases.length).toBeGreaterThan(30));

  it.each(cases.map((one) => [one.name, one] as const))("decodes: %s", (_, one) => {
    if (one.error !== undefined) expect(() => decodeFrame(one.in)).toThrow(FrameError);
    else if (one.out_text !== undefined) expect(JSON.stringify(decodeFrame(one.in)[4])).toBe(one.out_text);
    else expect(decodeFrame(one.in)).toEqual(one.out);
  });

  it.each(VECTORS.encode.filter((one) => one.version === 2).map((one) => [one.name, one] as const))("encodes: %s", (_, one) => {
    expect(encodeFrame(one.message)).toBe(one.out);
  });
});

/** Sessions whose every step a synchronous server can do: the decision comes with the request. */
const PLAYED = ["heartbeat", "event on a topic never joined", "leave of a topic never joined"];

describe("sessions", () => {
  it.each(PLAYED)("%s", async (name) => {
    const session = VECTORS.sessions.find((one) => one.name === name && one.version === 2);
    const got: unknown[] = [];
    const host: SocketHost = {
      accept: () => ({ userId: "u", deviceId: "d" }),
      join: () => ({ status: "ok", response: {} }),
      joined: () => undefined,
      event: () => null,
      gone: () => undefined,
    };
    const socket = new FakeSocket(host);
    socket.onmessage = ({ data }) => got.push(JSON.parse(data));
    await new Promise<void>((resolve) => (socket.onopen = resolve));
    for (const step of session?.steps ?? []) socket.send(step.client ?? "");
    const expected = session?.steps.flatMap((step) => step.out.flatMap((out) => (out.send === undefined ? [] : [out.send])));
    expect(expected?.length).toBeGreaterThan(0);
    await vi.waitFor(() => expect(got).toEqual(expected));
  });
});
