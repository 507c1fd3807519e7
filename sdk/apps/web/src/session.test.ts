import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { accounts, frameName, loadSession, renew, signIn, SignInError, signOut } from "./session";

const DEVICE = "d0000000-0000-4000-8000-000000000001";
const OTHER = "d0000000-0000-4000-8000-000000000002";

interface Asked {
  readonly name: string;
  readonly deviceId?: string;
}

let asked: Asked[] = [];

/** The server's answers to `POST dev/tokens`, one after the other. */
function answer(...answers: { status: number; deviceId?: string }[]): void {
  const left = [...answers];
  vi.stubGlobal("fetch", (_: string, init: { body: string }) => {
    asked.push(JSON.parse(init.body) as Asked);
    const next = left.shift();
    if (next === undefined) return Promise.reject(new TypeError("no network"));
    const body = next.status < 400 ? { token: `token-${asked.length}`, userId: "u1", deviceId: next.deviceId ?? DEVICE } : { detail: "no" };
    return Promise.resolve(new Response(JSON.stringify(body), { status: next.status }));
  });
}

beforeEach(() => {
  asked = [];
  sessionStorage.clear();
  localStorage.clear();
});
afterEach(() => vi.unstubAllGlobals());

describe("signing in", () => {
  it("is remembered in this tab, and the device in this browser", async () => {
    answer({ status: 201 });
    const session = await signIn("Ann");
    expect(loadSession()).toEqual(session);
    expect(accounts()).toEqual([{ name: "Ann", userId: "u1", deviceId: DEVICE }]);
    expect(JSON.stringify(localStorage)).not.toContain("token-1");
  });

  it("takes the device up again whose keys are here", async () => {
    answer({ status: 201 }, { status: 201 });
    signOut(await signIn("Ann"), false);
    expect(loadSession()).toBeNull();
    await signIn("Ann");
    expect(asked[1]).toEqual({ name: "Ann", deviceId: DEVICE });
  });

  it("becomes a new device where the old one was removed", async () => {
    answer({ status: 201 }, { status: 403 }, { status: 201, deviceId: OTHER });
    signOut(await signIn("Ann"), false);
    expect((await signIn("Ann")).deviceId).toBe(OTHER);
    expect(accounts().map(({ deviceId }) => deviceId)).toEqual([OTHER]);
  });

  it("forgets the device when it is to be erased", async () => {
    answer({ status: 201 });
    signOut(await signIn("Ann"), true);
    expect(accounts()).toEqual([]);
  });

  it("says whether the server answered at all", async () => {
    answer();
    await expect(signIn("Ann")).rejects.toMatchObject({ status: 0 });
    answer({ status: 404 });
    await expect(signIn("Ann")).rejects.toMatchObject({ status: 404 });
    await expect(signIn("Ann")).rejects.toBeInstanceOf(SignInError);
  });

  it("is not led astray by what somebody else stored", () => {
    sessionStorage.setItem("whispr.session", "{not json");
    localStorage.setItem("whispr.accounts", '{"a": 1}');
    expect(loadSession()).toBeNull();
    expect(accounts()).toEqual([]);
  });
});

describe("a new token", () => {
  it("is for the same device; null where it has to sign in again; an error while there is no network", async () => {
    answer({ status: 201 }, { status: 201 }, { status: 403 }, { status: 503 });
    const session = await signIn("Ann");
    expect(await renew(session)).toBe("token-2");
    expect(asked[1]).toEqual({ name: "Ann", deviceId: DEVICE });
    expect(await renew(session)).toBeNull();
    await expect(renew(session)).rejects.toMatchObject({ status: 503 });
  });
});

it("gives each frame of the demonstration a place of its own", async () => {
  history.replaceState(null, "", "/?as=Bob&with=Ann");
  expect(frameName()).toBe("Bob");
  answer({ status: 201 });
  await signIn("Bob");
  expect(sessionStorage.getItem("whispr.session")).toBeNull();
  expect(loadSession()?.name).toBe("Bob");
  history.replaceState(null, "", "/");
});
