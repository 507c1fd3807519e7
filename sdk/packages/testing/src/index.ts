/**
 * A server in memory that speaks the protocol as far as a client notices, and builders for everything that it says.
 *
 * @module @whispr/testing
 */
export * from "./builders";
export { decodeFrame, encodeFrame, FrameError, type Frame, type Ref } from "./frames";
export type { FakeConversation, FakeMember } from "./log";
export { FakeServer, type FakeServerOptions, type Fault } from "./server";
export type { FakeSocket } from "./socket";
export { fakeToken, type Device } from "./token";
