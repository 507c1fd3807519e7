/** The public types of the client, by what they are about. */
export type * from "./types/body";
export type * from "./types/client";
export type * from "./types/connection";
export type * from "./types/conversation";
export type * from "./types/engine";
export type * from "./types/outbox";
export type * from "./types/personal";
export type * from "./types/storage";
export type * from "./types/timeline";
export type * from "./types/wire";
