import { createClient, plainEngine } from "@whispr/client";
import { MessageItem } from "@whispr/react";
import { cleanup, render, screen } from "@testing-library/react";
import { afterEach, expect, it } from "vitest";
import { ME, message, nameOf } from "../gallery/fixtures";
import { Messaging } from "./own-parts";

afterEach(cleanup);

it("parts of an application's own take the place of ours", () => {
  const client = createClient({ url: "", getToken: () => null, engine: plainEngine() });
  const shown = { replied: null, me: ME, isFirst: true, isLast: true, isGroup: true, showState: true, tabIndex: 0, actions: { download: () => Promise.reject(new Error("none")) } };
  render(
    <Messaging client={client} nameOf={nameOf}>
      <MessageItem {...shown} message={message(1)} />
      <MessageItem {...shown} message={message(2, { mine: true, senderId: ME, status: "read" })} />
      <MessageItem {...shown} message={message(3, { mine: true, senderId: ME, status: "sent" })} />
    </Messaging>,
  );
  expect(document.querySelector(".badge")?.textContent).toBe("B");
  expect(screen.getByText("seen").tagName).toBe("EM");
  // What is only wrapped is ours otherwise.
  expect(screen.getByText("Sent")).toBeTruthy();
});
