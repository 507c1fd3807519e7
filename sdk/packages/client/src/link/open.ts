/** Which link this client gets: a socket of its own, or one that all tabs of the device share. */
import type { Session } from "../session";
import type { Tokens } from "../tokens";
import type { ClientOptions } from "../types/client";
import type { Identity } from "../types/connection";
import type { Link, LinkEvents } from "./link";
import { canShare } from "./share";

export interface LinkOptions extends ClientOptions {
  readonly identity: Identity;
  readonly tokens: Tokens;
  readonly session: Session;
  readonly events: LinkEvents;
}

/** The code of the socket and of the tabs is loaded here: an application shows its first page without it. */
export async function openLink({ identity, tokens, session, events, url, socket = {}, sharedTabs }: LinkOptions): Promise<Link> {
  const { SocketLink } = await import("./socket");
  const address = socket.url ?? `${url.replace(/\/+$/, "").replace(/^http/, "ws")}/socket`;
  const own = (heard: LinkEvents): Link => new SocketLink(identity.userId, address, socket, tokens, (id) => session.joinPayload(id), heard);
  if (sharedTabs === false || !canShare()) return own(events);
  const { SharedLink } = await import("./tabs");
  return new SharedLink(`whispr:${identity.userId}:${identity.deviceId}`, own, events, session);
}
