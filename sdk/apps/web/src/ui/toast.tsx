/** Short words at the edge of the window: what was done, and what did not work. */
import { useCatalog } from "@whispr/react";
import { createContext, useCallback, useContext, useMemo, useRef, useState, type ReactNode } from "react";
import { useTexts } from "../texts/context";

interface Toasts {
  readonly say: (text: string) => void;
  /** Say what went wrong, in words for people. */
  readonly fail: (error: unknown) => void;
}

const Context = createContext<Toasts>({ say: () => undefined, fail: () => undefined });
const SHOWN_MS = 6_000;

export function useToasts(): Toasts {
  return useContext(Context);
}

/** The code of an error of the client's, "" for any other. */
function codeOf(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return String((error as { code: unknown }).code);
}

export function ToastProvider({ children }: { readonly children: ReactNode }): ReactNode {
  const texts = useTexts();
  const catalog = useCatalog();
  const [shown, setShown] = useState<string | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const say = useCallback((text: string) => {
    setShown(text);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setShown(null), SHOWN_MS);
  }, []);
  const value = useMemo<Toasts>(
    () => ({ say, fail: (error) => say(`${texts.failed} ${catalog.reasons[codeOf(error)] ?? ""}`.trim()) }),
    [say, texts, catalog],
  );
  return (
    <Context value={value}>
      {children}
      <div className="toasts" role="status">
        {shown !== null && <p className="toast">{shown}</p>}
      </div>
    </Context>
  );
}
