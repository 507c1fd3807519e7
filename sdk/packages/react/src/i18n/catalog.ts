/** Every text that the components show. A new language is one object of this type. */

import type { ConnectionPhase, Guarantee, MessageStatus, OfflineReason } from "@whispr/client";

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
  reconnects(seconds: number): string;
  readonly connectNow: string;
  readonly useHere: string;
  waiting(count: number): string;

  readonly messages: string;
  readonly emptyThread: string;
  readonly loadingHistory: string;
  readonly beginning: string;
  readonly unreadMarker: string;
  readonly today: string;
  readonly yesterday: string;
  jumpToUnread(count: number): string;
  readonly jumpToLatest: string;
  announce(sender: string, text: string): string;

  readonly you: string;
  readonly edited: string;
  readonly deleted: string;
  readonly deletedByYou: string;
  readonly expired: string;
  readonly unreadable: string;
  readonly unreadableHint: string;
  unreadableRun(count: number): string;
  readonly unencrypted: string;
  readonly unverified: string;
  readonly forged: string;
  readonly changedKey: string;
  readonly verifiedSender: string;
  readonly opening: string;
  readonly media: string;
  readonly mediaUnavailable: string;
  download(name: string): string;
  readonly loading: string;
  vanishesIn(duration: string): string;
  vanishesAfterReading(duration: string): string;
  readonly inReplyTo: string;
  readonly replyGone: string;
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
  composeTo(name: string): string;
  readonly send: string;
  readonly save: string;
  readonly cancel: string;
  readonly attach: string;
  readonly removeAttachment: string;
  readonly schedule: string;
  readonly scheduleFor: string;
  readonly scheduled: string;
  readonly ttl: string;
  readonly ttlOff: string;
  readonly ttlRead: string;
  readonly replyingTo: string;
  readonly editing: string;
  readonly draft: string;
  tooLong(over: number): string;

  readonly failedTitle: string;
  waitingTitle(count: number): string;
  nextTry(seconds: number): string;
  readonly tryingNow: string;
  readonly resumesOnline: string;
  attempts(count: number): string;
  readonly retry: string;
  readonly discard: string;
  /** Why a message was not sent, by the code of the error. */
  readonly reasons: Readonly<Record<string, string>>;
  readonly reasonOther: string;

  readonly conversations: string;
  readonly noConversations: string;
  unread(count: number): string;
  typing(names: readonly string[]): string;
  readonly onlyYou: string;
  readonly group: string;
  readonly online: string;
  lastSeen(when: string): string;

  readonly devices: string;
  readonly thisDevice: string;
  readonly revoke: string;
  readonly rename: string;
  readonly revoked: string;
  deviceSince(when: string): string;
  lastActive(when: string): string;
  readonly fingerprint: string;

  system(event: SystemText): string;
  duration(seconds: number): string;
  time(at: number): string;
  day(at: number): string;
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
