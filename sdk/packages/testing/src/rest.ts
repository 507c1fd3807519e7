/** The REST routes that the client asks, as docs/protocol.md §7 has them. */
import { buildDevice, buildScheduled, uuid } from "./builders";
import { FakeConversation } from "./log";
import type { FakeServer } from "./server";
import type { Device } from "./token";

export interface RestAnswer {
  readonly status: number;
  readonly body: unknown;
}

type Body = Readonly<Record<string, unknown>>;
type Route = (server: FakeServer, who: Device, names: readonly string[], body: Body, query: URLSearchParams) => RestAnswer | null;

const ok = (body: unknown, status = 200): RestAnswer => ({ status, body });

/** The conversation, where the caller is one of its members. */
function mine(server: FakeServer, { userId }: Device, id: string | undefined): FakeConversation | null {
  const found = server.conversations.get(id ?? "");
  return found?.members.has(userId) === true ? found : null;
}

const ROUTES: readonly (readonly [pattern: RegExp, route: Route])[] = [
  [/^GET conversations$/, (server, { userId }) => ok({ conversations: server.of(userId).map((one) => one.viewFor(userId)) })],
  [
    /^POST conversations$/,
    (server, { userId }, _, { type, members }) => {
      const users = [...new Set([userId, ...(members as string[])])];
      const known = type === "direct" ? server.of(userId).find((one) => one.type === "direct" && users.every((id) => one.members.has(id))) : undefined;
      const found = known ?? server.conversation(users, type === "direct" ? "direct" : "group");
      return ok(found.viewFor(userId), known === undefined ? 201 : 200);
    },
  ],
  [/^GET conversations\/([^/]+)$/, (server, who, [id]) => one(mine(server, who, id), (found) => found.viewFor(who.userId))],
  [
    /^PATCH conversations\/([^/]+)$/,
    (server, who, [id], { settings }) =>
      one(mine(server, who, id), (found) => {
        Object.assign(found.settings, settings);
        server.append(found, { type: "system", content: "", metadata: { event: "conversation_updated", by: who.userId }, clientRandom: null });
        return found.viewFor(who.userId);
      }),
  ],
  [
    /^DELETE conversations\/([^/]+)$/,
    (server, who, [id]) => {
      const found = mine(server, who, id);
      if (found === null || found.type === "direct") return null;
      const userIds = [...found.members.keys()];
      server.append(found, { type: "system", content: "", metadata: { event: "member_removed", userIds, by: who.userId }, clientRandom: null });
      found.members.clear();
      return ok(null, 204);
    },
  ],
  [/^GET conversations\/([^/]+)\/members$/, (server, who, [id]) => one(mine(server, who, id), (found) => ({ members: [...found.members.values()].map((member) => member.view) }))],
  [
    /^POST conversations\/([^/]+)\/members$/,
    (server, who, [id], { userIds }) =>
      one(mine(server, who, id), (found) => {
        found.membersVersion += 1;
        for (const userId of userIds as string[]) found.join(userId);
        server.append(found, { type: "system", content: "", metadata: { event: "member_added", userIds, by: who.userId }, clientRandom: null });
        return {};
      }),
  ],
  [
    /^DELETE conversations\/([^/]+)\/members\/([^/]+)$/,
    (server, who, [id, userId = ""]) =>
      one(mine(server, who, id), (found) => {
        found.membersVersion += 1;
        server.append(found, { type: "system", content: "", metadata: { event: "member_removed", userIds: [userId], by: who.userId }, clientRandom: null });
        found.members.delete(userId);
        return {};
      }),
  ],
  [
    /^GET conversations\/([^/]+)\/receipts$/,
    (server, who, [id]) =>
      one(mine(server, who, id), (found) => ({ receipts: [...found.members].map(([userId, { delivered, read }]) => ({ userId, deliveredSeq: delivered, readSeq: read })) })),
  ],
  [
    /^GET conversations\/([^/]+)\/devices$/,
    (server, who, [id]) =>
      one(mine(server, who, id), (found) => ({
        membersVersion: found.membersVersion,
        devices: [...server.devices.values()].filter((device) => found.members.has(device.userId) && device.revokedAt === null),
      })),
  ],
  [/^GET conversations\/([^/]+)\/messages$/, (server, who, [id], _, query) => one(mine(server, who, id), (found) => found.page(who.userId, pageOf(query)))],
  [
    /^GET devices$/,
    (server, who) =>
      ok({ devices: [...server.devices.values()].filter((device) => device.userId === who.userId).map((device) => buildDevice({ ...device, current: device.id === who.deviceId })) }),
  ],
  [
    /^(?:POST devices|PATCH devices\/([^/]+))$/,
    (server, who, [id = who.deviceId], body) => {
      const device = server.devices.get(id);
      if (device === undefined) return null;
      Object.assign(device, body);
      return ok(buildDevice({ ...device, current: id === who.deviceId }));
    },
  ],
  [
    /^DELETE devices\/([^/]+)$/,
    (server, _, [id = ""]) => {
      const device = server.devices.get(id);
      if (device === undefined) return null;
      device.revokedAt = new Date().toISOString();
      for (const socket of [...server.sockets]) if (socket.device?.deviceId === id) socket.end(4403);
      return ok(null, 204);
    },
  ],
  [/^GET settings$/, (server, { userId }) => ok(settingsOf(server, userId))],
  [
    /^PATCH settings$/,
    (server, { userId }, _, body) => {
      server.settings.set(userId, { ...settingsOf(server, userId), ...body });
      server.push(userId, "personal_update", { kind: "settings", ...settingsOf(server, userId) });
      return ok(settingsOf(server, userId));
    },
  ],
  [/^GET messages\/drafts$/, (server, { userId }) => ok({ drafts: [...server.drafts.keys()].filter((key) => key.startsWith(userId)).map((key) => draftOf(server, key)) })],
  [/^GET messages\/drafts\/([^/]+)$/, (server, { userId }, [id]) => (server.drafts.has(`${userId}/${id}`) ? ok(draftOf(server, `${userId}/${id}`)) : null)],
  [
    /^PUT messages\/drafts\/([^/]+)$/,
    (server, { userId, deviceId }, [id], { content, revision }) => {
      const key = `${userId}/${id}`;
      const now = server.drafts.get(key)?.revision ?? 0;
      if (typeof revision === "number" && revision !== now) return { status: 409, body: { code: "edit_conflict", detail: "edit_conflict", details: { revision: now } } };
      server.drafts.set(key, { content: String(content), revision: now + 1, deviceId });
      for (const socket of server.sockets) {
        if (socket.device?.userId === userId && socket.device.deviceId !== deviceId) server.pushTo(socket, "personal_update", { kind: "draft", ...draftOf(server, key) });
      }
      return ok(draftOf(server, key), now === 0 ? 201 : 200);
    },
  ],
  [/^DELETE messages\/drafts\/([^/]+)$/, (server, { userId }, [id]) => (server.drafts.delete(`${userId}/${id}`) ? ok(null, 204) : null)],
  [/^GET messages\/scheduled$/, (server, { userId }) => ok({ scheduled: [...server.scheduled.values()].filter((one) => one.userId === userId).map((one) => one.view) })],
  [
    /^POST messages\/scheduled$/,
    (server, { userId, deviceId }, _, body) => {
      const view = { ...buildScheduled({ id: uuid(), deviceId }), ...body } as unknown as Record<string, unknown>;
      server.scheduled.set(String(view["id"]), { userId, view });
      return ok(view, 201);
    },
  ],
  [/^GET messages\/scheduled\/([^/]+)$/, (server, _, [id = ""]) => one(server.scheduled.get(id) ?? null, (found) => found.view)],
  [/^PUT messages\/scheduled\/([^/]+)$/, (server, _, [id = ""], body) => one(server.scheduled.get(id) ?? null, (found) => Object.assign(found.view, body, { state: "scheduled" }))],
  [/^DELETE messages\/scheduled\/([^/]+)$/, (server, _, [id = ""]) => (server.scheduled.delete(id) ? ok(null, 204) : null)],
  [/^GET blocks$/, (server, { userId }) => ok({ blocks: [...(server.blocks.get(userId) ?? [])].map((blocked) => ({ userId: blocked })) })],
  [/^PUT blocks\/([^/]+)$/, (server, { userId }, [id = ""]) => (server.blocks.set(userId, new Set([...(server.blocks.get(userId) ?? []), id])), ok(null, 204))],
  [/^DELETE blocks\/([^/]+)$/, (server, { userId }, [id = ""]) => (server.blocks.get(userId)?.delete(id), ok(null, 204))],
  [
    /^POST media$/,
    (server, _, __, body) => {
      const mediaId = uuid();
      server.media.set(mediaId, body as unknown as Uint8Array);
      return ok({ mediaId, size: (body as unknown as Uint8Array).length, sha256: "", createdAt: new Date().toISOString() }, 201);
    },
  ],
  [/^GET media\/([^/]+)$/, (server, _, [id = ""]) => one(server.media.get(id) ?? null, (found) => found)],
];

/** The answer of the route; null where there is none, or nothing of that name. */
export function handleRest(server: FakeServer, who: Device, method: string, path: string, query: URLSearchParams, body: unknown): RestAnswer | null {
  for (const [pattern, route] of ROUTES) {
    const match = pattern.exec(`${method} ${path}`);
    if (match !== null) return route(server, who, match.slice(1), (body ?? {}) as Body, query);
  }
  return null;
}

function one<Found>(found: Found | null, make: (found: Found) => unknown): RestAnswer | null {
  return found === null ? null : ok(make(found));
}

function pageOf(query: URLSearchParams): { before?: number; after?: number; limit?: number } {
  return Object.fromEntries([...query].map(([name, value]) => [name, Number(value)]));
}

function settingsOf(server: FakeServer, userId: string): Record<string, unknown> {
  return { readReceipts: true, shareLastSeen: true, ...server.settings.get(userId) };
}

function draftOf(server: FakeServer, key: string): object {
  const [, conversationId] = key.split("/");
  return { conversationId, ...server.drafts.get(key), changedAt: new Date().toISOString() };
}
