/** What this package throws. `code` is stable; the message is for people and may change. */

export abstract class WhisprError extends Error {
  abstract readonly code: string;
}

/** An argument, or something the server gave, is not of the form that docs/protocol.md says. */
export class InvalidInputError extends WhisprError {
  readonly code = "invalid_input";
  override readonly name = "InvalidInputError";
}

/**
 * link: the entry is not the one that its link was made of; order: its seq does not follow the one before;
 * head: the head that was told is not the last link.
 */
export type ChainFault = "link" | "order" | "head";

/** The log is not the one that was appended, or not all of it: `seq` says where it shows. */
export class ChainBrokenError extends WhisprError {
  readonly code = "chain_broken";
  override readonly name = "ChainBrokenError";

  constructor(
    readonly seq: number,
    readonly fault: ChainFault,
  ) {
    super(`The log does not add up at entry ${seq} (${fault}).`);
  }
}

/**
 * Ed25519 of WebCrypto is not there: an old browser, or a page that came over plain HTTP from another machine, where
 * browsers offer no WebCrypto. Serve the page over HTTPS, or use a newer browser.
 */
export class Ed25519UnavailableError extends WhisprError {
  readonly code = "ed25519_unavailable";
  override readonly name = "Ed25519UnavailableError";

  constructor(options?: ErrorOptions) {
    super("This environment has no Ed25519 in WebCrypto.", options);
  }
}
