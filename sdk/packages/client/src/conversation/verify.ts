/** Whether what is shown of a log is what was appended: its entries against the server's hash chain. */
import { chainStart, isWhole, verifySync, type ChainPoint, type WireChain } from "../chain";
import { ChainBrokenError, InvalidInputError } from "../errors";
import type { Rest } from "../rest";
import type { Integrity } from "../types/conversation";
import type { Entry } from "../types/wire";
import type { Log } from "./log";

/** Entries a request: the most that the server gives. */
const PAGE = 200;

interface Page {
  readonly conversations: readonly { readonly id: string; readonly messages: readonly Entry[]; readonly hasMore: boolean; readonly chain?: WireChain | null }[];
}

/** Walk over what the log holds, page by page. Rejects where the server does not answer. */
export async function verifyLog(id: string, log: Log, rest: Rest): Promise<Integrity> {
  let at = log.first - 1;
  let after: ChainPoint | null = at === 0 ? chainStart() : null;
  if (log.size === 0) return "unknown";
  try {
    while (at < log.held) {
      const page = await rest.request<Page>("POST", "sync", { cursors: { [id]: at }, limit: PAGE });
      const found = page.conversations.find((one) => one.id === id);
      if (found === undefined || found.messages.length === 0) return "unknown";
      if (found.chain == null) return "off";
      // What a person sees is what has to be proven, where it is shown as it was appended.
      const shown = found.messages.map((entry) => {
        const placed = log.at(entry.seq);
        return placed !== null && isWhole(placed.entry) ? placed.entry : entry;
      });
      after = verifySync(shown, found.chain, after).head;
      if (after === null) return "off";
      at = after.seq;
    }
    return "proven";
  } catch (error) {
    if (error instanceof ChainBrokenError || error instanceof InvalidInputError) return "broken";
    throw error;
  }
}
