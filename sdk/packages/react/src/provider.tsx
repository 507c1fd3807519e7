/** What all components share: the client, names, texts, and parts that an application replaced. */
import type { WhisprClient } from "@whispr/client";
import { createContext, useContext, type ReactNode } from "react";
import type { Catalog } from "./i18n/catalog";
import { I18nProvider } from "./i18n/context";
import { en } from "./i18n/en";
import { SlotsProvider, type Slots } from "./slots";

/** The name of a user. Users live in the application's user service, so it is the application that knows. */
export type NameOf = (userId: string) => string;

const ClientContext = createContext<WhisprClient | null>(null);
const NamesContext = createContext<NameOf>((userId) => userId.slice(0, 8));

/** What all components below share. Without `catalog` they speak English. */
export interface WhisprProviderProps {
  readonly client: WhisprClient;
  /** Give a new function when names changed, the same one otherwise. */
  readonly nameOf: NameOf;
  readonly catalog?: Catalog;
  readonly dir?: "ltr" | "rtl";
  readonly slots?: Slots;
  readonly children: ReactNode;
}

/** Goes around everything that uses hooks of this package; its element has the class `wh-root`. */
export function WhisprProvider({ client, nameOf, catalog = en, dir, slots, children }: WhisprProviderProps): ReactNode {
  return (
    <ClientContext value={client}>
      <NamesContext value={nameOf}>
        <SlotsProvider slots={slots}>
          <I18nProvider catalog={catalog} {...(dir === undefined ? {} : { dir })}>
            {children}
          </I18nProvider>
        </SlotsProvider>
      </NamesContext>
    </ClientContext>
  );
}

/** The client of the nearest provider. Throws where there is none: that is a mistake in the application. */
export function useClient(): WhisprClient {
  const client = useContext(ClientContext);
  if (client === null) throw new Error("Whispr's hooks need a <WhisprProvider> above them.");
  return client;
}

/** The client, or null: for components that can do without. */
export function useOptionalClient(): WhisprClient | null {
  return useContext(ClientContext);
}

/** Names alone, for components without a client. */
export function NamesProvider({ nameOf, children }: { readonly nameOf: NameOf; readonly children: ReactNode }): ReactNode {
  return <NamesContext value={nameOf}>{children}</NamesContext>;
}

/** The application's names of users. */
export function useNames(): NameOf {
  return useContext(NamesContext);
}

