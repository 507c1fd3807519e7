import type { MessageItem as Message, OutboxItem, TimelineItem } from "@whispr/client";
import { useCallback, useEffect, useMemo, useState, type ReactNode } from "react";
import { useConnection, useConversation, useOutboxOf } from "../hooks/stores";
import { useCatalog } from "../i18n/context";
import type { Composed, ComposerMode } from "../model";
import { useClient, useNames } from "../provider";
import { useSlot } from "../slots";
import { Composer } from "./Composer";
import { titleOf } from "./ConversationList";
import { Icon } from "./icons";
import type { MessageActions } from "./MessageItem";
import { MessageList } from "./MessageList";
import { RetryPanel } from "./RetryPanel";
import { TypingIndicator } from "./TypingIndicator";

/** What `Conversation` shows, and whom it tells. */
export interface ConversationProps {
  readonly id: string;
  /** Details of a message are asked for. Without it the menu has no such entry. */
  readonly onDetails?: (message: Message) => void;
  /** Something was refused at once: show it somewhere. */
  readonly onError?: (error: Error) => void;
  /** A message was scheduled. */
  readonly onScheduled?: (at: number) => void;
  /** Above the messages: notices of changed keys, for example. */
  readonly banner?: ReactNode;
}

/** Messages a page of history: a turn of the wheel passes ten in a moment. */
const EARLIER = 100;

/** Whether somebody looks at the page: what nobody saw was not read. */
function useIsLooking(): boolean {
  const [looking, setLooking] = useState(() => typeof document === "undefined" || document.visibilityState === "visible");
  useEffect(() => {
    const changed = (): void => setLooking(document.visibilityState === "visible");
    document.addEventListener("visibilitychange", changed);
    return () => document.removeEventListener("visibilitychange", changed);
  }, []);
  return looking;
}

/** What deserves a person's attention: not what simply waits for its turn. */
function isStuck(item: OutboxItem, isOnline: boolean): boolean {
  if (item.state === "failed" || item.state === "parked") return true;
  return isOnline && item.failure !== null && item.state !== "accepted";
}

/** A width and a height of a picture, so that its place is kept before it is there. */
async function measure(file: File): Promise<{ width: number; height: number } | null> {
  if (!file.type.startsWith("image/") || typeof createImageBitmap !== "function") return null;
  try {
    const bitmap = await createImageBitmap(file);
    const { width, height } = bitmap;
    bitmap.close();
    return { width, height };
  } catch {
    return null; // a picture that this browser cannot read is sent as a file
  }
}

/** What is being written on another device too: one of the two is kept. */
function OtherDraft({ text, onTake, onKeep }: { readonly text: string; readonly onTake: (text: string) => void; readonly onKeep: () => void }): ReactNode {
  const catalog = useCatalog();
  return (
    <div className="wh-other-draft" role="status">
      <Icon name="device" />
      <p>
        <strong>{catalog.otherDraft}</strong> <span dir="auto">{text}</span>
      </p>
      <button type="button" className="wh-button" onClick={() => onTake(text)}>
        {catalog.takeDraft}
      </button>
      <button type="button" className="wh-button wh-quiet" onClick={onKeep}>
        {catalog.keepDraft}
      </button>
    </div>
  );
}

/** A whole conversation on the client: its messages, what is stuck, who is writing, and the composer. */
export function Conversation({ id, onDetails, onError, onScheduled, banner }: ConversationProps): ReactNode {
  const client = useClient();
  const catalog = useCatalog();
  const nameOf = useNames();
  const [store, snapshot] = useConversation(id);
  const connection = useConnection();
  const outbox = useOutboxOf(id);
  const isLooking = useIsLooking();
  const [mode, setMode] = useState<ComposerMode | null>(null);
  const [jump, setJump] = useState<{ readonly key: string } | null>(null);
  const [seenSeq, setSeenSeq] = useState(0);
  const Write = useSlot("Composer", Composer);
  const Typing = useSlot("TypingIndicator", TypingIndicator);
  const me = client.identity?.userId ?? null;
  const { info } = snapshot;
  const isOnline = connection.phase === "online";
  const { items } = snapshot;
  const title = info === null ? "" : titleOf(info, nameOf, catalog);

  const failed = useCallback((error: unknown) => onError?.(error instanceof Error ? error : new Error(String(error))), [onError]);
  const seen = useCallback((item: TimelineItem) => setSeenSeq((seq) => Math.max(seq, item.seq ?? 0)), []);
  useEffect(() => {
    // Not before the page of it is here: what is unread is marked by then.
    if (isLooking && snapshot.loaded && seenSeq > 0) store.markRead(seenSeq);
  }, [isLooking, snapshot.loaded, seenSeq, store]);

  const actions = useMemo<MessageActions>(
    () => ({
      onReply: (message) => setMode({ kind: "reply", message }),
      onEdit: (message) => setMode({ kind: "edit", message }),
      onReact: (message, emoji, remove) => {
        if (message.messageId !== null) store.react(message.messageId, emoji, remove).stored.catch(failed);
      },
      onDelete: (message, forEveryone) => {
        if (message.messageId !== null) store.remove(message.messageId, { forEveryone }).catch(failed);
      },
      onJump: (messageId) => void store.reveal(messageId).then((key) => key !== null && setJump({ key }), failed),
      ...(onDetails ? { onDetails } : {}),
      download: (media) => store.download(media),
    }),
    [store, failed, onDetails],
  );

  const send = async (composed: Composed): Promise<boolean> => {
    const { text, file, ttl, ttlStart, scheduledFor } = composed;
    try {
      if (mode?.kind === "edit") {
        const { messageId, outboxId, text: before } = mode.message;
        if (messageId !== null && text !== before) store.edit(messageId, text).stored.catch(() => undefined);
        if (messageId === null && outboxId !== null) await client.outbox.edit(outboxId, text);
      } else {
        const media = file === null ? null : await store.upload(file, { name: file.name, mimeType: file.type || "application/octet-stream", ...(await measure(file)) });
        const input = media === null ? text : { text, media };
        const replyTo = mode?.kind === "reply" ? mode.message.messageId : null;
        const options = { ...(replyTo === null ? {} : { replyTo }), ...(ttl === null ? {} : { ttl, ttlStart }) };
        if (scheduledFor === null) store.send(input, options).stored.catch(() => undefined);
        else {
          await store.schedule(input, new Date(scheduledFor), options);
          onScheduled?.(scheduledFor);
        }
      }
      setMode(null);
      setReturned(({ times }) => ({ text: "", times }));
      return true;
    } catch (error) {
      failed(error);
      return false;
    }
  };

  const editLast = (): void => {
    const last = items.findLast((item): item is Message => item.kind === "message" && item.mine && item.messageId !== null && item.gone === null && item.media === null);
    if (last !== undefined) setMode({ kind: "edit", message: last });
  };

  // What could not be sent goes back to the composer: as something new, with a number of its own.
  const [returned, setReturned] = useState({ text: "", times: 0 });
  const giveBack = (text: string): void => setReturned(({ times }) => ({ text, times: times + 1 }));
  const takeBack = (item: OutboxItem): void => {
    const text = item.body?.text ?? "";
    const waiting = items.find((one): one is Message => one.kind === "message" && one.messageId === null && one.outboxId === item.id);
    // What was uploaded stays with its message.
    if (item.body?.media !== undefined && waiting !== undefined) return setMode({ kind: "edit", message: waiting });
    client.outbox.discard(item.id).then(() => {
      store.setDraft(text);
      giveBack(text);
    }, failed);
  };

  const stuck = outbox.filter((item) => isStuck(item, isOnline));
  return (
    <div className="wh-thread">
      {banner}
      {snapshot.loaded || (!isOnline && items.length > 0) ? (
        <MessageList
          key={id}
          items={items}
          me={me}
          isGroup={info?.type === "group"}
          label={`${catalog.messages}, ${title}`}
          find={(messageId) => store.find(messageId)}
          actions={actions}
          firstUnreadKey={snapshot.firstUnreadKey}
          unread={snapshot.unread}
          hasEarlier={snapshot.hasEarlier}
          onEarlier={() => store.loadEarlier(EARLIER).catch(failed)}
          onSeen={seen}
          jump={jump}
        />
      ) : (
        <div className="wh-list wh-list-waiting" aria-busy="true">
          <span className="wh-sr">{catalog.loading}</span>
          {snapshot.error !== null && <p className="wh-empty">{catalog.reasons["temporary_unavailable"]}</p>}
        </div>
      )}
      <Typing names={snapshot.typing.map(nameOf)} />
      <RetryPanel
        items={stuck}
        isOnline={isOnline}
        onRetry={(item) => void client.outbox.retry(item.id).catch(failed)}
        onEdit={takeBack}
        onDiscard={(item) => void client.outbox.discard(item.id).catch(failed)}
      />
      {snapshot.draft.state === "conflict" && snapshot.draft.other !== null && (
        <OtherDraft
          text={snapshot.draft.other}
          onTake={(text) => {
            store.setDraft(text);
            giveBack(text);
          }}
          onKeep={() => store.setDraft(snapshot.draft.text)}
        />
      )}
      <Write
        key={`${id} ${returned.times}`}
        to={title}
        mode={mode}
        me={me}
        onCancelMode={() => setMode(null)}
        onSend={send}
        onEditLast={editLast}
        onTyping={(active) => store.setTyping(active)}
        draft={returned.text || snapshot.draft.text}
        onDraft={(text) => store.setDraft(text)}
        canAttach
        canSchedule
        isDisabled={info?.left === true || connection.phase === "ended"}
      />
    </div>
  );
}
