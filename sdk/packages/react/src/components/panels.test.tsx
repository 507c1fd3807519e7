import { screen, within } from "@testing-library/react";
import type { ConnectionState, InboxConversation, OutboxItem } from "@whispr/client";
import userEvent from "@testing-library/user-event";
import { afterEach, describe, expect, it, vi } from "vitest";
import { BOB, CARA, conversation, message, START, waiting } from "../../gallery/fixtures";
import { fr } from "../i18n/fr";
import { framed, show } from "../test/render";
import type { AvatarProps } from "./Avatar";
import { ConnectionBanner } from "./ConnectionBanner";
import { ConversationList } from "./ConversationList";
import { DeviceList } from "./DeviceList";
import { RetryPanel } from "./RetryPanel";
import { TypingIndicator } from "./TypingIndicator";

afterEach(() => vi.useRealTimers());

function connection(change: Partial<ConnectionState>): ConnectionState {
  return { phase: "online", reason: null, closeCode: null, retryAt: null, synced: true, guarantee: "live", service: { state: "normal", lost: [] }, tab: "leader", ...change };
}

describe("the banner", () => {
  it("has nothing to say while all is well, and stays where it is announced", () => {
    show(<ConnectionBanner connection={connection({})} waiting={0} onConnect={() => undefined} />);
    expect(screen.getByRole("status").textContent).toBe("");
  });

  it("says what becomes of a message that is written now", async () => {
    const user = userEvent.setup();
    const onConnect = vi.fn();
    show(<ConnectionBanner connection={connection({ phase: "offline", reason: "network", guarantee: "queued" })} waiting={2} onConnect={onConnect} />);
    const said = screen.getByRole("status").textContent;
    expect(said).toContain("kept on this device and sent once");
    expect(said).toContain("2 messages wait");
    await user.click(screen.getByRole("button", { name: "Connect now" }));
    expect(onConnect).toHaveBeenCalledOnce();
  });

  it("names what is away while the service is limited, and what holds all the same", () => {
    show(<ConnectionBanner connection={connection({ guarantee: "degraded", service: { state: "degraded", lost: ["push", "receipts", "of_a_later_version"] } })} waiting={0} onConnect={() => undefined} />);
    const said = screen.getByRole("status").textContent;
    expect(said).toContain("notifications on phones and delivery and read receipts");
    expect(said).not.toContain("of_a_later_version");
    expect(said).toContain("stored as soon as it says “Sent”");
  });

  it("says where a message is kept while the server cannot store it", () => {
    show(<ConnectionBanner connection={connection({ guarantee: "degraded", service: { state: "degraded", lost: ["sends", "changes"] } })} waiting={0} onConnect={() => undefined} />, { catalog: fr });
    const said = screen.getByRole("status").textContent;
    expect(said).toContain("gardé, ici ou par le serveur");
    expect(said).toContain("l’enregistrement des messages et les modifications et les réactions");
  });
});

describe("the list of conversations, while thousands of messages arrive", () => {
  it("draws the row again whose conversation changed, and no other", () => {
    const drawn: string[] = [];
    const Avatar = ({ name }: AvatarProps) => {
      drawn.push(name);
      return null;
    };
    const [one, other] = [conversation("one", { peerId: BOB }), conversation("other", { peerId: CARA })];
    const onSelect = vi.fn();
    const list = (conversations: readonly InboxConversation[]) => framed(<ConversationList conversations={conversations} selectedId={null} onSelect={onSelect} />, { slots });
    const slots = { Avatar };
    const { rerender } = show(<ConversationList conversations={[one, other]} selectedId={null} onSelect={onSelect} />, { slots });
    expect(new Set(drawn)).toEqual(new Set(["Bob", "Cara Lindqvist"]));
    drawn.length = 0;
    rerender(list([{ ...one, unread: 7 }, other]));
    expect(new Set(drawn)).toEqual(new Set(["Bob"]));
  });
});

describe("the panel of what is stuck", () => {
  const panel = (items: readonly OutboxItem[], isOnline = true) => {
    const on = { onRetry: vi.fn(), onEdit: vi.fn(), onDiscard: vi.fn() };
    show(<RetryPanel items={items} isOnline={isOnline} {...on} />);
    return on;
  };

  it("is not there while nothing is stuck", () => {
    panel([]);
    expect(screen.queryByRole("region")).toBeNull();
  });

  it("says why, and in how many seconds it is tried again", () => {
    vi.useFakeTimers({ now: START });
    panel([waiting("1", { nextTryAt: START + 8_000 })]);
    const { textContent } = screen.getByRole("listitem");
    expect(textContent).toContain("The server did not answer in time.");
    expect(textContent).toContain("Next try in 8 s");
    expect(textContent).toContain("2 tries so far");
  });

  it("says when a parked one is tried again, while the connection is there", () => {
    vi.useFakeTimers({ now: START });
    panel([waiting("1", { state: "parked", nextTryAt: START + 16_000, failure: { code: "max_retries_exceeded", message: "", action: "retry", willRetry: true } })]);
    const { textContent } = screen.getByRole("listitem");
    expect(textContent).toContain("The server could not take it after five tries.");
    expect(textContent).toContain("Next try in 16 s");
  });

  it("says that a parked one goes on with the connection", () => {
    panel([waiting("1", { state: "parked" })], false);
    expect(screen.getByRole("listitem").textContent).toContain("goes on by itself when the connection is back");
  });

  it("lets a person retry, edit, or discard", async () => {
    const user = userEvent.setup();
    const item = waiting("1", { state: "failed", failure: { code: "too_large", message: "", action: "change", willRetry: false } });
    const on = panel([item]);
    expect(screen.getByRole("region", { name: "Not sent" }).textContent).toContain("It is too long.");
    for (const name of ["Try again", "Edit", "Discard"]) await user.click(screen.getByRole("button", { name }));
    for (const call of Object.values(on)) expect(call).toHaveBeenCalledExactlyOnceWith(item);
  });

  it("offers nothing while a try is under way", () => {
    panel([waiting("1", { state: "sending" })]);
    for (const button of screen.getAllByRole("button")) expect((button as HTMLButtonElement).disabled).toBe(true);
  });
});

describe("the list of conversations", () => {
  it("tells what is unread, who writes, and where a draft waits", async () => {
    const user = userEvent.setup();
    const onSelect = vi.fn();
    show(
      <ConversationList
        selectedId={null}
        onSelect={onSelect}
        conversations={[
          conversation("1", { unread: 3, preview: message(3, { text: "three" }) }),
          conversation("2", { type: "group", peerId: null, settings: { name: "Sunday walk" }, typing: [CARA, BOB] }),
          conversation("3", { peerId: CARA, draft: "I wanted" }),
        ]}
      />,
    );
    const rows = screen.getAllByRole("button");
    expect(rows[0]?.textContent).toContain("3 unread messages");
    expect(rows[1]?.textContent).toContain("Cara Lindqvist and Bob are typing");
    expect(rows[2]?.textContent).toContain("Draft: I wanted");
    await user.click(screen.getByRole("button", { name: /Sunday walk/u }));
    expect(onSelect).toHaveBeenCalledWith("2");
  });

  it("marks the one that is open", () => {
    show(<ConversationList selectedId="1" onSelect={() => undefined} conversations={[conversation("1"), conversation("2")]} />);
    expect(screen.getAllByRole("button").map((row) => row.getAttribute("aria-current"))).toEqual(["true", null]);
  });
});

describe("the list of devices", () => {
  it("offers to remove every device but this one", async () => {
    const user = userEvent.setup();
    const onRevoke = vi.fn();
    const device = { platform: "web", isRevoked: false, createdAt: START, lastActiveAt: null, fingerprint: "11111 22222" };
    show(
      <DeviceList
        onRevoke={onRevoke}
        devices={[
          { ...device, id: "1", name: "Laptop", isThis: true },
          { ...device, id: "2", name: "Phone", isThis: false },
          { ...device, id: "3", name: "Old", isThis: false, isRevoked: true },
        ]}
      />,
    );
    const [mine, phone, old] = screen.getAllByRole("listitem") as [HTMLElement, HTMLElement, HTMLElement];
    expect(within(mine).queryByRole("button")).toBeNull();
    expect(within(old).queryByRole("button")).toBeNull();
    expect(mine.textContent).toContain("This device");
    await user.click(within(phone).getByRole("button", { name: "Remove" }));
    expect(onRevoke.mock.calls[0]?.[0]).toMatchObject({ id: "2" });
  });
});

it("says who is typing in the reader's language", () => {
  show(<TypingIndicator names={["Ann", "Bob"]} />, { catalog: fr });
  expect(screen.getByText("Ann et Bob écrivent …")).toBeTruthy();
});
