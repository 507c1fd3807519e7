import type { WhisprClient } from "@whispr/client";
import { WhisprProvider, useStore } from "@whispr/react";
import { useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { makeClient } from "./client";
import { People } from "./people";
import { usePreferences } from "./preferences";
import { frameName, loadSession, signIn, signOut, type Session } from "./session";
import { languageFor } from "./texts/catalog";
import { LanguageContext } from "./texts/context";
import { Messenger } from "./ui/Messenger";
import { SignIn } from "./ui/SignIn";
import { ToastProvider } from "./ui/toast";
import { I18nProvider } from "@whispr/react";

/** The application: signing in, or the messenger. */
export function App(): ReactNode {
  const { language: chosen } = usePreferences();
  const language = useMemo(() => languageFor([...(chosen === null ? [] : [chosen]), ...navigator.languages]), [chosen]);
  const [session, setSession] = useState<Session | null>(loadSession);
  useEffect(() => {
    document.documentElement.lang = language.code;
    document.documentElement.dir = direction().dir ?? language.catalog.dir;
  }, [language]);
  useFrame(session, setSession);
  return (
    <LanguageContext value={language}>
      <I18nProvider catalog={language.catalog} {...direction()}>
        {session === null ? frameName() === "" ? <SignIn onSignedIn={setSession} /> : <main aria-busy="true" /> : <SignedIn key={session.deviceId} session={session} onEnd={() => setSession(null)} />}
      </I18nProvider>
    </LanguageContext>
  );
}

/** `?dir=rtl` shows the page from right to left in any language, for whoever translates it. */
function direction(): { dir?: "rtl" } {
  return new URLSearchParams(location.search).get("dir") === "rtl" ? { dir: "rtl" } : {};
}

const TRY_AGAIN_MS = 2_000;

/** A frame of the demonstration signs in by itself, under the name in its address. */
function useFrame(session: Session | null, signedIn: (session: Session) => void): void {
  useEffect(() => {
    const name = frameName();
    if (name === "" || session !== null) return undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isGone = false;
    const enter = (): void => {
      signIn(name).then(
        (found) => !isGone && signedIn(found),
        () => {
          if (!isGone) timer = setTimeout(enter, TRY_AGAIN_MS);
        },
      );
    };
    enter();
    return () => {
      isGone = true;
      clearTimeout(timer);
    };
  }, [session, signedIn]);
}

interface Running {
  readonly client: WhisprClient;
  readonly people: People;
}

/** One client for as long as somebody is signed in. */
function SignedIn({ session, onEnd }: { readonly session: Session; readonly onEnd: () => void }): ReactNode {
  const [running, setRunning] = useState<Running | null>(null);
  const erases = useRef(false);
  useEffect(() => {
    const client = makeClient(session);
    const people = new People(() => client.request("GET", "dev/people"), session);
    const stop = people.start();
    client.connect().catch(() => undefined); // the banner says how it goes
    setRunning({ client, people });
    return () => {
      stop();
      // After what is drawn let go of its conversations.
      setTimeout(() => void client.close({ forget: erases.current }).catch(() => undefined), 0);
    };
    // A renewed token is the same device and the same client.
  }, [session.deviceId]);
  if (running === null) return null;
  const leave = (erase: boolean): void => {
    erases.current = erase;
    signOut(session, erase);
    onEnd();
  };
  return <Ready running={running} session={session} onSignOut={leave} />;
}

function Ready({ running, session, onSignOut }: { readonly running: Running; readonly session: Session; readonly onSignOut: (erase: boolean) => void }): ReactNode {
  const { client, people } = running;
  const { nameOf } = useStore(people);
  const { language: chosen } = usePreferences();
  const { catalog } = languageFor([...(chosen === null ? [] : [chosen]), ...navigator.languages]);
  return (
    <WhisprProvider client={client} nameOf={nameOf} catalog={catalog} {...direction()}>
      <ToastProvider>
        <Messenger session={session} people={people} onSignOut={onSignOut} />
      </ToastProvider>
    </WhisprProvider>
  );
}
