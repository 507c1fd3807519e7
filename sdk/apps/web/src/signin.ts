/** The first thing a visitor sees: one sentence, one field. */
import { ApiError } from "./api";
import { h } from "./dom";
import { NAME_LIMIT, signIn, type Session } from "./session";

/** Show the sign-in form in `root` until somebody signed in. */
export function askWhoYouAre(root: HTMLElement, signedIn: (session: Session) => void): void {
  const problem = h("p", { class: "problem", role: "alert" });
  const field = h("input", {
    id: "name",
    name: "name",
    type: "text",
    required: true,
    maxlength: String(NAME_LIMIT),
    autocomplete: "off",
    autocapitalize: "words",
    spellcheck: "false",
    placeholder: "Ada",
  });
  const button = h("button", { type: "submit", class: "primary" }, "Sign in");
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const name = field.value.trim();
    if (name === "") return field.focus();
    button.disabled = true;
    problem.textContent = "";
    try {
      signedIn(await signIn(name));
    } catch (error) {
      problem.textContent = explainSignIn(error);
      button.disabled = false;
    }
  };
  root.replaceChildren(
    h(
      "main",
      { class: "welcome" },
      h(
        "form",
        { class: "card", onsubmit: (event) => void submit(event) },
        h("h1", {}, "Whispr"),
        h("p", {}, "Pick any name to sign in, open a second person in a new tab, and watch each message go from sent to delivered to read."),
        h("label", { for: "name" }, "Your name"),
        h("div", { class: "row" }, field, button),
        problem,
      ),
      footnote(),
    ),
  );
  field.focus();
}

/** The one line that says what this page is not. */
export function footnote(): HTMLElement {
  return h("p", { class: "footnote" }, "A demonstration: this page does not encrypt its messages yet.");
}

export function explainSignIn(error: unknown): string {
  if (!(error instanceof ApiError)) return "Signing in did not work.";
  if (error.status === 404) return "Signing in by name is switched off on this server (WHISPR_DEV_LOGIN).";
  return error.message;
}
