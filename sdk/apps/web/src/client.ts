/** The client of this page: encrypted, kept in IndexedDB under the device's own name. */
import { createClient, type WhisprClient } from "@whispr/client";
import { encryptionEngine } from "@whispr/client/encryption";
import { renew, type Session } from "./session";

export function makeClient(session: Session): WhisprClient {
  let first: string | null = session.token;
  return createClient({
    url: "",
    identity: { userId: session.userId, deviceId: session.deviceId },
    getToken: async (reason) => {
      const token = first;
      first = null;
      return reason === "start" && token !== null ? token : renew(session);
    },
    engine: encryptionEngine(),
    device: { name: deviceName(), platform: "web" },
  });
}

/** What this browser is called in the list of devices until somebody renames it. */
export function deviceName(): string {
  const { userAgent } = navigator;
  const browser = ["Edg", "OPR", "Firefox", "Chrome", "Safari"].find((name) => userAgent.includes(name)) ?? "Browser";
  const system = ["Android", "iPhone", "iPad", "Windows", "Mac OS", "Linux"].find((name) => userAgent.includes(name));
  const names: Record<string, string> = { Edg: "Edge", OPR: "Opera" };
  return [names[browser] ?? browser, system].filter(Boolean).join(", ");
}
