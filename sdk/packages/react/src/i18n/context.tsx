/** The language and direction of everything below a provider. */
import { createContext, useContext, useMemo, type ReactNode } from "react";
import type { Catalog } from "./catalog";
import { en } from "./en";

const Context = createContext<Catalog>(en);

/** The language of what is below. */
export interface I18nProviderProps {
  /** `en`, `fr`, or one's own: an object of the type Catalog. */
  readonly catalog: Catalog;
  /** Instead of the catalog's own direction. */
  readonly dir?: "ltr" | "rtl";
  readonly children: ReactNode;
}

/** The language and direction of what is below, for components without a client; `WhisprProvider` has one. */
export function I18nProvider({ catalog, dir, children }: I18nProviderProps): ReactNode {
  const value = useMemo(() => (dir === undefined || dir === catalog.dir ? catalog : { ...catalog, dir }), [catalog, dir]);
  return (
    <Context value={value}>
      <div className="wh-root" dir={value.dir} lang={value.locale}>
        {children}
      </div>
    </Context>
  );
}

/** The texts of the nearest provider; English without one. */
export function useCatalog(): Catalog {
  return useContext(Context);
}
