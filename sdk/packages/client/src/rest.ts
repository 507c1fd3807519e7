/** The REST side: every refusal a RequestError with the server's code, every silence an UnansweredError. */
import { RequestError, SignedOutError, UnansweredError } from "./errors";
import type { Tokens } from "./tokens";

/** Longer than the server may take for any request (10 s). */
const DEADLINE_MS = 12_000;
/** A medium of 25 MiB at the slowest speed that the server waits for. */
const TRANSFER_MS = 125_000;

export class Rest {
  constructor(
    private readonly origin: string,
    private readonly tokens: Tokens,
    private readonly fetcher: typeof fetch,
  ) {}

  /** A request with a body of JSON, or none; the decoded answer. */
  async request<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await this.answered(method, path, DEADLINE_MS, {
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text().catch(unanswered);
    return (text === "" ? null : JSON.parse(text)) as Answer;
  }

  async upload(data: Uint8Array<ArrayBuffer>, signal?: AbortSignal): Promise<{ mediaId: string; sha256: string; size: number }> {
    const headers = { "Content-Type": "application/octet-stream" };
    const response = await this.answered("POST", "media", TRANSFER_MS, { headers, body: data, ...(signal && { signal }) });
    return (await response.json().catch(unanswered)) as { mediaId: string; sha256: string; size: number };
  }

  async download(mediaId: string): Promise<Uint8Array> {
    const response = await this.answered("GET", `media/${encodeURIComponent(mediaId)}`, TRANSFER_MS, {});
    return new Uint8Array(await response.arrayBuffer().catch(unanswered));
  }

  /** With a token that the server took: a refused one is renewed once. */
  private async answered(method: string, path: string, ms: number, init: RequestInit): Promise<Response> {
    if (this.tokens.current === "" || this.tokens.hasExpired) {
      if ((await this.tokens.renew("expired").catch(unanswered)) === null) throw new SignedOutError();
    }
    const before = this.tokens.current;
    const first = await this.send(method, path, ms, init);
    if (first.status !== 401) return first.ok ? first : await refuse(first);
    const renewed = this.tokens.current === before ? await this.tokens.renew("refused").catch(unanswered) : this.tokens.current;
    if (renewed === null) throw new SignedOutError();
    const second = await this.send(method, path, ms, init);
    return second.ok ? second : await refuse(second);
  }

  private async send(method: string, path: string, ms: number, init: RequestInit): Promise<Response> {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), ms);
    init.signal?.addEventListener("abort", () => abort.abort());
    const headers = { ...init.headers, Authorization: `Bearer ${this.tokens.current}` };
    try {
      return await this.fetcher(`${this.origin}/api/v1/${path}`, { ...init, method, headers, signal: abort.signal });
    } catch (error) {
      throw new UnansweredError({ cause: error });
    } finally {
      clearTimeout(timer);
    }
  }
}

function unanswered(error: unknown): never {
  throw new UnansweredError({ cause: error });
}

interface Problem {
  readonly code?: string;
  readonly detail?: string;
  readonly retryAfter?: number;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** What is not of the protocol's form comes from something between us and the server. */
async function refuse(response: Response): Promise<never> {
  const problem = (await response.json().catch(() => ({}))) as Problem;
  if (problem.code !== undefined) {
    throw new RequestError(problem.code, problem.detail ?? problem.code, problem.retryAfter ?? null, problem.details);
  }
  if (response.status >= 500) throw new UnansweredError();
  throw new RequestError("bad_request", `HTTP ${response.status}`);
}
