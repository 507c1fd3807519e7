/** The server's types, made from its code (protocol.gen.ts), under the names that this package uses. */
export type {
  ConversationView,
  DeliveryList as DeliveryReport,
  DeviceView,
  Entry,
  ErrorCode,
  MemberView,
  MessageView,
  Receipt,
  ReactionView,
  ScheduledView,
  SendOutcome,
  UserSettingsView as UserSettings,
} from "../protocol.gen";
import type { ConversationView, Entry } from "../protocol.gen";

export type EntryType = Entry["type"];
export type ConversationType = ConversationView["type"];
export type MemberRole = ConversationView["role"];
