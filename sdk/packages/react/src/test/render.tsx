/** What the tests of the components share. */
import { cleanup, render, type RenderResult } from "@testing-library/react";
import { StrictMode, type ReactNode } from "react";
import { afterEach } from "vitest";
import { nameOf } from "../../gallery/fixtures";
import { en } from "../i18n/en";
import type { Catalog } from "../i18n/catalog";
import { I18nProvider } from "../i18n/context";
import { NamesProvider } from "../provider";
import { SlotsProvider, type Slots } from "../slots";

afterEach(cleanup);

export interface ShowOptions {
  readonly catalog?: Catalog;
  readonly dir?: "ltr" | "rtl";
  readonly slots?: Slots;
}

export function framed(children: ReactNode, { catalog = en, dir, slots }: ShowOptions = {}): ReactNode {
  return (
    <StrictMode>
      <NamesProvider nameOf={nameOf}>
        <SlotsProvider slots={slots}>
          <I18nProvider catalog={catalog} {...(dir === undefined ? {} : { dir })}>
            {children}
          </I18nProvider>
        </SlotsProvider>
      </NamesProvider>
    </StrictMode>
  );
}

export function show(children: ReactNode, options: ShowOptions = {}): RenderResult {
  return render(framed(children, options));
}
