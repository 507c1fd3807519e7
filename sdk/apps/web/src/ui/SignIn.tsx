import { Avatar, Icon } from "@whispr/react";
import { useEffect, useRef, useState, type FormEvent, type ReactNode } from "react";
import { accounts, NAME_LIMIT, signIn, SignInError, type Session } from "../session";
import type { Texts } from "../texts/catalog";
import { useTexts } from "../texts/context";

export function explain(error: unknown, texts: Texts): string {
  if (!(error instanceof SignInError)) return texts.signInFailed;
  if (error.status === 404) return texts.signInOff;
  return error.status === 0 || error.status >= 500 ? texts.unreachable : error.message || texts.signInFailed;
}

/** The first thing that a visitor sees: one field, and a demonstration. */
export function SignIn({ onSignedIn }: { readonly onSignedIn: (session: Session) => void }): ReactNode {
  const texts = useTexts();
  const [name, setName] = useState("");
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  const [known] = useState(accounts);
  useEffect(() => field.current?.focus({ preventScroll: true }), []);
  const enter = async (as: string): Promise<void> => {
    if (as.trim() === "") return field.current?.focus();
    setBusy(true);
    setProblem("");
    try {
      onSignedIn(await signIn(as.trim()));
    } catch (error) {
      setProblem(explain(error, texts));
      setBusy(false);
    }
  };
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    void enter(name);
  };
  return (
    <main className="welcome">
      <div className="welcome-card">
        <Mark />
        <h1>Whispr</h1>
        <p className="welcome-tagline">{texts.tagline}</p>
        <form onSubmit={submit}>
          <label htmlFor="name">{texts.yourName}</label>
          <div className="welcome-row">
            <input
              ref={field}
              id="name"
              type="text"
              required
              maxLength={NAME_LIMIT}
              autoComplete="off"
              autoCapitalize="words"
              spellCheck={false}
              placeholder={texts.namePlaceholder}
              value={name}
              onChange={(event) => setName(event.target.value)}
            />
            <button type="submit" className="wh-button wh-primary" disabled={isBusy}>
              {texts.signIn}
            </button>
          </div>
          <p className="welcome-problem" role="alert">
            {problem}
          </p>
        </form>
        {known.length > 0 && (
          <ul className="welcome-known">
            {known.slice(0, 3).map((account) => (
              <li key={account.deviceId}>
                <button type="button" disabled={isBusy} onClick={() => void enter(account.name)}>
                  <Avatar id={account.userId} name={account.name} size="small" />
                  <span dir="auto">{texts.continueAs(account.name)}</span>
                </button>
              </li>
            ))}
          </ul>
        )}
        <p className="welcome-or">
          <span>{texts.or}</span>
        </p>
        <a className="wh-button welcome-demo" href="/?demo">
          <Icon name="group" /> {texts.tryDemo}
        </a>
        <p className="welcome-hint">{texts.demoHint}</p>
      </div>
      <ul className="welcome-promise">
        {texts.promise.map((promise) => (
          <li key={promise}>
            <Icon name="sent" /> {promise}
          </li>
        ))}
      </ul>
    </main>
  );
}

/** The sign of the application. */
export function Mark(): ReactNode {
  return (
    <svg className="mark" viewBox="0 0 48 48" aria-hidden="true" focusable="false">
      <path d="M24 5c11 0 19 7.6 19 17s-8 17-19 17c-2 0-3.9-.2-5.600-.7L9 43l1.600-8.3C7.1 31.600 5 27.100 5 22 5 12.600 13 5 24 5Z" />
      <path className="mark-line" d="m15 23 6 6 12-12" />
    </svg>
  );
}
