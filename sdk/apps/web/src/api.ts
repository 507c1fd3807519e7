/** The REST side: one function a request, every refusal an ApiError with the server's code. */
import type { ConversationView, Entry, Person, SyncPage } from "./wire";

/** A refused or failed request. `code` is the server's, or "unreachable" where there was no answer. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Longer than the server may take for any request (10 s). */
const DEADLINE_MS = 12_000;

export interface SignedIn {
  token: string;
  userId: string;
  deviceId: string;
}

export class Api {
  constructor(private readonly token: () => string) {}

  /** Sign in under a name; with `deviceId`, as the same device again where the server allows it. */
  static signIn(name: string, deviceId?: string): Promise<SignedIn> {
    return request("POST", "dev/tokens", null, deviceId === undefined ? { name } : { name, deviceId });
  }

  async people(): Promise<Person[]> {
    return (await this.call<{ people: Person[] }>("GET", "dev/people")).people;
  }

  async conversations(): Promise<ConversationView[]> {
    return (await this.call<{ conversations: ConversationView[] }>("GET", "conversations?limit=50")).conversations;
  }

  conversation(id: string): Promise<ConversationView> {
    return this.call("GET", `conversations/${id}`);
  }

  createDirect(userId: string): Promise<ConversationView> {
    return this.call("POST", "conversations", { type: "direct", members: [userId] });
  }

  async members(id: string): Promise<string[]> {
    const found = await this.call<{ members: { userId: string }[] }>("GET", `conversations/${id}/members`);
    return found.members.map((member) => member.userId);
  }

  async receipts(id: string): Promise<{ userId: string; deliveredSeq: number; readSeq: number }[]> {
    type Found = { receipts: { userId: string; deliveredSeq: number; readSeq: number }[] };
    return (await this.call<Found>("GET", `conversations/${id}/receipts`)).receipts;
  }

  messages(id: string, page: { before?: number; after?: number; limit: number }): Promise<{ messages: Entry[]; hasMore: boolean }> {
    const query = Object.entries(page).map(([key, value]) => `${key}=${value}`);
    return this.call("GET", `conversations/${id}/messages?${query.join("&")}`);
  }

  /** A page of each conversation's log after its cursor, as it was appended. */
  sync(cursors: Record<string, number>, limit: number): Promise<SyncPage> {
    return this.call("POST", "sync", { cursors, limit });
  }

  private call<T>(method: string, path: string, body?: object): Promise<T> {
    return request(method, path, this.token(), body);
  }
}

async function request<T>(method: string, path: string, token: string | null, body?: object): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (token !== null) headers["Authorization"] = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(`/api/v1/${path}`, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      credentials: "omit",
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
  } catch {
    throw new ApiError("unreachable", 0, "The server does not answer.");
  }
  const answer: unknown = await response.json().catch(() => null);
  if (response.ok) return answer as T;
  const problem = (answer ?? {}) as { code?: string; detail?: string; title?: string };
  throw new ApiError(problem.code ?? "error", response.status, problem.detail ?? problem.title ?? `The server answered ${response.status}.`);
}
