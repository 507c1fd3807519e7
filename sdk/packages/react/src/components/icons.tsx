/** The pictures of the interface: 24 × 24, drawn with the text's colour, hidden from screen readers. */
import type { ReactNode } from "react";

/** The names of the pictures. */
export type IconName =
  | "sending" | "pending" | "sent" | "delivered" | "read" | "failed" | "expired" | "waiting" | "send" | "attach"
  | "clock" | "timer" | "reply" | "edit" | "more" | "smile" | "close" | "back" | "down" | "search" | "plus" | "group"
  | "settings" | "shield" | "warning" | "lock" | "file" | "device" | "trash" | "info" | "copy" | "bell" | "block"
  | "leave" | "muted";

const PATHS: Readonly<Record<IconName, string>> = {
  sending: "M12 7v5l3 2M21 12a9 9 0 1 1-9-9 9 9 0 0 1 9 9Z",
  pending: "M7 3h10M7 21h10M8 3v4l4 5 4-5V3M8 21v-4l4-5 4 5v4",
  sent: "m5 12.5 4.5 4.5L19 7.5",
  delivered: "m2 12.5 4.5 4.5L16 7.5M12 16.5l.5.5L22 7.5",
  read: "m2 12.5 4.5 4.5L16 7.5M12 16.5l.5.5L22 7.5",
  failed: "M12 7.5v5.5M12 16.4v.1M21 12a9 9 0 1 1-9-9 9 9 0 0 1 9 9Z",
  expired: "M4 4l16 16M12 8v4M20.5 14.5A9 9 0 0 0 9.5 3.4M5.6 5.6a9 9 0 0 0 12.8 12.8",
  waiting: "M8 12h.1M12 12h.1M16 12h.1M21 12a9 9 0 1 1-9-9 9 9 0 0 1 9 9Z",
  send: "M4.5 12 3.6 4.9a.7.7 0 0 1 1-.7L20.5 11.400a.7.7 0 0 1 0 1.2L4.6 19.800a.7.7 0 0 1-1-.7L4.5 12Zm0 0H12",
  attach: "m20 11.5-8.3 8.300a5 5 0 0 1-7.1-7.100l8.3-8.300a3.4 3.4 0 0 1 4.8 4.800l-8.3 8.200a1.7 1.7 0 0 1-2.4-2.400l7.6-7.6",
  clock: "M12 7v5l3.5 2M21 12a9 9 0 1 1-9-9 9 9 0 0 1 9 9Z",
  timer: "M12 9v4l2 2M9 2.500h6M12 21a8 8 0 1 0-8-8 8 8 0 0 0 8 8Z",
  reply: "M9 14 4 9l5-5M4 9h9a7 7 0 0 1 7 7v4",
  edit: "m4 20 .8-4L16.5 4.300a2 2 0 0 1 2.8 0l.4.4a2 2 0 0 1 0 2.800L8 19.2 4 20Z",
  more: "M5.5 12h.1M12 12h.1M18.5 12h.1",
  smile: "M8.5 14.500a4.5 4.5 0 0 0 7 0M9 9.500h.1M15 9.500h.1M21 12a9 9 0 1 1-9-9 9 9 0 0 1 9 9Z",
  close: "M6 6l12 12M18 6 6 18",
  back: "M15 5l-7 7 7 7",
  down: "M12 5v14M6 13l6 6 6-6",
  search: "m20 20-4.5-4.500M17 10.500A6.5 6.5 0 1 1 10.5 4a6.5 6.5 0 0 1 6.5 6.500Z",
  plus: "M12 5v14M5 12h14",
  group: "M9 11.500A3.5 3.5 0 1 0 9 4.500a3.5 3.5 0 0 0 0 7ZM2.5 20a6.5 6.5 0 0 1 13 0M16 4.900a3.5 3.5 0 0 1 0 6.200M18 14.500a6.5 6.5 0 0 1 3.5 5.5",
  settings: "M4 7h9M19 7h1M4 17h1M11 17h9M16 4.5v5M8 14.5v5",
  shield: "M12 3 5 5.500v5.800c0 4.3 2.9 7.7 7 9.7 4.1-2 7-5.4 7-9.700V5.500L12 3Zm-3 9 2.2 2.200L15.3 10",
  warning: "M12 9v4.500M12 16.900v.1M10.6 4.3 2.8 18a1.6 1.6 0 0 0 1.4 2.400h15.600a1.6 1.6 0 0 0 1.4-2.400L13.4 4.300a1.6 1.6 0 0 0-2.8 0Z",
  lock: "M6.5 10.500h11a1.5 1.5 0 0 1 1.5 1.500v7a1.5 1.5 0 0 1-1.5 1.500h-11A1.5 1.5 0 0 1 5 19v-7a1.5 1.5 0 0 1 1.5-1.500ZM8 10.500V7.500a4 4 0 0 1 8 0v3",
  file: "M13.5 3H7a1.5 1.5 0 0 0-1.5 1.500v15A1.5 1.5 0 0 0 7 21h10a1.5 1.5 0 0 0 1.5-1.500V8l-5-5Zm0 0v5h5",
  device: "M8 3h8a1.5 1.5 0 0 1 1.5 1.500v15A1.5 1.5 0 0 1 16 21H8a1.5 1.5 0 0 1-1.5-1.500v-15A1.5 1.5 0 0 1 8 3Zm3 15h2",
  trash: "M4 6.500h16M9.5 6.500V4h5v2.500M6 6.5 7 20h10l1-13.500M10 10.500v6M14 10.500v6",
  info: "M12 11v5.500M12 7.600v.1M21 12a9 9 0 1 1-9-9 9 9 0 0 1 9 9Z",
  copy: "M9 9h10.500v11.500H9zM15 9V3.500H4.500V15H9",
  bell: "M18 9.500a6 6 0 0 0-12 0c0 6-2.5 7.5-2.5 7.500h17S18 15.5 18 9.500ZM10 20.500a2.3 2.3 0 0 0 4 0",
  muted: "M18 9.500a6 6 0 0 0-9.800-4.600M6 9.500c0 6-2.500 7.500-2.500 7.500h13M10 20.500a2.3 2.3 0 0 0 4 0M4 4l16 16",
  block: "M5.7 5.700l12.6 12.600M21 12a9 9 0 1 1-9-9 9 9 0 0 1 9 9Z",
  leave: "M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9",
};

/** A picture that takes the text's colour and size, and says nothing to screen readers. */
export function Icon({ name, className }: { readonly name: IconName; readonly className?: string }): ReactNode {
  return (
    <svg className={className === undefined ? "wh-icon" : `wh-icon ${className}`} viewBox="0 0 24 24" aria-hidden="true" focusable="false" data-icon={name}>
      <path d={PATHS[name]} />
    </svg>
  );
}
