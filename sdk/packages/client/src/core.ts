/** What the parts of one client share. */
import type { Acks } from "./acks";
import type { InboxRecord } from "./inbox/record";
import type { Link, PushResult } from "./link/link";
import type { Outbox } from "./outbox/outbox";
import type { Blocks } from "./personal/account";
import type { Drafts } from "./personal/drafts";
import type { Scheduled } from "./personal/scheduled";
import type { Rest } from "./rest";
import type { Directory } from "./security/directory";
import type { Sealer } from "./security/sealer";
import type { Identity } from "./types/connection";
import type { EncryptionEngine } from "./types/engine";
import { UnansweredError } from "./errors";

export interface Core {
  readonly self: () => Identity;
  readonly link: Link;
  readonly rest: Rest;
  readonly engine: EncryptionEngine;
  readonly sealer: Sealer;
  readonly directory: Directory;
  readonly outbox: Outbox;
  readonly acks: Acks;
  readonly blocks: Blocks;
  readonly drafts: Drafts;
  readonly scheduled: Scheduled;
  readonly isOnline: () => boolean;
  readonly isSynced: () => boolean;
  readonly record: (conversationId: string) => InboxRecord | null;
  /** Ask the server how the conversation is now. */
  readonly refresh: (conversationId: string) => Promise<void>;
  /** Something of the conversation that the inbox shows changed. */
  readonly touched: (conversationId: string) => void;
  /** Somebody looks: what no server tells of is asked again, if that is some time ago. */
  readonly looked: () => void;
  readonly report: (error: unknown) => void;
}

/** What the server answered. Throws RequestError, UnansweredError. */
export function answerOf(result: PushResult): unknown {
  if (result.outcome === "ok") return result.response;
  if (result.outcome === "refused") throw result.error;
  throw new UnansweredError();
}
