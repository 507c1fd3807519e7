/** Who this tab is. sessionStorage belongs to one tab, so two tabs are two people. */
import { Api, type SignedIn } from "./api";

export interface Session extends SignedIn {
  name: string;
}

const KEY = "whispr.session";
export const NAME_LIMIT = 40;

export function loadSession(): Session | null {
  try {
    const session = JSON.parse(sessionStorage.getItem(KEY) ?? "null") as Session | null;
    return session !== null && session.token && session.userId && session.deviceId && session.name ? session : null;
  } catch {
    return null;
  }
}

/** Sign in under a name, as the device that `before` was where the server allows it. */
export async function signIn(name: string, before?: Session): Promise<Session> {
  const { token, userId, deviceId } = await Api.signIn(name, before?.deviceId);
  const session = { name, token, userId, deviceId };
  sessionStorage.setItem(KEY, JSON.stringify(session));
  return session;
}

export function signOut(): void {
  sessionStorage.clear();
}

/** A link that opens this page as another person, already looking at `withName`. */
export function linkFor(name: string, withName: string): string {
  return `/?${new URLSearchParams({ name, with: withName }).toString()}`;
}

const EXAMPLES = ["Ada", "Grace", "Alan", "Radia"];

/** A name for the second person. */
export function anotherName(name: string): string {
  return EXAMPLES.find((example) => example !== name) ?? "Ada";
}
