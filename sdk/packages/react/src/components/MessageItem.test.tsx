import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import { BOB, CARA, ME, message } from "../../gallery/fixtures";
import { show } from "../test/render";
import { MessageItem, type MessageActions, type MessageItemProps } from "./MessageItem";

function actions(): MessageActions {
  return { onReply: vi.fn(), onEdit: vi.fn(), onReact: vi.fn(), onDelete: vi.fn(), onDetails: vi.fn(), onJump: vi.fn(), download: () => Promise.reject(new Error("none")) };
}

function props(change: Partial<MessageItemProps> = {}): MessageItemProps {
  return { message: message(1), replied: null, me: ME, isFirst: true, isLast: true, isGroup: false, showState: false, tabIndex: 0, actions: actions(), ...change };
}

describe("a message", () => {
  it("is an article that says who and when", () => {
    show(<MessageItem {...props()} />);
    expect(screen.getByRole("article").getAttribute("aria-label")).toMatch(/^Bob, \d\d:\d\d/u);
  });

  it("draws no markup from a text, and makes links of addresses alone", () => {
    const text = '<img src=x onerror="alert(1)"> see https://example.org/a?b=1. javascript:alert(1)';
    show(<MessageItem {...props({ message: message(1, { text }) })} />);
    const article = screen.getByRole("article");
    expect(article.querySelector("img")).toBeNull();
    const links = within(article).getAllByRole("link");
    expect(links.map((link) => link.getAttribute("href"))).toEqual(["https://example.org/a?b=1"]);
    expect(article.querySelector(".wh-text")?.textContent).toBe(text);
  });

  it.each([
    ["deleted", { text: null, gone: "deleted" as const }, /was deleted/u],
    ["expired", { text: null, gone: "expired" as const }, /has expired/u],
    ["not for this device", { text: null, security: "undecryptable" as const }, /cannot be decrypted/u],
    ["forged", { text: "secret", security: "forged" as const }, /not from whom it claims/u],
  ])("that is %s says so and shows nothing of it", (_, change, words) => {
    show(<MessageItem {...props({ message: message(1, change) })} />);
    expect(screen.getAllByText(words).length).toBeGreaterThan(0);
    expect(screen.queryByText("secret")).toBeNull();
  });

  it("warns where the sender's signature is missing or its key changed", () => {
    show(<MessageItem {...props({ message: message(1, { security: "changed_key" }) })} />);
    expect(screen.getByText("Sent from a device whose security code changed")).toBeTruthy();
  });

  it("offers editing and deleting for everyone to its author alone", async () => {
    const user = userEvent.setup();
    const own = props({ message: message(1, { mine: true }) });
    show(<MessageItem {...own} />);
    await user.click(screen.getByRole("button", { name: "Message actions" }));
    await user.click(screen.getByRole("menuitem", { name: "Delete for everyone" }));
    expect(own.actions.onDelete).toHaveBeenCalledWith(own.message, true);
    expect(screen.queryByRole("menu")).toBeNull();
  });

  it("of somebody else can be deleted for oneself, replied to, and not edited", async () => {
    const user = userEvent.setup();
    const theirs = props();
    show(<MessageItem {...theirs} />);
    await user.click(screen.getByRole("button", { name: "Message actions" }));
    expect(screen.queryByRole("menuitem", { name: "Edit" })).toBeNull();
    expect(screen.queryByRole("menuitem", { name: "Delete for everyone" })).toBeNull();
    await user.click(screen.getByRole("menuitem", { name: "Reply" }));
    expect(theirs.actions.onReply).toHaveBeenCalledWith(theirs.message);
  });

  it("takes a reaction back where it is one's own", async () => {
    const user = userEvent.setup();
    const own = props({ message: message(1, { reactions: [{ emoji: "👍", count: 2, mine: true, userIds: [BOB, ME] }] }) });
    show(<MessageItem {...own} />);
    const button = screen.getByRole("button", { name: "👍 2 reactions, yours among them" });
    expect(button.getAttribute("aria-pressed")).toBe("true");
    await user.click(button);
    expect(own.actions.onReact).toHaveBeenCalledWith(own.message, "👍", true);
  });

  it("leads to what it answers", async () => {
    const user = userEvent.setup();
    const replied = message(1, { text: "the question" });
    const answer = props({ message: message(2, { replyTo: replied.messageId }), replied });
    show(<MessageItem {...answer} />);
    await user.click(screen.getByRole("button", { name: /In reply to\s*Bob\s*:\s*the question/u }));
    expect(answer.actions.onJump).toHaveBeenCalledWith(replied.messageId);
  });

  it("counts down for the eye and names what is left for the ear", () => {
    show(<MessageItem {...props({ message: message(1, { expiresAt: Date.now() + 90_000 }) })} />);
    const timer = screen.getByRole("timer");
    expect(timer.getAttribute("aria-live")).toBe("off");
    expect(timer.getAttribute("aria-label")).toBe("Vanishes in 2 minutes");
  });

  it("names its sender in groups", () => {
    show(<MessageItem {...props({ isGroup: true, message: message(1, { senderId: CARA }) })} />);
    expect(screen.getByText("Cara Lindqvist")).toBeTruthy();
  });

  it("can be drawn with parts of the application's own", () => {
    show(<MessageItem {...props({ message: message(1, { mine: true, status: "read" }) })} />, { slots: { MessageStatus: ({ status }) => <b>my {status}</b> } });
    expect(screen.getByText("my read")).toBeTruthy();
  });
});
