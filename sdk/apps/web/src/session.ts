/**
 * Who this tab is. sessionStorage belongs to one tab, so two tabs are two people; `?as=Ann` gives a frame of the
 * demonstration a place of its own. Which devices signed in here is kept for the next time, in localStorage: a device's
 * keys stay in this browser, and only the same device reads what was encrypted for it.
 */
export interface Account {
  readonly name: string;
  readonly userId: string;
  readonly deviceId: string;
}

export interface Session extends Account {
  readonly token: string;
}

const ACCOUNTS = "whispr.accounts";
const DEADLINE_MS = 15_000;
export const NAME_LIMIT = 40;

/** Signing in did not work; `status` 0 where no answer came. */
export class SignInError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
    this.name = "SignInError";
  }
}

function read<Value>(storage: Storage, key: string): Value | null {
  try {
    return JSON.parse(storage.getItem(key) ?? "null") as Value | null;
  } catch {
    return null; // what somebody else wrote there is nothing to us
  }
}

/** The frame that the address names, or "" for a page of its own. */
export function frameName(): string {
  return new URLSearchParams(location.search).get("as")?.trim().slice(0, NAME_LIMIT) ?? "";
}

function tabKey(): string {
  const frame = frameName();
  return frame === "" ? "whispr.session" : `whispr.session.${frame}`;
}

export function loadSession(): Session | null {
  const session = read<Session>(sessionStorage, tabKey());
  return session?.token && session.userId && session.deviceId && session.name ? session : null;
}

/** Who signed in here before, the latest first. */
export function accounts(): readonly Account[] {
  const all = read<Account[]>(localStorage, ACCOUNTS);
  return Array.isArray(all) ? all.filter((one) => one.name && one.userId && one.deviceId) : [];
}

async function ask(name: string, deviceId: string | null): Promise<Session> {
  let response: Response;
  try {
    response = await fetch("/api/v1/dev/tokens", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify(deviceId === null ? { name } : { name, deviceId }),
      credentials: "omit",
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
  } catch {
    throw new SignInError(0, "The server does not answer.");
  }
  const answer = (await response.json().catch(() => ({}))) as { token?: string; userId?: string; deviceId?: string; detail?: string };
  if (!response.ok || !answer.token || !answer.userId || !answer.deviceId) throw new SignInError(response.status, answer.detail ?? "");
  return { name, token: answer.token, userId: answer.userId, deviceId: answer.deviceId };
}

/** Sign in under a name: as the device that this browser was before, where the server still knows it. */
export async function signIn(name: string): Promise<Session> {
  const known = accounts().find((account) => account.name === name);
  let session: Session;
  try {
    session = await ask(name, known?.deviceId ?? null);
  } catch (error) {
    const isRefused = error instanceof SignInError && [400, 403, 409, 422].includes(error.status);
    if (known === undefined || !isRefused) throw error;
    session = await ask(name, null); // the device was removed: this browser becomes a new one
  }
  sessionStorage.setItem(tabKey(), JSON.stringify(session));
  const { token: _, ...account } = session;
  const others = accounts().filter((other) => other.name !== name);
  localStorage.setItem(ACCOUNTS, JSON.stringify([account, ...others].slice(0, 8)));
  return session;
}

/** A new token for the same device. Null where it has to sign in again. */
export async function renew(session: Session): Promise<string | null> {
  try {
    const fresh = await ask(session.name, session.deviceId);
    sessionStorage.setItem(tabKey(), JSON.stringify(fresh));
    return fresh.token;
  } catch (error) {
    if (error instanceof SignInError && error.status !== 0 && error.status < 500 && error.status !== 429) return null;
    throw error;
  }
}

/** Forget who this tab is; with `device` also that this browser ever was that device. */
export function signOut(session: Session, device: boolean): void {
  sessionStorage.removeItem(tabKey());
  if (!device) return;
  localStorage.setItem(ACCOUNTS, JSON.stringify(accounts().filter(({ deviceId }) => deviceId !== session.deviceId)));
}
