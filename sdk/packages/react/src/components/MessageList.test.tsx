import { renderHook, screen } from "@testing-library/react";
import type { TimelineItem } from "@whispr/client";
import { renderToString } from "react-dom/server";
import { describe, expect, it } from "vitest";
import { BOB, ME, message, notice, START } from "../../gallery/fixtures";
import { foldUnreadable, placeOf, useFirstIndex } from "../hooks/rows";
import { fr } from "../i18n/fr";
import { framed, show } from "../test/render";
import { MessageList, type MessageListProps } from "./MessageList";

const HOUR_MS = 3_600_000;

function list(items: readonly TimelineItem[], change: Partial<MessageListProps> = {}) {
  const actions = { download: () => Promise.reject(new Error("none")) };
  return <MessageList items={items} me={ME} isGroup={false} label="Messages, Bob" find={() => null} actions={actions} initialItemCount={items.length} {...change} />;
}

describe("the list", () => {
  it("is a log with a name, and says that it is empty", () => {
    show(list([]));
    expect(screen.getByRole("log", { name: "Messages, Bob" }).textContent).toBe("No messages yet. Say hello!");
  });

  it("is drawn on a server, without a window", () => {
    const html = renderToString(framed(list([notice(1, "conversation_created"), message(2, { text: "hello" })], {}), { catalog: fr }));
    expect(html).toContain('role="log"');
    expect(html).toContain("hello");
    expect(html).toContain("Vous avez commencé la conversation");
  });

  it("is laid out from right to left where the language asks for it", () => {
    const { container } = show(list([message(1)]), { dir: "rtl" });
    expect(container.querySelector(".wh-root")?.getAttribute("dir")).toBe("rtl");
  });

  it("lets one message at a time be reached with Tab", () => {
    const { container } = show(list([message(1), message(2), message(3)]));
    const order = [...container.querySelectorAll("article")].map((article) => article.getAttribute("tabindex"));
    expect(order).toEqual(["-1", "-1", "0"]);
  });

  it("puts a line above the first unread message", () => {
    const { container } = show(list([message(1), message(2)], { firstUnreadKey: "key-2" }));
    expect(container.querySelector('[data-key="key-2"]')?.textContent).toContain("New messages");
    expect(container.querySelector('[data-key="key-1"]')?.textContent).not.toContain("New messages");
  });

  it("says the beginning where there is nothing before", () => {
    const { rerender } = show(list([message(1)], { hasEarlier: true }));
    expect(screen.queryByText("The beginning of this conversation")).toBeNull();
    rerender(framed(list([message(1)])));
    expect(screen.getByText("The beginning of this conversation")).toBeTruthy();
  });
});

describe("rows", () => {
  it("belong together by sender, time and day", () => {
    const items = [
      message(1, { at: START }),
      message(2, { at: START + 60_000 }),
      message(3, { at: START + HOUR_MS }),
      message(4, { at: START + HOUR_MS, mine: true, senderId: ME }),
      message(5, { at: START + 24 * HOUR_MS, senderId: BOB }),
    ];
    const places = items.map((_, at) => placeOf(items, at, null));
    expect(places.map(({ isFirst }) => isFirst)).toEqual([true, false, true, true, true]);
    expect(places.map(({ isLast }) => isLast)).toEqual([false, true, true, true, true]);
    expect(places.map(({ startsDay }) => startsDay)).toEqual([true, false, false, false, true]);
  });

  it("keep their numbers when earlier ones are put in front", () => {
    const later = [message(10), message(11)];
    const { result, rerender } = renderHook(({ items }) => useFirstIndex(items), { initialProps: { items: later as readonly TimelineItem[] } });
    const before = result.current;
    rerender({ items: [message(8), message(9), ...later] });
    expect(result.current).toBe(before - 2);
    rerender({ items: [message(8), message(9), ...later, message(12)] });
    expect(result.current).toBe(before - 2);
  });
});

describe("messages that this device cannot read", () => {
  const lost = (seq: number) => message(seq, { text: null, security: "undecryptable" });

  it("become one line where several follow each other, with the key of the last", () => {
    const folded = foldUnreadable([lost(1), lost(2), lost(3), message(4), lost(5)], null);
    expect(folded.map(({ kind, key }) => [kind, key])).toEqual([["notice", "key-3"], ["message", "key-4"], ["message", "key-5"]]);
    show(list([lost(1), lost(2), message(3)]));
    expect(screen.getByText("2 messages from before this device cannot be read here")).toBeTruthy();
  });

  it("are not put together over the line of what is new", () => {
    expect(foldUnreadable([lost(1), lost(2), lost(3), lost(4)], "key-3").map(({ key }) => key)).toEqual(["key-2", "key-4"]);
  });
});
