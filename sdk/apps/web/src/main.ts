/** Puts the page together: sign in, or go on as who this tab already is. */
import "./style.css";
import { Chat } from "./chat";
import { h } from "./dom";
import { loadSession, NAME_LIMIT, signIn, signOut, type Session } from "./session";
import { Sidebar } from "./sidebar";
import { askWhoYouAre } from "./signin";
import { Thread } from "./thread";

const LATEST_DRAW_MS = 100;

function show(root: HTMLElement, session: Session, withName: string | null): void {
  document.title = `${session.name} · Whispr`;
  const chat = new Chat(session, onceAFrame(() => {
    sidebar.draw();
    thread.draw();
    app.classList.toggle("in-thread", chat.current !== null);
  }));
  const leave = (): void => {
    chat.stop();
    signOut();
    location.assign("/");
  };
  const sidebar = new Sidebar(chat, () => thread.focus(), leave);
  const thread = new Thread(chat, () => chat.open(null));
  const app = h("div", { class: "app" }, sidebar.element, thread.element);
  root.replaceChildren(app);
  sidebar.draw();
  thread.draw();
  void chat.start(withName);
}

/** Many changes in one turn, such as a catch-up, are drawn once. A tab behind others gets no animation frames, so time does too. */
function onceAFrame(draw: () => void): () => void {
  let frame: number | null = null;
  return () => {
    if (frame !== null) return;
    const now = (): void => {
      if (frame === null) return;
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      frame = null;
      draw();
    };
    const timer = setTimeout(now, LATEST_DRAW_MS);
    frame = requestAnimationFrame(now);
  };
}

async function start(): Promise<void> {
  const root = document.getElementById("root");
  if (root === null) throw new Error("The page has no root.");
  const wanted = new URLSearchParams(location.search);
  const name = wanted.get("name")?.trim().slice(0, NAME_LIMIT) ?? "";
  const withName = wanted.get("with");
  // The address is for the first visit; a reload goes on as who the tab is by then.
  if (location.search !== "") history.replaceState(null, "", "/");
  let session = loadSession();
  if (name !== "" && session?.name !== name) session = await signIn(name).catch(() => null);
  if (session !== null) show(root, session, withName);
  else askWhoYouAre(root, (signedIn) => show(root, signedIn, withName));
}

void start();
