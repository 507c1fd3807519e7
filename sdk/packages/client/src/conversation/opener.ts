/** Decrypts what is to be read, the latest first, a few at a time, so that a page stays responsive meanwhile. */
import { OPENING, type Opened, type Sealer } from "../security/sealer";
import type { Folded } from "./fold";

/** So many are opened before others get their turn. */
const BATCH = 25;

export class Opener {
  private readonly opened = new Map<string, Opened>();
  private readonly waiting = new Map<string, Folded>();
  private isRunning = false;

  constructor(
    private readonly sealer: Sealer,
    private readonly done: (messageIds: readonly string[]) => void,
  ) {}

  /** What is known of the content; where it is nothing yet, it is opened soon. */
  get(folded: Folded): Opened {
    const found = this.opened.get(folded.source.messageId);
    if (found !== undefined) return found;
    this.waiting.set(folded.source.messageId, folded);
    void this.run();
    return OPENING;
  }

  /** These are looked at: of what waits, they come first. */
  prefer(messageIds: readonly string[]): void {
    for (const id of [...messageIds].reverse()) {
      const folded = this.waiting.get(id);
      if (folded === undefined || !this.waiting.delete(id)) continue;
      this.waiting.set(id, folded);
    }
  }

  /** What we wrote ourselves needs no opening. */
  seed(messageId: string, opened: Opened): void {
    this.opened.set(messageId, opened);
  }

  /** Keys changed, or were learned: what could not be said for sure is looked at again. */
  again(): void {
    for (const [id, { security }] of this.opened) if (security !== "verified") this.opened.delete(id);
  }

  /** Nobody asks for this content any more. */
  drop(messageId: string): void {
    this.opened.delete(messageId);
    this.waiting.delete(messageId);
  }

  clear(): void {
    this.opened.clear();
    this.waiting.clear();
  }

  private async run(): Promise<void> {
    if (this.isRunning) return;
    this.isRunning = true;
    await Promise.resolve(); // the whole page first, then its last message
    while (this.waiting.size > 0) {
      const batch = [...this.waiting.entries()].slice(-BATCH).reverse();
      for (const [id] of batch) this.waiting.delete(id);
      await Promise.all(batch.map(async ([id, folded]) => this.opened.set(id, await this.sealer.open(folded))));
      this.done(batch.map(([, folded]) => folded.entry.messageId));
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    this.isRunning = false;
  }
}
