/** What applications compile against. `npm run typecheck` proves it; here it only has to be there. */
import { expectTypeOf, it } from "vitest";
import { createClient, ERRORS, RequestError, WhisprError, type ConnectionState, type ConversationSnapshot, type ErrorCode, type MessageHandle, type MessageItem, type Store, type TimelineItem, type WhisprClient } from "./index";
import type { EncryptionEngine } from "./types/engine";
import { encryptionEngine } from "./encryption/index";
import { plainEngine } from "./plain";

it("a client is made of a url and a way to tokens", () => {
  expectTypeOf(createClient).parameter(0).toHaveProperty("url").toEqualTypeOf<string>();
  expectTypeOf(createClient).returns.toEqualTypeOf<WhisprClient>();
  // @ts-expect-error: there is no client without tokens
  expectTypeOf(createClient).toBeCallableWith({ url: "" });
  expectTypeOf(createClient).toBeCallableWith({ url: "", getToken: () => "token" });
  expectTypeOf(createClient).toBeCallableWith({ url: "", getToken: async () => null, engine: encryptionEngine() });
});

it("every part is a store that React can subscribe to", () => {
  expectTypeOf<WhisprClient["connection"]>().toEqualTypeOf<Store<ConnectionState>>();
  expectTypeOf<ReturnType<WhisprClient["conversation"]>>().toExtend<Store<ConversationSnapshot>>();
  expectTypeOf<MessageHandle["getSnapshot"]>().returns.toHaveProperty("status");
});

it("snapshots cannot be changed", () => {
  expectTypeOf<ConversationSnapshot["items"]>().toEqualTypeOf<readonly TimelineItem[]>();
  const change = (item: MessageItem): void => {
    // @ts-expect-error: it is read-only
    item.text = "other";
  };
  expectTypeOf(change).returns.toBeVoid();
});

it("an item is told apart by its kind", () => {
  expectTypeOf<Extract<TimelineItem, { kind: "message" }>>().toEqualTypeOf<MessageItem>();
  expectTypeOf<Extract<TimelineItem, { kind: "notice" }>["event"]>().toEqualTypeOf<string>();
});

it("errors have a code and what to do", () => {
  expectTypeOf<WhisprError["action"]>().toEqualTypeOf<"retry" | "wait" | "change" | "sign_in" | "upgrade" | "compare" | "report">();
  expectTypeOf<RequestError>().toExtend<WhisprError>();
  expectTypeOf<ErrorCode>().toEqualTypeOf<keyof typeof ERRORS>();
});

it("both engines are engines", () => {
  expectTypeOf(plainEngine).returns.toEqualTypeOf<EncryptionEngine>();
  expectTypeOf(encryptionEngine).returns.toEqualTypeOf<EncryptionEngine>();
});
