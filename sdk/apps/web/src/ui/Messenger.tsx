import type { MessageItem } from "@whispr/client";
import { ConnectionBanner, useClient, useConnection, useInbox, useNames, useStore, useWaitingCount } from "@whispr/react";
import { useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { GroupDialog } from "../dialogs/GroupDialog";
import { InfoDialog } from "../dialogs/InfoDialog";
import { MessageDialog } from "../dialogs/MessageDialog";
import { SettingsDialog } from "../dialogs/SettingsDialog";
import { isMuted } from "../muting";
import { notify } from "../notifications";
import type { People } from "../people";
import { openConversation, useOpenConversation } from "../route";
import type { Session } from "../session";
import { useTexts } from "../texts/context";
import { Main, Nothing } from "./Main";
import { Sidebar } from "./Sidebar";
import { useToasts } from "./toast";

export interface MessengerProps {
  readonly session: Session;
  readonly people: People;
  readonly onSignOut: (erase: boolean) => void;
}

type Shown = { readonly kind: "settings" | "group" | "info" } | { readonly kind: "message"; readonly message: MessageItem } | null;

/** The whole application for somebody who is signed in. */
export function Messenger({ session, people, onSignOut }: MessengerProps): ReactNode {
  const texts = useTexts();
  const { all } = useStore(people);
  const openId = useOpenConversation();
  const connection = useConnection();
  const waiting = useWaitingCount();
  const client = useClient();
  const [shown, setShown] = useState<Shown>(null);
  const others = useMemo(() => all.filter(({ userId }) => userId !== session.userId), [all, session.userId]);
  const online = useOnline(openId);
  useNotifications();
  const close = (): void => setShown(null);
  return (
    <div className={openId === null ? "app app-list" : "app app-thread"}>
      <InboxWatch people={people} session={session} openId={openId} />
      <ConnectionBanner
        connection={connection}
        waiting={waiting}
        onConnect={() => (connection.phase === "replaced" ? void client.connect() : client.reconnectNow())}
        onSignIn={() => onSignOut(false)}
        signInLabel={texts.signIn}
      />
      <main className="panes">
        {openId === null && <h1 className="wh-sr">Whispr</h1>}
        <Sidebar session={session} people={others} openId={openId} online={online} onNewGroup={() => setShown({ kind: "group" })} onSettings={() => setShown({ kind: "settings" })} />
        {openId === null ? (
          <Nothing />
        ) : (
          <Main key={openId} id={openId} onInfo={() => setShown({ kind: "info" })} onDetails={(message) => setShown({ kind: "message", message })} />
        )}
      </main>
      {shown?.kind === "settings" && <SettingsDialog session={session} onClose={close} onSignOut={onSignOut} />}
      {shown?.kind === "group" && <GroupDialog people={others} onClose={close} />}
      {shown?.kind === "info" && openId !== null && <InfoDialog id={openId} people={others} onClose={close} />}
      {shown?.kind === "message" && <MessageDialog message={shown.message} onClose={close} />}
    </div>
  );
}

const NOBODY: ReadonlySet<string> = new Set();

/** Who is there, of those whom the open conversation shows. */
function useOnline(openId: string | null): ReadonlySet<string> {
  const client = useClient();
  const store = useMemo(() => (openId === null ? null : client.conversation(openId)), [client, openId]);
  const { phase } = useConnection();
  const [online, setOnline] = useState(NOBODY);
  useEffect(() => {
    if (store === null) return undefined;
    const look = (): void => {
      const present = new Set(store.getSnapshot().presence.map(({ userId }) => userId));
      setOnline((before) => (before.size === present.size && [...present].every((userId) => before.has(userId)) ? before : present));
    };
    look();
    return store.subscribe(look);
  }, [store]);
  return openId === null || phase !== "online" ? NOBODY : online; // without a connection nobody knows
}

/** The browser's notifications, for what arrives while nobody looks. */
function useNotifications(): void {
  const client = useClient();
  const texts = useTexts();
  const nameOf = useNames();
  const told = useRef({ texts, nameOf });
  useEffect(() => {
    told.current = { texts, nameOf };
  }, [texts, nameOf]);
  useEffect(
    () =>
      client.on("message", (item) => {
        if (isMuted(client.settings.getSnapshot().settings, item.conversationId, Date.now())) return;
        notify(item, told.current.texts.newMessageFrom(told.current.nameOf(item.senderId)));
      }),
    [client],
  );
}

/** What follows the list of conversations and draws nothing: the page around it is not drawn with each message. */
function InboxWatch({ people, session, openId }: { readonly people: People; readonly session: Session; readonly openId: string | null }): null {
  useWanted(people, session);
  useUnreadTitle(openId);
  return null;
}

/** `?with=Bob` opens the conversation with Bob as soon as Bob has signed in: what the demonstration uses. */
function useWanted(people: People, session: Session): void {
  const client = useClient();
  const toasts = useToasts();
  const { all } = useStore(people);
  const { loaded } = useInbox();
  const done = useRef(false);
  useEffect(() => {
    const name = new URLSearchParams(location.search).get("with");
    const person = all.find((one) => one.name === name && one.userId !== session.userId);
    if (!loaded || person === undefined || done.current) return;
    done.current = true;
    client.createConversation({ type: "direct", members: [person.userId] }).then(({ id }) => openConversation(id), toasts.fail);
  }, [all, loaded, client, session.userId, toasts]);
}

/** How many messages are unread, in the title of the tab. */
function useUnreadTitle(openId: string | null): void {
  const { unread } = useInbox();
  useEffect(() => {
    if (openId === null) document.title = unread > 0 ? `(${unread}) Whispr` : "Whispr";
  }, [unread, openId]);
}
