import { createContext, useContext } from "react";
import { LANGUAGES, type Language, type Texts } from "./catalog";

export const LanguageContext = createContext<Language>(LANGUAGES[0] as Language);

export function useTexts(): Texts {
  return useContext(LanguageContext).texts;
}
