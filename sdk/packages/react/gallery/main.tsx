/** Every component in its states, on plain values. `?lang=fr`, `?dir=rtl` and `?slots` show the rest. */
import type { ConnectionState, MessageStatus as Status, TimelineItem } from "@whispr/client";
import { StrictMode, useState, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import {
  catalogFor,
  Composer,
  ConnectionBanner,
  ConversationList,
  DeviceList,
  I18nProvider,
  MessageList,
  MessageStatus,
  RetryPanel,
  TypingIndicator,
  type MessageActions,
} from "../src/index";
import { NamesProvider } from "../src/provider";
import { SlotsProvider, type Slots } from "../src/slots";
import "../src/styles/index.css";
import { BOB, CARA, conversation, ME, message, nameOf, notice, START, waiting } from "./fixtures";
import "./gallery.css";

const query = new URLSearchParams(location.search);
const STATES: readonly Status[] = ["waiting", "sending", "pending", "sent", "delivered", "read", "failed", "expired"];
const actions: MessageActions = {
  onReply: () => undefined,
  onEdit: () => undefined,
  onReact: () => undefined,
  onDelete: () => undefined,
  onDetails: () => undefined,
  onJump: () => undefined,
  download: () => Promise.reject(new Error("There is nothing to download in the gallery.")),
};

const slots: Slots = query.has("slots") ? { MessageStatus: ({ status }) => <b className="my-status">{status.toUpperCase()}</b> } : {};

/** `?messages=10000`: so many, of different lengths, to see that scrolling stays smooth. */
function many(count: number): TimelineItem[] {
  const words = "the quick brown fox jumps over a lazy dog and runs along the river to the old mill".split(" ");
  return Array.from({ length: count }, (_, at) => {
    const text = Array.from({ length: 1 + ((at * 7_919) % 60) }, (_, word) => words[(at + word) % words.length]).join(" ");
    const mine = at % 3 === 0;
    return message(at + 1, { mine, text, ...(mine ? { status: "read" as const } : {}) });
  });
}

function items(): TimelineItem[] {
  const count = Number(query.get("messages") ?? 0);
  if (count > 0) return many(count);
  return [
    notice(1, "conversation_created"),
    notice(2, "member_added", { userIds: [CARA] }),
    message(3, { text: "Good morning! Did the parcel arrive?" }),
    message(4, { text: "It is a little fragile, see https://example.org/parcel." }),
    message(5, { mine: true, text: "Yes, in one piece.", status: "read", replyTo: message(3).messageId, reactions: [{ emoji: "👍", count: 2, mine: false, userIds: [BOB, CARA] }] }),
    message(6, { senderId: CARA, text: "Wonderful", edited: true, reactions: [{ emoji: "❤️", count: 1, mine: true, userIds: [ME] }] }),
    message(7, { mine: true, text: "This one goes away.", status: "delivered", expiresAt: Date.now() + 95_000 }),
    message(8, { senderId: CARA, text: null, gone: "deleted" }),
    message(9, { senderId: CARA, text: null, security: "undecryptable" }),
    message(10, { text: "", media: { mediaId: "x", name: "plan of the house.pdf", mimeType: "application/pdf", size: 248_113 } }),
    ...STATES.map((status, at) => message(11 + at, { mine: true, text: `A message that is ${status}`, status })),
  ];
}

function connection(change: Partial<ConnectionState>): ConnectionState {
  return {
    phase: "online",
    reason: null,
    closeCode: null,
    retryAt: null,
    synced: true,
    guarantee: "live",
    service: { state: "normal", lost: [] },
    tab: "leader",
    ...change,
  };
}

function Piece({ title, children }: { readonly title: string; readonly children: ReactNode }): ReactNode {
  return (
    <section className="piece">
      <h2>{title}</h2>
      {children}
    </section>
  );
}

function Gallery(): ReactNode {
  const [all] = useState(items);
  const find = (id: string) => all.find((item) => item.kind === "message" && item.messageId === id) ?? null;
  return (
    <main className="gallery">
      <h1>@whispr/react</h1>
      <Piece title="MessageList, MessageItem, NoticeLine">
        <div className="tall wh-thread">
          <MessageList items={all} me={ME} isGroup label="Messages" find={(id) => find(id) as never} actions={actions} firstUnreadKey="key-6" />
          <TypingIndicator names={["Bob"]} />
          <Composer to="Bob" me={ME} onSend={() => true} canAttach canSchedule />
        </div>
      </Piece>
      <Piece title="MessageStatus">
        <p className="row">
          {STATES.map((status) => (
            <MessageStatus key={status} status={status} showWord />
          ))}
        </p>
      </Piece>
      <Piece title="ConversationList">
        <ConversationList
          selectedId="2"
          onSelect={() => undefined}
          online={new Set([BOB])}
          conversations={[
            conversation("1", { unread: 3, preview: message(3), lastAt: Date.now() }),
            conversation("2", { type: "group", settings: { name: "Sunday walk" }, typing: [CARA], memberCount: 4 }),
            conversation("3", { peerId: CARA, preview: message(4, { mine: true, status: "read" }), lastAt: START }),
            conversation("4", { peerId: CARA, draft: "I wanted to say" }),
          ]}
        />
      </Piece>
      <Piece title="Composer: reply, edit">
        <Composer to="Bob" me={ME} mode={{ kind: "reply", message: message(3) }} onSend={() => true} />
        <Composer to="Bob" me={ME} mode={{ kind: "edit", message: message(5, { mine: true }) }} onSend={() => true} />
      </Piece>
      <Piece title="ConnectionBanner">
        <ConnectionBanner connection={connection({ phase: "offline", reason: "network", guarantee: "queued", retryAt: Date.now() + 9_000 })} waiting={2} onConnect={() => undefined} />
        <ConnectionBanner connection={connection({ guarantee: "degraded", service: { state: "degraded", lost: ["push", "receipts"] } })} waiting={0} onConnect={() => undefined} />
        <ConnectionBanner connection={connection({ phase: "replaced", reason: "replaced", guarantee: "closed" })} waiting={0} onConnect={() => undefined} />
      </Piece>
      <Piece title="RetryPanel">
        <RetryPanel isOnline items={[waiting("1", { nextTryAt: Date.now() + 8_000 })]} onRetry={() => undefined} onEdit={() => undefined} onDiscard={() => undefined} />
        <RetryPanel
          isOnline
          items={[waiting("2", { state: "failed", failure: { code: "too_large", message: "", action: "change", willRetry: false } })]}
          onRetry={() => undefined}
          onEdit={() => undefined}
          onDiscard={() => undefined}
        />
      </Piece>
      <Piece title="DeviceList">
        <DeviceList
          devices={[
            { id: "1", name: "Firefox, Linux", platform: "web", isThis: true, isRevoked: false, createdAt: START, lastActiveAt: START, fingerprint: "05512 89441 20938 11204 75520 33819" },
            { id: "2", name: "", platform: "ios", isThis: false, isRevoked: false, createdAt: START, lastActiveAt: null, fingerprint: null },
          ]}
          onRename={() => undefined}
          onRevoke={() => undefined}
        />
      </Piece>
    </main>
  );
}

const dir = query.get("dir") === "rtl" ? ({ dir: "rtl" } as const) : {};
const root = document.getElementById("root");
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <NamesProvider nameOf={nameOf}>
        <SlotsProvider slots={slots}>
          <I18nProvider catalog={catalogFor([query.get("lang") ?? "en"])} {...dir}>
            <Gallery />
          </I18nProvider>
        </SlotsProvider>
      </NamesProvider>
    </StrictMode>,
  );
}
