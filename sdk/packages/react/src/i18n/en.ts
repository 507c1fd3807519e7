import type { Catalog } from "./catalog";
import { duration, formats } from "./format";

const format = formats("en");
const s = (count: number, one: string, many: string): string => (count === 1 ? `1 ${one}` : `${count.toLocaleString("en")} ${many}`);

/** English. */
export const en: Catalog = {
  locale: "en",
  dir: "ltr",
  states: {
    waiting: "Waiting",
    sending: "Sending",
    pending: "Pending",
    sent: "Sent",
    delivered: "Delivered",
    read: "Read",
    failed: "Not sent",
    expired: "Expired",
  },
  stateHints: {
    waiting: "Kept on this device until it can be sent.",
    sending: "On its way to the server. It is kept on this device until the server has it.",
    pending: "The server has accepted it and files it as soon as its database is back.",
    sent: "The server has stored it for good.",
    delivered: "It is on the other person’s device.",
    read: "It was read.",
    failed: "It was not sent. You can try again, change it, or discard it.",
    expired: "Its time ran out.",
  },
  connection: {
    idle: "Not connected",
    connecting: "Connecting …",
    online: "Connected",
    offline: "No connection",
    replaced: "Open elsewhere",
    ended: "Signed out",
  },
  offline: {
    device_offline: "This device is offline.",
    server_restart: "The server is restarting.",
    too_many_sockets: "Too many windows are open for this account.",
    revoked: "This device was removed from the account.",
    replaced: "This device is in use in another window.",
    token_expired: "The sign-in has run out.",
    unauthenticated: "The sign-in is not valid any more.",
  },
  guarantee: {
    live: "What you write is stored as soon as it says “Sent”.",
    syncing: "Catching up on what was missed. You can write already.",
    degraded: "What you write is accepted and kept safe. Some things arrive later.",
    queued: "What you write is kept on this device and sent once, when the connection is back.",
    volatile: "What you write is kept only while this page is open: this browser lets nothing be stored.",
    closed: "Nothing is sent before you sign in again.",
  },
  lost: (what) => `Away for now: ${format.list(what)}.`,
  reconnects: (seconds) => `Next try in ${seconds} s.`,
  connectNow: "Connect now",
  useHere: "Use it here",
  waiting: (count) => `${s(count, "message waits", "messages wait")} to be sent.`,

  messages: "Messages",
  emptyThread: "No messages yet. Say hello!",
  loadingHistory: "Loading earlier messages …",
  beginning: "The beginning of this conversation",
  unreadMarker: "New messages",
  today: "Today",
  yesterday: "Yesterday",
  jumpToUnread: (count) => `${s(count, "new message", "new messages")}`,
  jumpToLatest: "To the latest message",
  announce: (sender, text) => `${sender}: ${text}`,

  you: "You",
  edited: "edited",
  deleted: "This message was deleted",
  deletedByYou: "You deleted this message",
  expired: "This message has expired",
  unreadable: "This message cannot be decrypted on this device",
  unreadableRun: (count) => `${count.toLocaleString("en")} messages from before this device cannot be read here`,
  unreadableHint: "It was encrypted before this device was known to its sender.",
  unencrypted: "Not end-to-end encrypted",
  unverified: "The sender’s signature could not be checked",
  forged: "This message is not from whom it claims to be, and is not shown",
  changedKey: "Sent from a device whose security code changed",
  verifiedSender: "End-to-end encrypted, signature checked",
  opening: "Decrypting …",
  media: "Attachment",
  mediaUnavailable: "This attachment cannot be opened",
  download: (name) => `Download ${name}`,
  loading: "Loading …",
  vanishesIn: (left) => `Vanishes in ${left}`,
  vanishesAfterReading: (left) => `Vanishes ${left} after it was read`,
  inReplyTo: "In reply to",
  replyGone: "A message that is no longer here",
  reactionLabel: (emoji, count, mine) => `${emoji} ${s(count, "reaction", "reactions")}${mine ? ", yours among them" : ""}`,

  reply: "Reply",
  edit: "Edit",
  copy: "Copy text",
  react: "React",
  moreReactions: "More reactions",
  deleteForMe: "Delete for me",
  deleteForEveryone: "Delete for everyone",
  details: "Details",
  actions: "Message actions",

  compose: "Message",
  composeTo: (name) => `Write to ${name}`,
  send: "Send",
  save: "Save",
  cancel: "Cancel",
  attach: "Attach a file",
  removeAttachment: "Remove the attachment",
  schedule: "Send later",
  scheduleFor: "Send at",
  scheduled: "Scheduled",
  ttl: "Vanishing messages",
  ttlOff: "Off",
  ttlRead: "Counted from the reading",
  replyingTo: "Replying to",
  editing: "Editing your message",
  draft: "Draft",
  tooLong: (over) => `${s(over, "character", "characters")} too long`,

  failedTitle: "Not sent",
  waitingTitle: (count) => s(count, "message is waiting", "messages are waiting"),
  nextTry: (seconds) => `Next try in ${seconds} s`,
  tryingNow: "Trying now …",
  resumesOnline: "It goes on by itself when the connection is back.",
  attempts: (count) => s(count, "try so far", "tries so far"),
  retry: "Try again",
  discard: "Discard",
  reasons: {
    max_retries_exceeded: "The server could not take it after five tries.",
    unanswered: "No answer came. It is safe to try again: it is never sent twice.",
    offline: "There is no connection.",
    timeout: "The server did not answer in time. It is safe to try again: it is never sent twice.",
    temporary_unavailable: "The server is recovering.",
    overloaded: "The server is very busy.",
    rate_limited: "That was a lot of messages in a short time.",
    forbidden: "You cannot write in this conversation.",
    quarantined: "Your account is restricted for now.",
    not_found: "This conversation does not exist any more.",
    too_large: "It is too long.",
    invalid_signature: "The server refused this device’s signature.",
    invalid_media: "The attachment is not known to the server any more.",
    invalid_target: "The message that it refers to is gone.",
    edit_conflict: "It cannot be edited any more.",
    stale_membership: "The members changed meanwhile.",
    client_random_reused: "The server knows another message under this number.",
    bad_request: "The server did not accept it.",
    unauthenticated: "You are signed out.",
  },
  reasonOther: "It could not be sent.",

  conversations: "Conversations",
  noConversations: "No conversations yet",
  unread: (count) => s(count, "unread message", "unread messages"),
  typing: (names) => (names.length > 2 ? "Several people are typing …" : `${format.list(names)} ${names.length === 1 ? "is" : "are"} typing …`),
  onlyYou: "Only you",
  group: "Group",
  online: "online",
  lastSeen: (when) => `last seen ${when}`,

  devices: "Devices",
  thisDevice: "This device",
  revoke: "Remove",
  rename: "Rename",
  revoked: "Removed",
  deviceSince: (when) => `Added ${when}`,
  lastActive: (when) => `Active ${when}`,
  fingerprint: "Fingerprint",

  system: ({ event, by, byYou, names }) => {
    const who = by ?? "Somebody";
    const whom = format.list(names);
    switch (event) {
      case "conversation_created":
        return `${who} started the conversation`;
      case "conversation_updated":
        return `${who} changed the settings`;
      case "member_added":
        return by === null ? `${whom} joined` : `${who} added ${whom}`;
      case "member_removed":
        return by === null || (names.length === 1 && names[0] === by) ? `${byYou ? "You" : whom} left` : `${who} removed ${whom}`;
      case "security_changed":
        return `The security code of ${whom} changed`;
      default:
        return event.replaceAll("_", " ");
    }
  },
  duration: (seconds) => duration("en", seconds),
  time: format.time,
  day: format.day,
  dateTime: format.dateTime,
  activity: format.activity,
};
