/** The token: asked for once at a time, renewed before it ends, and what it says of who we are. */
import { decodeBase64, utf8Text } from "./base64";
import { InvalidInputError } from "./errors";
import type { TokenReason } from "./types/client";
import type { Identity } from "./types/connection";

/** A new one is asked for so long before the end, or at nine tenths of a short life. In ms. */
const AHEAD_MS = 60_000;
/** The longest wait that setTimeout takes. */
const TIMER_MAX_MS = 2_147_483_647;
const RETRY_MS = 5_000;

export interface Claims extends Identity {
  /** In ms since 1970; null where the token does not say. */
  readonly expiresAt: number | null;
}

export class Tokens {
  private token: string | null = null;
  private asking: Promise<string | null> | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;

  /** `ended`: the application has no token any more; `renewed`: there is a new one before the old one ended. */
  constructor(
    private readonly ask: (reason: TokenReason) => string | null | Promise<string | null>,
    private readonly events: { readonly ended: () => void; readonly error: (error: Error) => void },
  ) {}

  /** The token as it is, "" while there is none. */
  get current(): string {
    return this.token ?? "";
  }

  get claims(): Claims | null {
    return this.token === null ? null : readClaims(this.token);
  }

  get hasExpired(): boolean {
    const end = this.claims?.expiresAt ?? null;
    return end !== null && end <= Date.now();
  }

  /** Whether it lives for longer than the warning before an end is long. */
  get isFresh(): boolean {
    const end = this.claims?.expiresAt ?? null;
    return end !== null && end > Date.now() + 2 * AHEAD_MS;
  }

  /** A new token, or null where there is none to be had. Several at once ask once. Rejects as `getToken` does. */
  renew(reason: TokenReason): Promise<string | null> {
    this.asking ??= this.fetch(reason).finally(() => {
      this.asking = null;
    });
    return this.asking;
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  private async fetch(reason: TokenReason): Promise<string | null> {
    const token = await this.ask(reason);
    this.stop();
    this.token = token;
    if (token === null) this.events.ended();
    else this.plan(readClaims(token).expiresAt);
    return token;
  }

  private plan(expiresAt: number | null): void {
    if (expiresAt === null) return;
    const left = expiresAt - Date.now();
    this.wait(Math.max(left - AHEAD_MS, left * 0.9, 0));
  }

  private wait(ms: number): void {
    const timer = setTimeout(() => {
      // Where there is no network now, the old one still works for a while.
      this.renew("expiring").catch((error: unknown) => {
        this.events.error(error as Error);
        this.wait(RETRY_MS);
      });
    }, Math.min(Math.max(ms, 1_000), TIMER_MAX_MS));
    // A process of Node may end although a token will expire one day.
    (timer as { unref?: () => void }).unref?.();
    this.timer = timer;
  }
}

/** What a token says of itself; the server proves it, not we. Throws InvalidInputError for what is no JWT. */
export function readClaims(token: string): Claims {
  try {
    const body = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/").replace(/=+$/, "");
    const bytes = decodeBase64(body.padEnd(Math.ceil(body.length / 4) * 4, "="));
    const { sub, device, exp } = JSON.parse(utf8Text(bytes)) as Record<string, unknown>;
    if (typeof sub !== "string" || typeof device !== "string") throw new Error("sub and device are missing");
    return { userId: sub, deviceId: device, expiresAt: typeof exp === "number" ? exp * 1_000 : null };
  } catch (error) {
    throw new InvalidInputError("getToken gave no token of this server", { cause: error });
  }
}
