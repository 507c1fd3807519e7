/** Who is writing: the signs of others, which end by themselves, and one's own, told as seldom as possible. */
import type { Link } from "../link/link";

/** The server ends a sign six seconds after its last renewal; a little more for the way. */
const SHOWN_MS = 7_000;
/** The server passes on no repetition within two seconds. */
const RENEW_MS = 3_000;
/** Nothing was typed for so long: it has ended. */
const IDLE_MS = 5_000;

export class Typing {
  private readonly others = new Map<string, ReturnType<typeof setTimeout>>();
  private toldAt = 0;
  private idle: ReturnType<typeof setTimeout> | null = null;

  constructor(
    private readonly conversationId: string,
    private readonly link: Pick<Link, "push">,
    private readonly changed: () => void,
  ) {}

  list(): string[] {
    return [...this.others.keys()];
  }

  heard(userId: string, active: boolean): void {
    const timer = this.others.get(userId);
    if (timer !== undefined) clearTimeout(timer);
    if (active) this.others.set(userId, setTimeout(() => this.heard(userId, false), SHOWN_MS));
    else this.others.delete(userId);
    if (active !== (timer !== undefined)) this.changed();
  }

  set(active: boolean): void {
    if (this.idle !== null) clearTimeout(this.idle);
    this.idle = active ? setTimeout(() => this.set(false), IDLE_MS) : null;
    const now = Date.now();
    if (active ? now - this.toldAt < RENEW_MS : this.toldAt === 0) return;
    this.toldAt = active ? now : 0;
    // Lost or refused, it costs nobody anything.
    void this.link.push("typing", { conversationId: this.conversationId, active });
  }

  /** A message ends its author's sign at the server too. */
  ended(): void {
    this.toldAt = 0;
    if (this.idle !== null) clearTimeout(this.idle);
    this.idle = null;
  }

  stop(): void {
    this.ended();
    for (const timer of this.others.values()) clearTimeout(timer);
    this.others.clear();
  }
}
