/**
 * Whether the history that is shown is the one that was appended: the open conversation's entries against the server's
 * hash chain (docs/protocol.md "The hash chain"). A server that keeps none is asked once a page and nothing is said.
 *
 * What was proven is kept while the page is open, so a server that changes its mind meanwhile is found out.
 */
import { ChainBrokenError, chainStart, encodeBase64, InvalidInputError, isWhole, verifySync, type ChainPoint } from "@whispr/client";
import type { Timeline } from "./timeline";
import type { Entry, SyncPage } from "./wire";

/** Entries a request: the most that the server gives. */
const PAGE = 200;

/** The first place that was checked, and how far. */
interface Proven {
  readonly from: number;
  readonly upTo: ChainPoint;
}

export class HistoryCheck {
  private readonly proven = new Map<string, Proven>();
  private readonly broken = new Set<string>();
  private readonly running = new Set<string>();
  private isOff = false;

  constructor(private readonly ask: (cursors: Record<string, number>, limit: number) => Promise<SyncPage>) {}

  isBroken(id: string): boolean {
    return this.broken.has(id);
  }

  /** The conversation's log is another one now, or is read anew. */
  forget(id: string): void {
    this.proven.delete(id);
    this.broken.delete(id);
  }

  /**
   * Check what `timeline` holds without a hole. `cursors` are the positions of the other conversations, of which
   * nothing is wanted. Returns whether it was found to be broken now; rejects where the server does not answer.
   */
  async run(id: string, timeline: Timeline, cursors: Readonly<Record<string, number>>): Promise<boolean> {
    if (this.isOff || timeline.first === null || this.broken.has(id) || this.running.has(id)) return false;
    this.running.add(id);
    try {
      await this.walk(id, timeline, timeline.first, cursors);
      return false;
    } catch (error) {
      if (!(error instanceof ChainBrokenError || error instanceof InvalidInputError)) throw error;
      this.broken.add(id);
      return true;
    } finally {
      this.running.delete(id);
    }
  }

  private async walk(id: string, timeline: Timeline, first: number, cursors: Readonly<Record<string, number>>): Promise<void> {
    const held = this.proven.get(id);
    const isAnew = held === undefined || first < held.from;
    const from = isAnew ? first : held.from;
    let at = isAnew ? from - 1 : held.upTo.seq;
    let after = isAnew ? (from === 1 ? chainStart() : null) : held.upTo;
    while (at < timeline.upTo) {
      const answer = await this.ask({ ...cursors, [id]: at }, PAGE);
      const page = answer.conversations.find((conversation) => conversation.id === id);
      if (page === undefined || page.resyncRequired !== undefined) return;
      if (page.chain === undefined) {
        this.isOff = this.proven.size === 0;
        return;
      }
      const entries = page.messages.map((entry) => asShown(entry, timeline));
      after = verifySync(entries, page.chain, after).head;
      if (after === null) return;
      const crossed = isAnew ? page.messages.findIndex((entry) => entry.seq === held?.upTo.seq) : -1;
      if (held !== undefined && crossed >= 0 && page.chain.links[crossed] !== encodeBase64(held.upTo.hash)) {
        throw new ChainBrokenError(held.upTo.seq, "link");
      }
      at = after.seq;
      // Read anew from further up, what was held counts until it is reached again.
      if (held === undefined || at >= held.upTo.seq) this.proven.set(id, { from, upTo: after });
      if (!page.hasMore) return;
    }
  }
}

/** The page's own entry at that place, where it holds it as it was appended: it is what a person sees. */
function asShown(entry: Entry, timeline: Timeline): Entry {
  const shown = timeline.at(entry.seq);
  return shown !== null && isWhole(shown) ? shown : entry;
}
