import type { MediaReference } from "@whispr/client";
import { useEffect, useRef, type ReactNode } from "react";
import { isPicture, useMediaUrl, type Download } from "../hooks/media";
import { useCatalog } from "../i18n/context";
import { Icon } from "./icons";

/** What `MediaView` shows, and whom it tells. */
export interface MediaViewProps {
  readonly media: MediaReference;
  readonly download: Download;
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte"] as const;

/** "1.2 MB", in the reader's language. */
export function sizeText(bytes: number, locale: string): string {
  const step = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return new Intl.NumberFormat(locale, {
    style: "unit",
    unit: UNITS[step] ?? "byte",
    unitDisplay: step === 0 ? "long" : "short", // "320 byte" is what the short one of English says
    maximumFractionDigits: 1,
  }).format(bytes / 1000 ** step);
}

/** An attachment: pictures are shown in a frame that has their size before they are there, the rest can be saved. */
export function MediaView({ media, download }: MediaViewProps): ReactNode {
  const catalog = useCatalog();
  const { url, isLoading, hasFailed, load } = useMediaUrl(media, download);
  const picture = isPicture(media);
  const link = useRef<HTMLAnchorElement>(null);
  const asked = useRef(false);
  useEffect(() => {
    if (url === null || !asked.current) return;
    asked.current = false;
    link.current?.click();
  }, [url]);
  if (picture && (url !== null || (isLoading && !hasFailed))) {
    const ratio = media.width && media.height ? media.width / media.height : 4 / 3;
    return (
      <a className="wh-picture" style={{ aspectRatio: String(Math.min(3, Math.max(0.5, ratio))) }} href={url ?? undefined} download={media.name}>
        {url === null ? <span className="wh-sr">{catalog.loading}</span> : <img src={url} alt={media.name} />}
      </a>
    );
  }
  const ask = (): void => {
    asked.current = !picture;
    load();
  };
  return (
    <div className="wh-file">
      <button type="button" onClick={url === null ? ask : () => link.current?.click()} disabled={isLoading} aria-label={catalog.download(media.name)}>
        <Icon name="file" />
        <span>
          <span className="wh-file-name" dir="auto">
            {media.name}
          </span>
          <small>{hasFailed ? catalog.mediaUnavailable : isLoading ? catalog.loading : sizeText(media.size, catalog.locale)}</small>
        </span>
      </button>
      {url !== null && <a ref={link} className="wh-sr" href={url} download={media.name} tabIndex={-1} aria-hidden="true" />}
    </div>
  );
}
