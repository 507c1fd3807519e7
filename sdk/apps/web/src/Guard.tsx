/** What is shown where the page itself is at fault: a way back instead of nothing. Messages are safe in the outbox. */
import { Component, type ReactNode } from "react";
import { languageFor } from "./texts/catalog";
import { Mark } from "./ui/SignIn";

export class Guard extends Component<{ readonly children: ReactNode }, { readonly hasFailed: boolean }> {
  override state = { hasFailed: false };

  static getDerivedStateFromError(): { hasFailed: boolean } {
    return { hasFailed: true };
  }

  override render(): ReactNode {
    if (!this.state.hasFailed) return this.props.children;
    const { texts } = languageFor(navigator.languages);
    return (
      <main className="wh-root nothing">
        <div>
          <Mark />
          <h1>{texts.broken}</h1>
          <p>{texts.brokenHint}</p>
          <button type="button" className="wh-button wh-primary" onClick={() => location.reload()}>
            {texts.reload}
          </button>
        </div>
      </main>
    );
  }
}
