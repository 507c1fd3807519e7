/** The right side: one conversation, with the state of every message of one's own in words. */
import type { Chat, Conversation } from "./chat";
import { avatar, h, icon, reconcile, type Keyed } from "./dom";
import type { OutboxItem } from "./outbox";
import type { MessageState } from "./receipts";
import type { Shown } from "./timeline";

const STATE_WORDS: Record<MessageState, string> = {
  sending: "Sending",
  queued: "Queued",
  failed: "Failed",
  sent: "Sent",
  delivered: "Delivered",
  read: "Read",
};
/** Closer to the end than this, the view follows new messages. In px. */
const FOLLOW_PX = 80;
/** content is at most 64 KiB; a character is at most 4 bytes of UTF-8. */
const TEXT_LIMIT = 16_000;
const FIELD_MAX_PX = 160;

export class Thread {
  readonly element: HTMLElement;
  private readonly title = h("h1", { class: "title" });
  private readonly face = h("span", { class: "face" });
  private readonly banner = h("div", { class: "banner", role: "status" });
  private readonly log = h("div", { class: "log", role: "log", "aria-label": "Messages", "aria-relevant": "additions", tabindex: "0" });
  private readonly earlier: HTMLButtonElement;
  private readonly jump: HTMLButtonElement;
  private readonly field: HTMLTextAreaElement;
  private readonly submit: HTMLButtonElement;
  private readonly empty: HTMLElement;
  private readonly body: HTMLElement;
  private readonly head: HTMLElement;
  private shown: Conversation | null = null;
  private follows = true;
  private problem = "";

  constructor(
    private readonly chat: Chat,
    private readonly back: () => void,
  ) {
    this.earlier = h("button", { type: "button", class: "quiet earlier", onclick: () => void this.loadEarlier() }, "Earlier messages");
    this.jump = h(
      "button",
      { type: "button", class: "jump", hidden: true, onclick: () => this.toEnd() },
      icon("down"),
      "Newest messages",
    );
    this.field = h("textarea", {
      id: "text",
      rows: "1",
      maxlength: String(TEXT_LIMIT),
      placeholder: "Write a message",
      enterkeyhint: "send",
      oninput: () => this.grow(),
      onkeydown: (event) => this.key(event as KeyboardEvent),
    });
    this.submit = h("button", { type: "submit", class: "primary send" }, icon("send"), h("span", { class: "unseen" }, "Send"));
    this.log.addEventListener("scroll", () => this.scrolled(), { passive: true });
    const composer = h(
      "form",
      { class: "composer", onsubmit: (event) => this.write(event) },
      h("label", { for: "text", class: "unseen" }, "Message"),
      this.field,
      this.submit,
    );
    this.body = h("div", { class: "body" }, h("div", { class: "scroll" }, this.log, this.jump), composer);
    this.empty = h("div", { class: "empty" });
    this.head = h(
      "header",
      { class: "head" },
      h("button", { type: "button", class: "quiet back", onclick: () => this.back() }, icon("back"), h("span", { class: "unseen" }, "Back to the list")),
      this.face,
      this.title,
    );
    this.element = h(
      "main",
      { class: "thread" },
      this.head,
      this.banner,
      this.body,
      this.empty,
    );
    document.addEventListener("whispr:problem", (event) => {
      this.problem = String((event as CustomEvent).detail);
      this.draw();
    });
  }

  /** Put the cursor where one writes. */
  focus(): void {
    this.problem = "";
    this.field.focus({ preventScroll: true });
  }

  draw(): void {
    const conversation = this.chat.current;
    this.drawBanner();
    this.body.hidden = conversation === null;
    this.empty.hidden = conversation !== null;
    this.head.hidden = conversation === null;
    if (conversation === null) {
      this.title.textContent = "";
      this.face.replaceChildren();
      const alone = this.chat.people().length === 0;
      const choose = alone ? "Open a second person in a new tab to begin." : "Choose a person or a conversation.";
      const text = this.chat.loaded ? choose : "Loading …";
      this.empty.replaceChildren(h("p", {}, text));
      this.shown = null;
      return;
    }
    const isNew = this.shown !== conversation;
    if (isNew) {
      this.shown = conversation;
      this.follows = true;
      this.log.replaceChildren();
    }
    const title = this.chat.titleOf(conversation);
    if (this.title.textContent !== title) {
      this.title.textContent = title;
      this.face.replaceChildren(avatar(title));
    }
    const fromEnd = this.log.scrollHeight - this.log.scrollTop;
    reconcile(this.log, this.items(conversation));
    if (this.follows) this.toEnd();
    else if (this.log.scrollTop < FOLLOW_PX) this.log.scrollTop = this.log.scrollHeight - fromEnd;
  }

  private drawBanner(): void {
    const { chat } = this;
    const waiting = chat.outbox.list().filter((item) => item.state !== "failed").length;
    const kept = waiting === 0 ? "What you write now is kept and sent then." : `${waiting === 1 ? "your message is" : `your ${waiting} messages are`} kept and sent then.`;
    let text = this.problem;
    if (text === "" && chat.isTampered) text = "This conversation's history does not add up.";
    let button: HTMLElement | null = null;
    if (chat.link === "offline") text = `No connection. Trying again; ${lower(kept)}`;
    else if (chat.link === "replaced") {
      text = "This session is open in another tab.";
      button = h("button", { type: "button", onclick: () => chat.resume() }, "Use it here");
    } else if (chat.link === "ended") text = "You are signed out on this device. Sign out and in again.";
    else if (chat.degraded) text = "The server runs with less than usual: messages may be queued for a while.";
    const content = `${chat.link}/${text}`;
    if (this.banner.dataset["content"] === content) return;
    this.banner.dataset["content"] = content;
    this.banner.hidden = text === "";
    this.banner.replaceChildren(h("span", {}, text), ...(button === null ? [] : [button]));
  }

  private items(conversation: Conversation): Keyed[] {
    const items: Keyed[] = [];
    if (conversation.hasEarlier) items.push({ key: "earlier", content: "", draw: () => this.earlier });
    let day = "";
    for (const shown of conversation.timeline.shown()) {
      const date = dayText(shown.entry.sentAt);
      if (date !== day) {
        day = date;
        items.push({ key: `day ${date}`, content: date, draw: () => h("div", { class: "day" }, h("span", {}, date)) });
      }
      items.push(shown.kind === "notice" ? notice(shown) : this.message(conversation, shown));
    }
    for (const item of this.chat.outbox.list(conversation.id)) {
      if (conversation.timeline.find(this.chat.me.userId, item.clientRandom) === null) items.push(this.unsent(item));
    }
    return items;
  }

  private message(conversation: Conversation, shown: Shown): Keyed {
    const { entry } = shown;
    const own = entry.senderId === this.chat.me.userId;
    const state = own ? this.chat.stateOf(conversation, entry.seq) : null;
    const name = own ? "You" : this.chat.nameOf(entry.senderId);
    const named = !own && conversation.members.length > 2;
    return {
      key: own && entry.clientRandom !== null ? `own ${entry.clientRandom}` : entry.messageId,
      content: JSON.stringify([shown.text, shown.edited, shown.gone, state, name]),
      draw: () =>
        h(
          "article",
          { class: own ? "message own" : "message", "data-seq": String(entry.seq) },
          h("span", { class: named ? "sender" : "unseen" }, `${name}: `),
          messageText(shown),
          h(
            "span",
            { class: "meta" },
            shown.edited && h("span", {}, "edited"),
            h("time", { datetime: entry.sentAt }, timeText(entry.sentAt)),
            state !== null && stateMark(state),
          ),
        ),
    };
  }

  private unsent(item: OutboxItem): Keyed {
    const state: MessageState = item.state === "failed" || item.state === "queued" ? item.state : "sending";
    return {
      key: `own ${item.clientRandom}`,
      content: JSON.stringify([state, item.problem]),
      draw: () =>
        h(
          "article",
          { class: `message own unsent unsent-${state}` },
          h("span", { class: "unseen" }, "You: "),
          h("p", { class: "text", dir: "auto" }, item.text),
          h("span", { class: "meta" }, stateMark(state)),
          item.problem !== null && h("p", { class: "why" }, item.problem),
          state === "failed" &&
            h(
              "span",
              { class: "actions" },
              h("button", { type: "button", onclick: () => this.chat.retry(item) }, "Send again"),
              h("button", { type: "button", onclick: () => this.chat.discard(item) }, "Discard"),
            ),
        ),
    };
  }

  private write(event: Event): void {
    event.preventDefault();
    const text = this.field.value.trim();
    if (text === "") return;
    this.follows = true;
    try {
      this.chat.write(text);
    } catch (error) {
      this.problem = (error as Error).message;
      return this.draw();
    }
    this.field.value = "";
    this.grow();
    this.field.focus();
  }

  private key(event: KeyboardEvent): void {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    this.write(event);
  }

  private grow(): void {
    this.field.style.height = "auto";
    this.field.style.height = `${Math.min(this.field.scrollHeight, FIELD_MAX_PX)}px`;
  }

  private scrolled(): void {
    this.follows = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < FOLLOW_PX;
    this.jump.hidden = this.follows;
  }

  private toEnd(): void {
    this.log.scrollTop = this.log.scrollHeight;
  }

  private async loadEarlier(): Promise<void> {
    if (this.shown === null) return;
    this.earlier.disabled = true;
    this.follows = false;
    const fromEnd = this.log.scrollHeight - this.log.scrollTop;
    try {
      await this.chat.loadEarlier(this.shown);
      this.log.scrollTop = this.log.scrollHeight - fromEnd;
    } catch (error) {
      this.problem = (error as Error).message;
      this.draw();
    } finally {
      this.earlier.disabled = false;
    }
  }
}

function messageText(shown: Shown): HTMLElement {
  if (shown.gone !== null) return h("p", { class: "text gone" }, shown.gone === "deleted" ? "This message was deleted." : "This message has expired.");
  if (shown.text === null) return h("p", { class: "text gone" }, icon("lock"), "Encrypted: this page cannot read it.");
  return h("p", { class: "text", dir: "auto" }, shown.text);
}

function notice(shown: Shown): Keyed {
  return {
    key: shown.entry.messageId,
    content: shown.text ?? "",
    draw: () => h("div", { class: "notice", "data-seq": String(shown.entry.seq) }, shown.text),
  };
}

function stateMark(state: MessageState): HTMLElement {
  return h("span", { class: `state state-${state}` }, icon(state), STATE_WORDS[state]);
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

export function timeText(sentAt: string): string {
  const time = new Date(sentAt);
  return Number.isNaN(time.getTime()) ? "" : TIME.format(time);
}

function dayText(sentAt: string): string {
  const time = new Date(sentAt);
  if (Number.isNaN(time.getTime())) return "";
  return time.toDateString() === new Date().toDateString() ? "Today" : DAY.format(time);
}

function lower(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
