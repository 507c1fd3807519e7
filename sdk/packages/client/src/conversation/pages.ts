/** Pages of history: the last one, those before it, and what is missing between what is held and what arrived. */
import { answerOf, type Core } from "../core";
import { InvalidInputError } from "../errors";
import type { MessageView } from "../types/wire";
import type { Items } from "./items";
import type { Log } from "./log";

export const PAGE = 50;
const FILL_PAGE = 200;
/** A hole larger than this is not filled: the last page is read anew. */
const FILL_MAX = 2_000;

export class Pages {
  loadingEarlier = false;
  /** The lowest seq that the user may see, once it is known. */
  private beginning: number | null = null;
  private filling = false;
  /** Pages that were asked for and are not here yet. */
  private reading = 0;

  constructor(
    private readonly id: string,
    private readonly log: Log,
    private readonly items: Items,
    private readonly core: Core,
    private readonly changed: () => void,
  ) {}

  get isReading(): boolean {
    return this.reading > 0;
  }

  get hasEarlier(): boolean {
    return this.log.first > (this.beginning ?? 1);
  }

  /** The log is another one now. */
  reset(): void {
    this.beginning = null;
  }

  /** The end of the log. Throws RequestError, UnansweredError. */
  async last(limit = PAGE): Promise<void> {
    const { hasMore, isWhole } = await this.fetch({ limit });
    if (!hasMore && isWhole) this.beginning = this.log.first;
  }

  /** What is before the first entry that is here. Throws RequestError, UnansweredError. */
  async earlier(limit = PAGE): Promise<void> {
    if (this.loadingEarlier || !this.hasEarlier) return;
    this.loadingEarlier = true;
    this.changed();
    try {
      const before = this.log.first;
      const { hasMore, isWhole } = await this.fetch({ before, limit });
      if (!isWhole) return; // the database is away: what is before comes when it is back
      // Where nothing came, nothing would come the next time.
      if (!hasMore || this.log.first === before) this.beginning = this.log.first;
    } finally {
      this.loadingEarlier = false;
      this.changed();
    }
  }

  /** Read what is missing. Several at once read once; what fails is reported, and read with the next entry. */
  async fill(): Promise<void> {
    if (this.filling) return;
    this.filling = true;
    try {
      while (this.log.hasGap) {
        if (this.log.newest - this.log.held > FILL_MAX) {
          this.log.clear();
          this.items.clear();
          await this.last();
          break;
        }
        const held = this.log.held;
        const { isWhole } = await this.fetch({ after: held, limit: FILL_PAGE });
        if (!isWhole) break; // of a cache, which leaves entries out
        if (this.log.held === held) this.log.bridge(); // there is nothing that this user may see
      }
    } catch (error) {
      this.core.report(error);
    } finally {
      this.filling = false;
    }
  }

  /** A page of history into the log. */
  private async fetch(query: { before?: number; after?: number; limit: number }): Promise<{ hasMore: boolean; isWhole: boolean }> {
    // What history shows includes every change that was there when it was asked.
    const known = Math.max(this.log.newest, this.core.record(this.id)?.view.lastSeq ?? 0);
    this.reading += 1;
    try {
      return this.take(answerOf(await this.core.link.push("history", { conversationId: this.id, ...query })), known);
    } finally {
      this.reading -= 1;
      if (!this.isReading) this.items.settle();
    }
  }

  private take(answer: unknown, known: number): { hasMore: boolean; isWhole: boolean } {
    const { messages, hasMore, degraded } = answer as { messages: readonly MessageView[]; hasMore: boolean; degraded?: boolean };
    if (!Array.isArray(messages)) throw new InvalidInputError("history without messages");
    const asOf = Math.max(known, ...messages.map((entry) => entry.seq));
    for (const entry of [...messages].sort((one, other) => one.seq - other.seq)) {
      if (this.log.add(entry, asOf)) this.items.note(entry, true);
    }
    this.changed();
    return { hasMore, isWhole: degraded !== true };
  }
}
