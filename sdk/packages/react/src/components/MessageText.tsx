import { Fragment, type ReactNode } from "react";

/** What `MessageText` shows, and whom it tells. */
export interface MessageTextProps {
  readonly text: string;
}

const LINK = /\bhttps?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]]/giu;

/** Plain text in which addresses are links. Its direction is its own, whatever the interface's. */
export function MessageText({ text }: MessageTextProps): ReactNode {
  const parts: ReactNode[] = [];
  let from = 0;
  for (const match of text.matchAll(LINK)) {
    parts.push(<Fragment key={from}>{text.slice(from, match.index)}</Fragment>);
    parts.push(
      <a key={`${match.index} link`} href={match[0]} target="_blank" rel="noopener noreferrer nofollow">
        {match[0]}
      </a>,
    );
    from = match.index + match[0].length;
  }
  parts.push(<Fragment key={from}>{text.slice(from)}</Fragment>);
  return (
    <p className="wh-text" dir="auto">
      {parts}
    </p>
  );
}
