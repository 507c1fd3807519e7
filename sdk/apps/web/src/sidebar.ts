/** The left side: who one is, the conversations, and the people one could write to. */
import type { Chat, Conversation } from "./chat";
import { avatar, h, icon, reconcile, type Keyed } from "./dom";
import { anotherName, linkFor } from "./session";
import { footnote } from "./signin";
import { timeText } from "./thread";

const LINK_WORDS = {
  connecting: "Connecting …",
  online: "Connected",
  offline: "Not connected",
  replaced: "Open in another tab",
  ended: "Signed out",
} as const;

export class Sidebar {
  readonly element: HTMLElement;
  private readonly linkText = h("span", { class: "link-text" });
  private readonly link = h("span", { class: "link" }, h("span", { class: "dot" }), this.linkText);
  private readonly conversations = h("ul", { class: "list" });
  private readonly peopleHead = h("h2", {}, "People");
  private readonly people = h("ul", { class: "list" });
  private readonly noConversations = h("p", { class: "hint" }, "None yet.");
  private readonly noPeople = h("p", { class: "hint" }, "Nobody else has signed in yet. Open a second person in a new tab.");
  private readonly second: HTMLAnchorElement;

  constructor(
    private readonly chat: Chat,
    private readonly opened: () => void,
    leave: () => void,
  ) {
    const name = chat.me.name;
    this.second = h("a", { class: "button", target: "_blank", rel: "noopener" });
    this.element = h(
      "nav",
      { class: "sidebar", "aria-label": "Conversations and people" },
      h(
        "header",
        { class: "me" },
        avatar(name),
        h("div", { class: "grow" }, h("strong", { class: "name" }, name), this.link),
        h("button", { type: "button", class: "quiet", onclick: leave }, "Sign out"),
      ),
      this.second,
      h(
        "div",
        { class: "lists" },
        h("h2", {}, "Conversations"),
        this.noConversations,
        this.conversations,
        this.peopleHead,
        this.noPeople,
        this.people,
      ),
      footnote(),
    );
  }

  draw(): void {
    const { chat } = this;
    this.link.className = `link link-${chat.link}`;
    this.linkText.textContent = LINK_WORDS[chat.link];
    const second = anotherName(chat.me.name);
    this.second.href = linkFor(second, chat.me.name);
    this.second.replaceChildren(icon("external"), "Open a second person in a new tab");

    const conversations = [...chat.conversations.values()].sort((one, other) => lastTime(other).localeCompare(lastTime(one)));
    reconcile(this.conversations, conversations.map((conversation) => this.conversationRow(conversation)));
    this.noConversations.hidden = conversations.length > 0 || !chat.loaded;

    const direct = new Set(
      conversations.filter((one) => one.view.type === "direct").flatMap((conversation) => chat.othersOf(conversation)),
    );
    const people = chat.people().filter((person) => !direct.has(person.userId));
    reconcile(this.people, people.map(({ userId, name }) => this.personRow(userId, name)));
    this.noPeople.hidden = chat.people().length > 0 || !chat.loaded;
    this.people.hidden = people.length === 0;
    this.peopleHead.hidden = people.length === 0 && this.noPeople.hidden;
  }

  private conversationRow(conversation: Conversation): Keyed {
    const { chat } = this;
    const title = chat.titleOf(conversation);
    const last = conversation.timeline.shown().findLast((shown) => shown.kind === "message");
    const own = last?.entry.senderId === chat.me.userId;
    let preview = "No messages yet";
    if (last !== undefined) {
      preview = last.gone !== null ? "Message " + last.gone : (last.text ?? "Encrypted message");
      if (own) preview = `You: ${preview}`;
    }
    const time = last === undefined ? "" : timeText(last.entry.sentAt);
    const unread = conversation.unread;
    const current = chat.current === conversation;
    return {
      key: conversation.id,
      content: JSON.stringify([title, preview, time, unread, current]),
      draw: () =>
        h(
          "li",
          {},
          h(
            "button",
            {
              type: "button",
              class: "item",
              "aria-current": current ? "true" : null,
              onclick: () => {
                chat.open(conversation);
                this.opened();
              },
            },
            avatar(title),
            h(
              "span",
              { class: "grow" },
              h("span", { class: "line" }, h("strong", { class: "name" }, title), h("span", { class: "time" }, time)),
              h(
                "span",
                { class: "line" },
                h("span", { class: "preview" }, preview),
                unread > 0 && h("span", { class: "badge" }, String(unread), h("span", { class: "unseen" }, " unread")),
              ),
            ),
          ),
        ),
    };
  }

  private personRow(userId: string, name: string): Keyed {
    return {
      key: userId,
      content: name,
      draw: () =>
        h(
          "li",
          {},
          h(
            "button",
            {
              type: "button",
              class: "item",
              onclick: () => void this.chat.openWith(userId).then(this.opened, (error: Error) => alertText(error)),
            },
            avatar(name),
            h("span", { class: "grow" }, h("strong", { class: "name" }, name), h("span", { class: "preview" }, "Start a conversation")),
          ),
        ),
    };
  }
}

function alertText(error: Error): void {
  document.dispatchEvent(new CustomEvent("whispr:problem", { detail: error.message }));
}

function lastTime(conversation: Conversation): string {
  const last = conversation.timeline.shown().at(-1);
  return last?.entry.sentAt ?? conversation.view.lastSentAt ?? conversation.view.createdAt;
}
