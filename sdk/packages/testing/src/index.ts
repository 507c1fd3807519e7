/** A server in memory that speaks the protocol as far as a client notices, and builders for everything that it says. */
export * from "./builders";
export { decodeFrame, encodeFrame, FrameError, type Frame, type Ref } from "./frames";
export { FakeServer, type FakeServerOptions, type Fault } from "./server";
export { fakeToken } from "./token";
