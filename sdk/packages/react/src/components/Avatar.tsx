import type { ReactNode } from "react";
import { Icon } from "./icons";

/** What `Avatar` shows. */
export interface AvatarProps {
  /** Decides the colour: a user's or a conversation's id. */
  readonly id: string;
  readonly name: string;
  readonly isGroup?: boolean;
  readonly isOnline?: boolean;
  readonly size?: "small" | "medium" | "large";
}

const TONES = 8;

/** The same tone for the same id, on every device. */
export function toneOf(id: string): number {
  let sum = 0;
  for (let at = 0; at < id.length; at += 1) sum = (sum * 31 + id.charCodeAt(at)) % 9_973;
  return sum % TONES;
}

/** Two letters at most, whole characters even outside the basic plane. */
export function initialsOf(name: string): string {
  const words = name.trim().split(/\s+/u).slice(0, 2);
  return words.map((word) => [...word][0]?.toLocaleUpperCase() ?? "").join("");
}

/** A round with initials. It only decorates a name that stands beside it. */
export function Avatar({ id, name, isGroup = false, isOnline = false, size = "medium" }: AvatarProps): ReactNode {
  return (
    <span className={`wh-avatar wh-avatar-${size}`} data-tone={toneOf(id)} aria-hidden="true">
      {isGroup ? <Icon name="group" /> : initialsOf(name)}
      {isOnline && <span className="wh-avatar-online" />}
    </span>
  );
}
