/** How far each member has got, as two watermarks that only rise; and what that says about a message. */
import type { MemberReceipt } from "../protocol.gen";
import type { MessageStatus } from "../types/timeline";
import type { MemberView } from "../types/wire";

export class Receipts {
  private readonly delivered = new Map<string, number>();
  private readonly read = new Map<string, number>();
  /** Rises with everything that is learned: what was computed from it is then made anew. */
  version = 0;

  /** Take note of a receipt. Read implies delivered, and nothing goes back. */
  raise(userId: string, status: "delivered" | "read", upTo: number): void {
    const raised = raiseIn(this.delivered, userId, upTo);
    if ((status === "read" && raiseIn(this.read, userId, upTo)) || raised) this.version += 1;
  }

  raiseAll(receipts: readonly MemberReceipt[]): void {
    for (const { userId, deliveredSeq, readSeq } of receipts) {
      this.raise(userId, "delivered", deliveredSeq);
      this.raise(userId, "read", readSeq);
    }
  }

  readBy(userId: string): number {
    return this.read.get(userId) ?? 0;
  }

  /** What every one of `others` has reached, to ask of many messages. */
  summary(others: readonly MemberView[]): Summary {
    const joined = Math.max(0, ...others.map((member) => member.joinedSeq));
    const least = (marks: ReadonlyMap<string, number>): number => Math.min(...others.map(({ userId }) => marks.get(userId) ?? 0));
    const [delivered, read] = others.length === 0 ? [0, 0] : [least(this.delivered), least(this.read)];
    return { statusOf: (seq) => (seq < joined ? this.statusAmong(seq, others) : statusBy(seq, delivered, read)) };
  }

  /** Among those who were there already: who joined later is no recipient. */
  private statusAmong(seq: number, others: readonly MemberView[]): MessageStatus {
    const recipients = others.filter((member) => member.joinedSeq <= seq);
    return recipients.length === 0 ? "sent" : this.summary(recipients).statusOf(seq);
  }
}

export interface Summary {
  /** The state of one's own stored message. */
  statusOf(seq: number): MessageStatus;
}

function statusBy(seq: number, delivered: number, read: number): MessageStatus {
  if (read >= seq) return "read";
  return delivered >= seq ? "delivered" : "sent";
}

function raiseIn(marks: Map<string, number>, userId: string, upTo: number): boolean {
  if (upTo <= (marks.get(userId) ?? 0)) return false;
  marks.set(userId, upTo);
  return true;
}
