/** How far each member has got, as two watermarks that only rise; and what that says about a message. */

export type MessageState = "sending" | "queued" | "failed" | "sent" | "delivered" | "read";

export interface Mark {
  delivered: number;
  read: number;
}

export class Watermarks {
  private readonly marks = new Map<string, Mark>();

  /** Take note of a receipt. Returns whether it told anything new; a receipt never takes anything back. */
  raise(userId: string, status: "delivered" | "read", upTo: number): boolean {
    const before = this.of(userId);
    const delivered = Math.max(before.delivered, upTo);
    const read = status === "read" ? Math.max(before.read, upTo) : before.read;
    if (delivered === before.delivered && read === before.read) return false;
    this.marks.set(userId, { delivered, read });
    return true;
  }

  of(userId: string): Mark {
    return this.marks.get(userId) ?? { delivered: 0, read: 0 };
  }

  /** The state of a stored message: what every one of `others` has reached. With nobody else it stays `sent`. */
  stateOf(seq: number, others: readonly string[]): "sent" | "delivered" | "read" {
    if (others.length === 0) return "sent";
    const marks = others.map((userId) => this.of(userId));
    if (marks.every((mark) => mark.read >= seq)) return "read";
    return marks.every((mark) => mark.delivered >= seq) ? "delivered" : "sent";
  }
}
