/**
 * Parts that an application may replace. A replacement gets the props of the part that it stands for, which is exported
 * too, so it can wrap it.
 */
import { createContext, useContext, type ComponentType, type ReactNode } from "react";
import type { AvatarProps } from "./components/Avatar";
import type { ComposerProps } from "./components/Composer";
import type { ConversationRowProps } from "./components/ConversationList";
import type { MediaViewProps } from "./components/MediaView";
import type { MessageItemProps } from "./components/MessageItem";
import type { MessageStatusProps } from "./components/MessageStatus";
import type { MessageTextProps } from "./components/MessageText";
import type { NoticeLineProps } from "./components/NoticeLine";
import type { TypingIndicatorProps } from "./components/TypingIndicator";

/** Components in the place of ours; an absent one is ours. */
export interface Slots {
  readonly Avatar?: ComponentType<AvatarProps>;
  readonly Composer?: ComponentType<ComposerProps>;
  readonly ConversationRow?: ComponentType<ConversationRowProps>;
  readonly MediaView?: ComponentType<MediaViewProps>;
  readonly MessageItem?: ComponentType<MessageItemProps>;
  readonly MessageStatus?: ComponentType<MessageStatusProps>;
  readonly MessageText?: ComponentType<MessageTextProps>;
  readonly NoticeLine?: ComponentType<NoticeLineProps>;
  readonly TypingIndicator?: ComponentType<TypingIndicatorProps>;
}

const NONE: Slots = {};
const Context = createContext<Slots>(NONE);

/** Replaces parts for what is below, without a client; `WhisprProvider` takes `slots` itself. */
export function SlotsProvider({ slots, children }: { readonly slots: Slots | undefined; readonly children: ReactNode }): ReactNode {
  return <Context value={slots ?? NONE}>{children}</Context>;
}

/** The application's part, or ours. */
export function useSlot<Name extends keyof Slots>(name: Name, ours: NonNullable<Slots[Name]>): NonNullable<Slots[Name]> {
  return useContext(Context)[name] ?? ours;
}
