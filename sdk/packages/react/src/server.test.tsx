// @vitest-environment node
/** Every part drawn on a server, and taken over by a browser as it is (docs: "On a server"). */
import { createClient, memoryStorage, plainEngine } from "@whispr/client";
import { renderToString } from "react-dom/server";
import { StrictMode, type ReactNode } from "react";
import { describe, expect, it, vi } from "vitest";
import { BOB, conversation, message, START, waiting } from "../gallery/fixtures";
import {
  Composer,
  ConnectionBanner,
  Conversation,
  ConversationList,
  DeviceList,
  fr,
  MessageList,
  RetryPanel,
  TypingIndicator,
  WhisprProvider,
} from "./index";

const nothing = (): void => undefined;
const client = createClient({ url: "", getToken: () => null, identity: { userId: BOB, deviceId: BOB }, storage: memoryStorage(), engine: plainEngine() });

function drawn(part: ReactNode): string {
  const complaints = vi.spyOn(console, "error").mockImplementation(nothing);
  const html = renderToString(
    <StrictMode>
      <WhisprProvider client={client} nameOf={(id) => (id === BOB ? "Bob" : "Cara")} catalog={fr}>
        {part}
      </WhisprProvider>
    </StrictMode>,
  );
  expect(complaints.mock.calls).toEqual([]);
  complaints.mockRestore();
  return html;
}

describe("on a server", () => {
  it("there is neither a window nor a document", () => {
    expect(typeof window).toBe("undefined");
    expect(typeof document).toBe("undefined");
  });

  it.each<[string, ReactNode, string]>([
    ["a whole conversation", <Conversation id="one" />, "Chargement"],
    ["the messages", <MessageList items={[message(1, { text: "un" }), message(2, { text: "deux" })]} me={BOB} isGroup={false} label="Messages" find={() => null} actions={{ download: () => Promise.reject(new Error()) }} initialItemCount={2} />, "deux"],
    ["the list", <ConversationList conversations={[conversation("one", { peerId: BOB })]} selectedId={null} onSelect={nothing} />, "Bob"],
    ["the composer", <Composer to="Bob" onSend={() => true} canAttach canSchedule />, "Bob"],
    ["the banner", <ConnectionBanner connection={{ ...client.connection.getSnapshot(), phase: "offline", guarantee: "queued", retryAt: START }} waiting={1} onConnect={nothing} />, "1 message"],
    ["what is stuck", <RetryPanel items={[waiting("1", { nextTryAt: START })]} isOnline onRetry={nothing} onEdit={nothing} onDiscard={nothing} />, "Réessayer"],
    ["who writes", <TypingIndicator names={["Ann"]} />, "Ann écrit"],
    ["the devices", <DeviceList devices={[{ id: "1", name: "Ordinateur", platform: "web", isThis: true, isRevoked: false, createdAt: START, lastActiveAt: START, fingerprint: null }]} />, "Ordinateur"],
  ])("draws %s", (_, part, says) => {
    expect(drawn(part)).toContain(says);
  });
});
