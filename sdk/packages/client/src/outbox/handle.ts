/** One message on its way, live: from the outbox until everybody has read it. */
import type { ConversationState } from "../conversation/state";
import { statusOfRecord } from "../conversation/overlay";
import { DiscardedError } from "../errors";
import type { MessageBody } from "../types/body";
import type { HandleSnapshot, MessageHandle, SentMessage } from "../types/outbox";
import type { Outbox } from "./outbox";

export class Handle implements MessageHandle {
  readonly stored: Promise<SentMessage>;
  private sent: SentMessage | null = null;
  private isDiscarded = false;
  private last: HandleSnapshot | null = null;

  constructor(
    readonly id: string,
    readonly conversationId: string,
    private readonly outbox: Outbox,
    private readonly conversation: ConversationState,
  ) {
    this.stored = outbox.outcome(id);
    this.stored.then(
      (sent) => {
        this.sent = sent;
        conversation.changed();
      },
      (error: unknown) => {
        this.isDiscarded = error instanceof DiscardedError;
        conversation.changed();
      },
    );
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    // Both tell of much that is not about this message.
    let told = this.getSnapshot();
    const look = (): void => {
      const next = this.getSnapshot();
      if (next === told) return;
      told = next;
      listener();
    };
    const ends = [this.outbox.subscribe(look), this.conversation.subscribe(look)];
    return () => {
      for (const end of ends) end();
    };
  };

  readonly getSnapshot = (): HandleSnapshot => {
    const next = this.look();
    const { last } = this;
    const isSame = last !== null && (Object.keys(next) as (keyof HandleSnapshot)[]).every((name) => last[name] === next[name]);
    if (!isSame) this.last = next;
    return this.last ?? next;
  };

  retry(): Promise<void> {
    return this.outbox.retry(this.id);
  }

  discard(): Promise<void> {
    return this.outbox.discard(this.id);
  }

  edit(body: MessageBody | string): Promise<void> {
    return this.outbox.edit(this.id, body);
  }

  private look(): HandleSnapshot {
    const { id } = this;
    const record = this.outbox.get(id);
    if (record !== null) {
      const { attempts, nextTryAt, failure } = record;
      return { id, status: statusOfRecord(record), messageId: null, seq: null, attempts, nextTryAt, failure };
    }
    const seq = this.sent?.seq ?? null;
    const stored = seq === null ? "sent" : this.conversation.summary().statusOf(seq);
    const status = this.isDiscarded ? "failed" : stored;
    return { id, status, messageId: this.sent?.messageId ?? null, seq, attempts: 0, nextTryAt: null, failure: null };
  }
}
