/** What this package throws. `code` is stable; the message is for developers and may change; `action` is what to do. */
import { ERRORS, type ErrorCode } from "./protocol.gen";

/**
 * retry: the same again, later (the outbox does it by itself); wait: not before `retryAfter`; change: the request has
 * to be another one; sign_in: a new token is needed; upgrade: the environment lacks something; compare: keys or the
 * log are not what they were, a person should know; report: a fault of the client's or the server's.
 */
export type ErrorAction = "retry" | "wait" | "change" | "sign_in" | "upgrade" | "compare" | "report";

/** Everything that this package throws: a stable `code`, a sentence for developers, and what to do. */
export abstract class WhisprError extends Error {
  abstract readonly code: string;
  /** What whoever catches it can do. */
  readonly action: ErrorAction = "report";
}

/** An argument, or something the server gave, is not of the form that docs/protocol.md says. */
export class InvalidInputError extends WhisprError {
  readonly code = "invalid_input";
  override readonly name = "InvalidInputError";
  override readonly action = "change";
}

const ACTIONS: Readonly<Record<ErrorCode, ErrorAction>> = {
  bad_request: "report",
  client_random_reused: "retry",
  edit_conflict: "change",
  forbidden: "change",
  invalid_media: "change",
  invalid_signature: "report",
  invalid_target: "change",
  not_found: "change",
  overloaded: "wait",
  quarantined: "wait",
  rate_limited: "wait",
  stale_membership: "retry",
  temporary_unavailable: "wait",
  timeout: "wait",
  too_large: "change",
  unauthenticated: "sign_in",
};

/** The server refused: `code` is one of docs/protocol.md §6. */
export class RequestError extends WhisprError {
  override readonly name = "RequestError";
  override readonly action: ErrorAction;

  constructor(
    readonly code: string,
    message: string,
    /** In seconds. */
    readonly retryAfter: number | null = null,
    readonly details: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
    this.action = isKnown(code) ? ACTIONS[code] : "report";
  }

  /** Whether the same request may succeed later. */
  get isTransient(): boolean {
    return isKnown(this.code) && ERRORS[this.code].retryAfter !== null;
  }
}

function isKnown(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}

/** No answer came. What was asked for may have happened: repeat it with the same clientRandom. */
export class UnansweredError extends WhisprError {
  readonly code = "unanswered";
  override readonly name = "UnansweredError";
  override readonly action = "retry";

  constructor(options?: ErrorOptions) {
    super("No answer came from the server.", options);
  }
}

/** The client is signed out, revoked, or replaced by another one: nothing is sent before a new sign-in. */
export class SignedOutError extends WhisprError {
  readonly code = "signed_out";
  override readonly name = "SignedOutError";
  override readonly action = "sign_in";

  constructor() {
    super("This client has to sign in again.");
  }
}

/** Too much waits to be sent. */
export class OutboxFullError extends WhisprError {
  readonly code = "outbox_full";
  override readonly name = "OutboxFullError";
  override readonly action = "wait";

  constructor(readonly limit: number) {
    super(`${limit} messages wait to be sent already.`);
  }
}

/** A try is under way, or the message may be stored already: it cannot be taken back now. */
export class OutboxBusyError extends WhisprError {
  readonly code = "outbox_busy";
  override readonly name = "OutboxBusyError";
  override readonly action = "wait";

  constructor() {
    super("The message may be stored already; wait for its outcome.");
  }
}

/** A message was taken back before it was stored. */
export class DiscardedError extends WhisprError {
  readonly code = "discarded";
  override readonly name = "DiscardedError";
  override readonly action = "change";

  constructor() {
    super("The message was discarded.");
  }
}

/** link: the entry is not the one that its link was made of; order: its seq does not follow; head: not the last link. */
export type ChainFault = "link" | "order" | "head";

/** The log is not the one that was appended, or not all of it: `seq` says where it shows. */
export class ChainBrokenError extends WhisprError {
  readonly code = "chain_broken";
  override readonly name = "ChainBrokenError";
  override readonly action = "compare";

  constructor(
    readonly seq: number,
    readonly fault: ChainFault,
  ) {
    super(`The log does not add up at entry ${seq} (${fault}).`);
  }
}

/** It is not encrypted for this device, or not what was sealed. */
export class DecryptionError extends WhisprError {
  readonly code = "undecryptable";
  override readonly name = "DecryptionError";

  constructor(message = "This cannot be decrypted here.", options?: ErrorOptions) {
    super(message, options);
  }
}

/** No device of the conversation has a key to encrypt for. */
export class NoRecipientsError extends WhisprError {
  readonly code = "no_recipients";
  override readonly name = "NoRecipientsError";
  override readonly action = "wait";

  constructor() {
    super("No device of this conversation has an encryption key yet.");
  }
}

/** What is to be sent is over the server's limit. */
export class ContentTooLargeError extends WhisprError {
  readonly code = "too_large";
  override readonly name = "ContentTooLargeError";
  override readonly action = "change";

  constructor(readonly limit: number) {
    super(`This is over the limit of ${limit} bytes.`);
  }
}

/**
 * Ed25519 of WebCrypto is not there: an old browser, or a page that came over plain HTTP from another machine, where
 * browsers offer no WebCrypto. Serve the page over HTTPS, or use a newer browser.
 */
export class Ed25519UnavailableError extends WhisprError {
  readonly code = "ed25519_unavailable";
  override readonly name = "Ed25519UnavailableError";
  override readonly action = "upgrade";

  constructor(options?: ErrorOptions) {
    super("This environment has no Ed25519 in WebCrypto.", options);
  }
}
