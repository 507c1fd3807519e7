/** Puts the parts of a client together. */
import { Whispr } from "./whispr";
import type { ClientOptions, WhisprClient } from "./types/client";

/** A client for one device of one user. Nothing is opened, asked or sent before `connect`. */
export function createClient(options: ClientOptions): WhisprClient {
  return new Whispr(options);
}
