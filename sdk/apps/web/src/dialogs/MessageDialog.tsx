import type { DeliveryReport, MessageItem, ReactionView } from "@whispr/client";
import { MessageStatus, useCatalog, useClient, useConversation, useNames } from "@whispr/react";
import { useEffect, useState, type ReactNode } from "react";
import { useTexts } from "../texts/context";
import { Dialog, Section } from "../ui/Dialog";

interface TraceStep {
  readonly at: string;
  readonly step: string;
  readonly process?: string | null;
  readonly deviceId?: string | null;
  readonly userId?: string | null;
}

/** When and to whom a message was delivered, and its way through the server. */
export function MessageDialog({ message: opened, onClose }: { readonly message: MessageItem; readonly onClose: () => void }): ReactNode {
  const texts = useTexts();
  const catalog = useCatalog();
  const [store] = useConversation(opened.conversationId);
  // As it is now: it is delivered, read and reacted to while one looks.
  const message = (opened.messageId === null ? null : store.find(opened.messageId)) ?? opened;
  return (
    <Dialog title={texts.details} onClose={onClose}>
      {message.text ? (
        <blockquote className="excerpt" dir="auto">
          {message.text}
        </blockquote>
      ) : null}
      <dl className="facts">
        <dt>{texts.sentAt}</dt>
        <dd>{catalog.dateTime(message.at)}</dd>
        <dt>{texts.number}</dt>
        <dd>{message.seq ?? "–"}</dd>
        <dt>{texts.encryption}</dt>
        <dd>{message.security === "verified" ? catalog.verifiedSender : message.security === "changed_key" ? catalog.changedKey : catalog.unverified}</dd>
      </dl>
      <Reactions message={message} />
      {message.mine ? <Delivery message={message} /> : <p className="muted">{texts.notYours}</p>}
    </Dialog>
  );
}

/** Who reacted, and with what: all of them, where the message itself names the first ones alone. */
function Reactions({ message }: { readonly message: MessageItem }): ReactNode {
  const texts = useTexts();
  const client = useClient();
  const nameOf = useNames();
  const { messageId, reactions } = message;
  const [all, setAll] = useState<Readonly<Record<string, readonly string[]>>>({});
  useEffect(() => {
    let isGone = false;
    for (const { emoji, count, userIds } of reactions) {
      if (messageId === null || count <= userIds.length) continue;
      client.request<{ reactions: readonly ReactionView[] }>("GET", `messages/${messageId}/reactions?emoji=${encodeURIComponent(emoji)}`).then(
        ({ reactions: [found] }) => !isGone && found !== undefined && setAll((known) => ({ ...known, [emoji]: found.userIds })),
        () => undefined, // the first ones are shown all the same
      );
    }
    return () => {
      isGone = true;
    };
  }, [client, messageId, reactions]);
  if (reactions.length === 0) return null;
  return (
    <Section title={texts.reactions}>
      <ul className="rows">
        {reactions.map(({ emoji, count, userIds }) => {
          const names = (count > userIds.length ? (all[emoji] ?? userIds) : userIds).map(nameOf);
          return (
            <li key={emoji}>
              <span className="rows-emoji">{emoji}</span>
              <span dir="auto">
                {names.join(", ")}
                {count > names.length && ` +${count - names.length}`}
              </span>
            </li>
          );
        })}
      </ul>
    </Section>
  );
}

function Delivery({ message }: { readonly message: MessageItem }): ReactNode {
  const texts = useTexts();
  const catalog = useCatalog();
  const client = useClient();
  const nameOf = useNames();
  const [report, setReport] = useState<DeliveryReport | null>(null);
  const [steps, setSteps] = useState<readonly TraceStep[] | null>(null);
  const [hasFailed, setFailed] = useState(false);
  const { messageId, conversationId, status } = message;
  useEffect(() => {
    if (messageId === null) return undefined;
    let isGone = false;
    const failed = (): void => {
      if (!isGone) setFailed(true);
    };
    client.conversation(conversationId).delivery(messageId).then((found) => !isGone && setReport(found), failed);
    client.request<{ steps: readonly TraceStep[] }>("GET", `messages/${messageId}/trace`).then((found) => !isGone && setSteps(found.steps), failed);
    return () => {
      isGone = true;
    };
    // Asked again when its state changed meanwhile.
  }, [client, conversationId, messageId, status]);
  if (hasFailed && report === null) return <p className="muted">{texts.failed}</p>;
  const time = (at: string | null | undefined): string => (at ? catalog.dateTime(Date.parse(at)) : "–");
  return (
    <>
      <Section title={texts.delivery}>
        <ul className="rows" aria-busy={report === null}>
          {report?.recipients.map((one) => (
            <li key={one.userId}>
              <span dir="auto">{nameOf(one.userId)}</span>
              <span className="rows-side">
                <MessageStatus status={one.status} showWord />
                <small>{time(one.readAt ?? one.deliveredAt)}</small>
              </span>
            </li>
          ))}
        </ul>
        {report?.erasure ? <p className="muted">{texts.erasure(report.erasure.erased, report.erasure.reached)}</p> : null}
      </Section>
      <Section title={texts.trace}>
        <ol className="trace" aria-busy={steps === null}>
          {steps?.map((step, at) => (
            <li key={`${step.at} ${at}`}>
              <span>
                {texts.traceSteps[step.step] ?? step.step}
                {step.userId ? ` · ${nameOf(step.userId)}` : ""}
              </span>
              <small>{new Intl.DateTimeFormat(catalog.locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 }).format(new Date(step.at))}</small>
            </li>
          ))}
        </ol>
        <p className="muted">{texts.traceHint}</p>
      </Section>
    </>
  );
}
