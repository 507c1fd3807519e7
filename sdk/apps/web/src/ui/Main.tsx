import type { ConversationSnapshot, MessageItem } from "@whispr/client";
import { Avatar, Conversation, Icon, titleOf, useCatalog, useClient, useConnection, useConversation, useNames, useSecurity } from "@whispr/react";
import { useCallback, useEffect, useRef, type ReactNode } from "react";
import { closeConversation } from "../route";
import { useTexts } from "../texts/context";
import { Mark } from "./SignIn";
import { useToasts } from "./toast";

export interface MainProps {
  readonly id: string;
  readonly onInfo: () => void;
  readonly onDetails: (message: MessageItem) => void;
}

/** The open conversation with its head. */
export function Main({ id, onInfo, onDetails }: MainProps): ReactNode {
  const texts = useTexts();
  const catalog = useCatalog();
  const toasts = useToasts();
  const [store, snapshot] = useConversation(id);
  const { phase } = useConnection();
  const scheduled = useCallback((at: number) => toasts.say(texts.scheduledToast(catalog.dateTime(at))), [toasts, texts, catalog]);
  const { loaded, integrity } = snapshot;
  useEffect(() => {
    // What is open is compared with the hash chain, once, without being asked.
    if (loaded && phase === "online" && integrity === "unknown") store.verify().catch(() => undefined);
  }, [store, loaded, phase, integrity]);
  return (
    <section className="main" aria-label={texts.conversation}>
      <Head id={id} snapshot={snapshot} onInfo={onInfo} />
      <Conversation
        key={id}
        id={id}
        onDetails={onDetails}
        onError={toasts.fail}
        onScheduled={scheduled}
        banner={
          <>
            <KeyNotices snapshot={snapshot} onCompare={onInfo} />
            {snapshot.integrity === "broken" && (
              <p className="alarm" role="alert">
                <Icon name="warning" /> {texts.integrityHint.broken}
              </p>
            )}
            <Later snapshot={snapshot} onInfo={onInfo} />
            {snapshot.info?.left === true && <p className="alarm">{texts.left}</p>}
          </>
        }
      />
    </section>
  );
}

function Head({ id, snapshot, onInfo }: { readonly id: string; readonly snapshot: ConversationSnapshot; readonly onInfo: () => void }): ReactNode {
  const texts = useTexts();
  const catalog = useCatalog();
  const nameOf = useNames();
  const security = useSecurity();
  const { phase } = useConnection();
  const heading = useRef<HTMLHeadingElement>(null);
  const { info, members, typing, integrity } = snapshot;
  const title = info === null ? "" : titleOf(info, nameOf, catalog);
  useEffect(() => {
    document.title = title === "" ? "Whispr" : `${title} · Whispr`;
    return () => {
      document.title = "Whispr";
    };
  }, [title]);
  const isGroup = info?.type === "group";
  const peer = isGroup ? undefined : members.find(({ userId }) => userId === info?.peerId);
  // Without a connection nobody knows who is there now.
  const isOnline = phase === "online" && (peer?.online === true || snapshot.presence.some(({ userId }) => userId === info?.peerId));
  const devices = security.devices.filter(({ userId, revoked }) => userId === info?.peerId && !revoked);
  const isVerified = devices.length > 0 && devices.every(({ verified }) => verified);
  const about = isGroup
    ? texts.members(info.memberCount)
    : isOnline
      ? catalog.online
      : phase === "online" && peer?.lastSeen
        ? catalog.lastSeen(catalog.dateTime(Date.parse(peer.lastSeen)))
        : "";
  return (
    <header className="main-head">
      <button type="button" className="wh-icon-button back wh-flip" aria-label={texts.back} title={texts.back} onClick={closeConversation}>
        <Icon name="back" />
      </button>
      <button type="button" className="main-title" onClick={onInfo} title={texts.info}>
        <Avatar id={info?.peerId ?? id} name={title} isGroup={isGroup} isOnline={isOnline} size="medium" />
        <span className="main-title-text">
          <h1 ref={heading} dir="auto">
            {title || " "}
          </h1>
          <span className="main-about">
            {security.encrypted && (
              <span className="lock" title={isVerified ? texts.verified : texts.encrypted}>
                <Icon name={isVerified ? "shield" : "lock"} />
                <span className="wh-sr">{isVerified ? texts.verified : texts.encrypted}</span>
              </span>
            )}
            {typing.length > 0 ? <em>{catalog.typing(typing.map(nameOf))}</em> : <span>{about}</span>}
          </span>
        </span>
      </button>
      {integrity === "proven" && (
        <span className="proven" title={texts.integrityHint.proven}>
          <Icon name="shield" />
          <span>{texts.integrity.proven}</span>
        </span>
      )}
      <button type="button" className="wh-icon-button" aria-label={texts.info} title={texts.info} onClick={onInfo}>
        <Icon name="info" />
      </button>
    </header>
  );
}

/** What one should know of the others' keys, until one says that one has seen it. */
function KeyNotices({ snapshot, onCompare }: { readonly snapshot: ConversationSnapshot; readonly onCompare: () => void }): ReactNode {
  const texts = useTexts();
  const nameOf = useNames();
  const client = useClient();
  const toasts = useToasts();
  const { notices } = useSecurity();
  const here = new Set(snapshot.members.map(({ userId }) => userId));
  const own = client.identity?.userId;
  const shown = notices.filter(({ kind, userId }) => kind !== "revoked_device" && here.has(userId) && userId !== own).slice(0, 2);
  return shown.map((notice) => (
    <div key={notice.id} className="key-notice" data-kind={notice.kind} role="status">
      <Icon name={notice.kind === "changed_keys" ? "warning" : "device"} />
      <p>{notice.kind === "changed_keys" ? texts.keysChanged(nameOf(notice.userId)) : texts.newDevice(nameOf(notice.userId))}</p>
      <button type="button" className="wh-button wh-quiet" onClick={onCompare}>
        {texts.compare}
      </button>
      <button
        type="button"
        className="wh-button"
        onClick={() => {
          const seen = notice.kind === "changed_keys" ? client.security.accept(notice.deviceId) : Promise.resolve();
          void seen.then(() => client.security.dismiss(notice.id)).catch(toasts.fail);
        }}
      >
        {texts.dismiss}
      </button>
    </div>
  ));
}

/** That something here is sent later. */
function Later({ snapshot, onInfo }: { readonly snapshot: ConversationSnapshot; readonly onInfo: () => void }): ReactNode {
  const texts = useTexts();
  const count = snapshot.scheduled.filter(({ state }) => state !== "sent").length;
  if (count === 0) return null;
  return (
    <button type="button" className="later" onClick={onInfo}>
      <Icon name="clock" /> {texts.scheduledCount(count)}
    </button>
  );
}

/** What is shown while no conversation is open. */
export function Nothing(): ReactNode {
  const texts = useTexts();
  return (
    <div className="main nothing">
      <div>
        <Mark />
        <h2>{texts.pick}</h2>
        <p>{texts.pickHint}</p>
      </div>
    </div>
  );
}
