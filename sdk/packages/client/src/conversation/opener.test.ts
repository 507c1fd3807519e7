/** What is decrypted first, and what no more. */
import { describe, expect, it, vi } from "vitest";
import type { Sealer } from "../security/sealer";
import type { Folded } from "./fold";
import { Opener } from "./opener";

function folded(messageId: string): Folded {
  return { entry: { messageId }, source: { messageId } } as Folded;
}

/** Sixty messages that wait, and the order in which they are opened. */
function sixty() {
  const order: string[] = [];
  const open = async ({ source }: Pick<Folded, "source">) => (order.push(source.messageId), { body: null, security: "undecryptable" as const });
  const opener = new Opener({ open } as unknown as Sealer, () => undefined);
  const ids = Array.from({ length: 60 }, (_, at) => String(at));
  for (const id of ids) opener.get(folded(id));
  return { opener, order, ids };
}

describe("opening a page", () => {
  it("begins with its end", async () => {
    const { order, ids } = sixty();
    await vi.waitFor(() => expect(order).toHaveLength(60));
    expect(order.slice(0, 3)).toEqual(["59", "58", "57"]);
    expect(new Set(order)).toEqual(new Set(ids));
  });

  it("begins with what is looked at, in its order", async () => {
    const { opener, order } = sixty();
    opener.prefer(["3", "4", "5", "not one of them"]);
    await vi.waitFor(() => expect(order).toHaveLength(60));
    expect(order.slice(0, 4)).toEqual(["3", "4", "5", "59"]);
  });

  it("leaves out what the log let go of", async () => {
    const { opener, order, ids } = sixty();
    for (const id of ids.slice(0, 30)) opener.drop(id);
    await vi.waitFor(() => expect(order).toHaveLength(30));
    expect(order).not.toContain("0");
    opener.get(folded("0"));
    await vi.waitFor(() => expect(order).toContain("0"));
  });
});
