/**
 * React components and hooks for Whispr. `@whispr/react/styles.css` has their looks.
 *
 * @module @whispr/react
 */
export { Avatar, initialsOf, toneOf, type AvatarProps } from "./components/Avatar";
export { Composer, type ComposerProps } from "./components/Composer";
export {
  ScheduleButton,
  TTL_CHOICES,
  TtlButton,
  localInput,
  type ScheduleButtonProps,
  type Ttl,
  type TtlButtonProps,
} from "./components/ComposerOptions";
export { ConnectionBanner, type ConnectionBannerProps } from "./components/ConnectionBanner";
export { Conversation, type ConversationProps } from "./components/Conversation";
export {
  ConversationList,
  ConversationRow,
  previewOf,
  titleOf,
  type ConversationListProps,
  type ConversationRowProps,
} from "./components/ConversationList";
export { DeviceList, type DeviceListProps } from "./components/DeviceList";
export { Icon, type IconName } from "./components/icons";
export { MediaView, sizeText, type MediaViewProps } from "./components/MediaView";
export { Menu, Popover, type MenuEntry, type MenuProps, type PopoverProps } from "./components/Menu";
export { MessageItem, type MessageActions, type MessageItemProps } from "./components/MessageItem";
export { MessageList, type MessageListProps } from "./components/MessageList";
export { Expiry, Reactions, ReplyQuote, type ExpiryProps, type ReactionsProps, type ReplyQuoteProps } from "./components/MessageParts";
export { MessageStatus, type MessageStatusProps } from "./components/MessageStatus";
export { MessageText, type MessageTextProps } from "./components/MessageText";
export { NoticeLine, type NoticeLineProps } from "./components/NoticeLine";
export { ReactionPicker, type ReactionPickerProps } from "./components/ReactionPicker";
export { RetryPanel, type RetryPanelProps } from "./components/RetryPanel";
export { TypingIndicator, type TypingIndicatorProps } from "./components/TypingIndicator";
export { useNow, useSecondsUntil } from "./hooks/clock";
export type { Download } from "./hooks/media";
export {
  useConnection,
  useConversation,
  useDevices,
  useInbox,
  useOutbox,
  useOutboxOf,
  useScheduled,
  useSecurity,
  useSettings,
  useStore,
  useWaitingCount,
} from "./hooks/stores";
export { I18nProvider, useCatalog, type I18nProviderProps } from "./i18n/context";
export { catalogFor, en, fr, type Catalog, type SystemText } from "./i18n/index";
export type { Composed, ComposerMode, DeviceRow } from "./model";
export { NamesProvider, useClient, useNames, WhisprProvider, type NameOf, type WhisprProviderProps } from "./provider";
export { SlotsProvider, useSlot, type Slots } from "./slots";
