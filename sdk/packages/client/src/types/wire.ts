/** The server's types, made from its code (protocol.gen.ts), under the names that this package uses. */
export type {
  ConversationView,
  DeliveryCounts,
  DeliveryList as DeliveryReport,
  DeliveryView,
  DeviceView,
  EditReference,
  Entry,
  ErasureView,
  ErrorCode,
  JsonObject,
  MediaMetadata,
  MemberView,
  MessageView,
  NotificationChoice,
  NotificationSettings,
  Receipt,
  ReactionView,
  ScheduledView,
  SendOutcome,
  UpdateNotifications,
  UpdateSettings as SettingsChange,
  UserSettingsView as UserSettings,
} from "../protocol.gen";
import type { ConversationView, Entry } from "../protocol.gen";

/** What an entry of the log is. */
export type EntryType = Entry["type"];
/** Two people, or a group. */
export type ConversationType = ConversationView["type"];
/** What a member may do. */
export type MemberRole = ConversationView["role"];
