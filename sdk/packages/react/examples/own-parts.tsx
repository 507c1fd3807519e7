/** Parts of an application's own in the place of ours: the state of a message in words, and names with a team behind them. */
import { MessageStatus, WhisprProvider, type AvatarProps, type MessageStatusProps, type NameOf, type Slots } from "@whispr/react";
import type { WhisprClient } from "@whispr/client";
import type { ReactNode } from "react";

/** Wraps ours: only what is read is said in another way. */
function SeenStatus(props: MessageStatusProps): ReactNode {
  return props.status === "read" ? <em data-status="read">seen</em> : <MessageStatus {...props} />;
}

/** Replaces ours altogether. */
function BadgeAvatar({ name, isOnline = false }: AvatarProps): ReactNode {
  return (
    <span className="badge" aria-hidden="true" data-online={isOnline}>
      {name.slice(0, 1)}
    </span>
  );
}

// Made once: another object would make every message anew.
export const slots: Slots = { MessageStatus: SeenStatus, Avatar: BadgeAvatar };

/** Goes around the application. */
export function Messaging({ client, nameOf, children }: { readonly client: WhisprClient; readonly nameOf: NameOf; readonly children: ReactNode }): ReactNode {
  return (
    <WhisprProvider client={client} nameOf={nameOf} slots={slots}>
      {children}
    </WhisprProvider>
  );
}
