/** Every text that the components show. A new language is one object of this type. */

import type { ConnectionPhase, Guarantee, MessageStatus, OfflineReason } from "@whispr/client";

/** Every text of the components. What a text is about, its name says; `en` shows how it is meant. */
export interface Catalog {
  /** BCP 47, for Intl and `lang`. */
  readonly locale: string;
  readonly dir: "ltr" | "rtl";
  readonly states: Readonly<Record<MessageStatus, string>>;
  /** What a state means, in a sentence. */
  readonly stateHints: Readonly<Record<MessageStatus, string>>;
  readonly connection: Readonly<Record<ConnectionPhase, string>>;
  /** Why one is not connected, where there is more to say. */
  readonly offline: Readonly<Partial<Record<OfflineReason, string>>>;
  /** What one can rely on right now. */
  readonly guarantee: Readonly<Record<Guarantee, string>>;
  /** What is away, by the server's names for it. */
  lost(what: readonly string[]): string;
  /** What `service_state` names as lost; a name that is not here is not told. */
  readonly services: Readonly<Record<string, string>>;
  /** When the next try is. */
  reconnects(seconds: number): string;
  readonly connectNow: string;
  readonly useHere: string;
  /** How many messages wait to be sent. */
  waiting(count: number): string;

  readonly messages: string;
  readonly emptyThread: string;
  readonly loadingHistory: string;
  readonly beginning: string;
  readonly unreadMarker: string;
  readonly today: string;
  readonly yesterday: string;
  /** The button that leads to what is new. */
  jumpToUnread(count: number): string;
  readonly jumpToLatest: string;
  /** What a screen reader says of a message that arrives. */
  announce(sender: string, text: string): string;

  readonly you: string;
  readonly edited: string;
  readonly deleted: string;
  readonly deletedByYou: string;
  readonly expired: string;
  readonly unreadable: string;
  readonly unreadableHint: string;
  /** Several messages in a row that this device cannot read. */
  unreadableRun(count: number): string;
  readonly unencrypted: string;
  readonly unverified: string;
  readonly forged: string;
  readonly changedKey: string;
  readonly verifiedSender: string;
  readonly opening: string;
  readonly media: string;
  readonly mediaUnavailable: string;
  /** The button of a medium. */
  download(name: string): string;
  readonly loading: string;
  /** A message that expires. */
  vanishesIn(duration: string): string;
  /** A message whose time begins when it is read. */
  vanishesAfterReading(duration: string): string;
  readonly inReplyTo: string;
  readonly replyGone: string;
  /** A reaction, as a screen reader says it. */
  reactionLabel(emoji: string, count: number, mine: boolean): string;

  readonly reply: string;
  readonly edit: string;
  readonly copy: string;
  readonly react: string;
  readonly moreReactions: string;
  readonly deleteForMe: string;
  readonly deleteForEveryone: string;
  readonly details: string;
  readonly actions: string;

  readonly compose: string;
  /** The empty field. */
  composeTo(name: string): string;
  readonly send: string;
  readonly save: string;
  readonly cancel: string;
  readonly attach: string;
  readonly removeAttachment: string;
  readonly schedule: string;
  readonly scheduleFor: string;
  /** What another device of the user is writing, and which of the two stays. */
  readonly otherDraft: string;
  readonly takeDraft: string;
  readonly keepDraft: string;
  readonly ttl: string;
  readonly ttlOff: string;
  readonly ttlRead: string;
  readonly replyingTo: string;
  readonly editing: string;
  readonly draft: string;
  /** How many characters are too many. */
  tooLong(over: number): string;

  readonly failedTitle: string;
  /** The heading over what waits. */
  waitingTitle(count: number): string;
  /** When it is tried again. */
  nextTry(seconds: number): string;
  readonly tryingNow: string;
  readonly resumesOnline: string;
  /** How often it was tried. */
  attempts(count: number): string;
  readonly retry: string;
  readonly discard: string;
  /** Why a message was not sent, by the code of the error. */
  readonly reasons: Readonly<Record<string, string>>;
  readonly reasonOther: string;

  readonly conversations: string;
  readonly noConversations: string;
  /** How many messages are new. */
  unread(count: number): string;
  /** Who is writing. */
  typing(names: readonly string[]): string;
  readonly onlyYou: string;
  readonly muted: string;
  readonly group: string;
  readonly online: string;
  /** When somebody was there last. */
  lastSeen(when: string): string;

  readonly devices: string;
  readonly thisDevice: string;
  readonly revoke: string;
  readonly rename: string;
  readonly revoked: string;
  /** Since when a device is there. */
  deviceSince(when: string): string;
  /** When a device was used last. */
  lastActive(when: string): string;
  readonly fingerprint: string;

  /** A line of the server's. */
  system(event: SystemText): string;
  /** A span of seconds, in words. */
  duration(seconds: number): string;
  /** The time of day, of ms since 1970. */
  time(at: number): string;
  /** A day, as the list is divided by. */
  day(at: number): string;
  /** Day and time. */
  dateTime(at: number): string;
  /** Short: the time today, else the day. */
  activity(at: number, now: number): string;
}

/** What a line of the server's is made of; `by` and `names` are names, you already named as "you". */
export interface SystemText {
  readonly event: string;
  readonly by: string | null;
  readonly byYou: boolean;
  readonly names: readonly string[];
}
