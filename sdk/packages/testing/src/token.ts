/** Tokens that say who somebody is, signed by nobody: the fake server believes them. */

/** A token of this device, for an hour or `seconds`. */
export function fakeToken(userId: string, deviceId: string, seconds = 3_600): string {
  const exp = Math.floor(Date.now() / 1_000) + seconds;
  const body = btoa(JSON.stringify({ sub: userId, device: deviceId, exp })).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `${btoa('{"alg":"none"}')}.${body}.`;
}

/** Whose token it is. */
export interface Device {
  readonly userId: string;
  readonly deviceId: string;
}

/** Who the token is of; null for what is none, or has expired. */
export function readFakeToken(token: string): Device | null {
  try {
    const body = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const { sub, device, exp } = JSON.parse(atob(body)) as { sub: string; device: string; exp: number };
    return exp * 1_000 > Date.now() ? { userId: sub, deviceId: device } : null;
  } catch {
    return null;
  }
}
