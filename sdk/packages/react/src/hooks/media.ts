/** Attachments as the page can show them: fetched, decrypted, and let go of when nobody looks any more. */
import type { MediaReference } from "@whispr/client";
import { useCallback, useEffect, useState } from "react";

/** Image types that browsers draw without running anything; SVG is not among them, it may carry scripts. */
const SHOWN = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]);
/** Larger ones are fetched when they are asked for. */
const AUTOMATIC_BYTES = 4 * 1024 * 1024;

/** Fetches a medium and decrypts it: `conversation.download`. */
export type Download = (media: MediaReference) => Promise<Uint8Array>;

export interface MediaUrl {
  readonly url: string | null;
  readonly isLoading: boolean;
  readonly hasFailed: boolean;
  readonly load: () => void;
}

export function isPicture(media: MediaReference): boolean {
  return SHOWN.has(media.mimeType);
}

/** An address of the decrypted bytes in this page. Small pictures load by themselves. */
export function useMediaUrl(media: MediaReference, download: Download): MediaUrl {
  const [state, setState] = useState<{ url: string | null; isLoading: boolean; hasFailed: boolean }>({
    url: null,
    isLoading: false,
    hasFailed: false,
  });
  const [wanted, setWanted] = useState(isPicture(media) && media.size <= AUTOMATIC_BYTES);
  const { mediaId } = media;
  useEffect(() => {
    if (!wanted) return undefined;
    let url: string | null = null;
    let isGone = false;
    setState({ url: null, isLoading: true, hasFailed: false });
    download(media).then(
      (bytes) => {
        if (isGone) return;
        // What a sender calls the file decides nothing but a few image types: everything else is only to be saved.
        const type = isPicture(media) ? media.mimeType : "application/octet-stream";
        url = URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>], { type }));
        setState({ url, isLoading: false, hasFailed: false });
      },
      () => {
        if (isGone) return;
        setState({ url: null, isLoading: false, hasFailed: true });
        setWanted(false);
      },
    );
    return () => {
      isGone = true;
      if (url !== null) URL.revokeObjectURL(url);
    };
    // A medium never changes under its id, so the id stands for the reference.
  }, [mediaId, wanted]);
  const load = useCallback(() => setWanted(true), []);
  return { ...state, load };
}
