import { Avatar, ConversationList, Icon, titleOf, useCatalog, useClient, useInbox, useNames } from "@whispr/react";
import { useMemo, useState, type ReactNode } from "react";
import { useMuted } from "../muting";
import type { Person } from "../people";
import { openConversation } from "../route";
import type { Session } from "../session";
import { useTexts } from "../texts/context";
import { useToasts } from "./toast";

export interface SidebarProps {
  readonly session: Session;
  readonly people: readonly Person[];
  readonly openId: string | null;
  readonly online: ReadonlySet<string>;
  readonly onNewGroup: () => void;
  readonly onSettings: () => void;
}

function matches(name: string, wanted: string): boolean {
  return name.toLocaleLowerCase().includes(wanted.toLocaleLowerCase());
}

/** Who one is, a search, the conversations, and the people whom one has none with. */
export function Sidebar({ session, people, openId, online, onNewGroup, onSettings }: SidebarProps): ReactNode {
  const texts = useTexts();
  const catalog = useCatalog();
  const nameOf = useNames();
  const inbox = useInbox();
  const client = useClient();
  const toasts = useToasts();
  const muted = useMuted();
  const [wanted, setWanted] = useState("");
  const { conversations } = inbox;
  const shown = useMemo(
    () => (wanted === "" ? conversations : conversations.filter((one) => matches(titleOf(one, nameOf, catalog), wanted))),
    [conversations, wanted, nameOf, catalog],
  );
  const others = useMemo(() => {
    const talksTo = new Set(conversations.map(({ peerId }) => peerId));
    return people.filter(({ userId, name }) => userId !== session.userId && !talksTo.has(userId) && matches(name, wanted));
  }, [people, conversations, session.userId, wanted]);
  const write = async (userId: string): Promise<void> => {
    try {
      const made = await client.createConversation({ type: "direct", members: [userId] });
      setWanted("");
      openConversation(made.id);
    } catch (error) {
      toasts.fail(error);
    }
  };
  const isEmpty = shown.length === 0 && others.length === 0;
  return (
    <nav className="sidebar" aria-label={catalog.conversations}>
      <header className="sidebar-head">
        <button type="button" className="me" onClick={onSettings} title={texts.settings}>
          <Avatar id={session.userId} name={session.name} size="small" />
          <span className="wh-sr">
            {texts.settings}, {texts.signedInAs}{" "}
          </span>
          <span className="me-name" dir="auto">
            {session.name}
          </span>
          <Icon name="settings" />
        </button>
        <button type="button" className="wh-icon-button" aria-label={texts.newGroup} title={texts.newGroup} onClick={onNewGroup}>
          <Icon name="group" />
        </button>
      </header>
      <div className="search">
        <Icon name="search" />
        <input type="search" aria-label={texts.search} placeholder={texts.search} value={wanted} autoComplete="off" onChange={(event) => setWanted(event.target.value)} />
      </div>
      <div className="sidebar-list" aria-busy={!inbox.loaded}>
        {!inbox.loaded && conversations.length === 0 && <Skeleton />}
        {inbox.loaded && isEmpty && wanted !== "" && <p className="wh-empty">{texts.noMatch}</p>}
        {inbox.loaded && isEmpty && wanted === "" && (
          <div className="sidebar-empty">
            <strong>{texts.nobody}</strong>
            <p>{texts.nobodyHint}</p>
            <a className="wh-button" href="/?demo">
              {texts.tryDemo}
            </a>
          </div>
        )}
        {shown.length > 0 && <ConversationList conversations={shown} selectedId={openId} online={online} muted={muted} onSelect={openConversation} />}
        {inbox.hasMore && (
          <button type="button" className="wh-button wh-quiet" disabled={inbox.loading} onClick={() => void client.inbox.loadMore().catch(toasts.fail)}>
            {texts.loadMore}
          </button>
        )}
        {others.length > 0 && (
          <section aria-labelledby="people">
            <h2 id="people">{texts.people}</h2>
            <ul className="wh-conversations">
              {others.map((person) => (
                <li key={person.userId}>
                  <button type="button" className="wh-conversation person" onClick={() => void write(person.userId)}>
                    <Avatar id={person.userId} name={person.name} />
                    <span className="wh-conversation-title" dir="auto">
                      {person.name}
                    </span>
                  </button>
                </li>
              ))}
            </ul>
          </section>
        )}
      </div>
    </nav>
  );
}

/** The shape of the list before it is there, so that nothing jumps. */
function Skeleton(): ReactNode {
  return (
    <div className="skeleton" aria-hidden="true">
      {[0, 1, 2].map((row) => (
        <div key={row}>
          <i />
          <span />
        </div>
      ))}
    </div>
  );
}
