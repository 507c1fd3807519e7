/** What is being written, one text a conversation, on all the user's devices; encrypted to these. */
import { decodeBase64, encodeBase64 } from "../base64";
import { RequestError } from "../errors";
import type { DraftView } from "../protocol.gen";
import type { Rest } from "../rest";
import type { BodyCodec } from "../types/body";
import type { Identity } from "../types/connection";
import type { EncryptionEngine, PeerDevice } from "../types/engine";
import type { DraftState } from "../types/personal";

/** Saved so long after the last key. */
const SAVE_MS = 1_000;
const RETRY_MS = 10_000;
const NONE: DraftState = { text: "", state: "none", other: null, changedAt: null };

interface Held {
  readonly state: DraftState;
  /** The one of the server that this device knows; 0: none. */
  readonly revision: number;
}

export interface DraftNews {
  readonly conversationId: string;
  readonly revision: number;
  readonly content: string | null;
  readonly deviceId: string;
}

export class Drafts {
  private readonly held = new Map<string, Held>();
  private readonly timers = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(
    private readonly rest: Rest,
    private readonly engine: EncryptionEngine,
    private readonly codec: BodyCodec,
    private readonly self: () => Identity,
    private readonly ownDevices: () => Promise<readonly PeerDevice[]>,
    private readonly changed: (conversationId: string) => void,
  ) {}

  of(conversationId: string): DraftState {
    return this.held.get(conversationId)?.state ?? NONE;
  }

  /** The text as it is now; the same text changes nothing. */
  set(conversationId: string, text: string): void {
    const held = this.held.get(conversationId) ?? { state: NONE, revision: 0 };
    if (held.state.text === text && held.state.state !== "conflict") return;
    this.keep(conversationId, { ...held, state: { text, state: "changed", other: null, changedAt: Date.now() } });
    this.plan(conversationId, SAVE_MS);
  }

  /** The server clears the draft with the message that it became. */
  sent(conversationId: string): void {
    this.cancel(conversationId);
    const held = this.held.get(conversationId);
    if (held !== undefined) this.keep(conversationId, { ...held, state: NONE });
  }

  /** What another device did, or the server after a send. */
  async heard({ conversationId, revision, content, deviceId }: DraftNews): Promise<void> {
    const held = this.held.get(conversationId);
    if (held !== undefined && revision <= held.revision) return;
    const text = content === null ? "" : await this.open(conversationId, content, deviceId);
    const isMine = deviceId === this.self().deviceId;
    const isWriting = held?.state.state === "changed" || held?.state.state === "conflict";
    if (isMine || (isWriting && held.state.text === text)) {
      if (held !== undefined) this.keep(conversationId, { ...held, revision });
    } else if (isWriting && text !== null && text !== "") {
      this.keep(conversationId, { revision, state: { ...held.state, state: "conflict", other: text } });
    } else if (!isWriting) {
      const state: DraftState = text ? { text, state: "saved", other: null, changedAt: Date.now() } : NONE;
      this.keep(conversationId, { revision, state });
    }
  }

  /** All drafts, at the start of a connection; what was written offline is saved. */
  async refresh(): Promise<void> {
    const { drafts } = await this.rest.request<{ drafts: readonly DraftView[] }>("GET", "messages/drafts");
    const listed = new Set(drafts.map((draft) => draft.conversationId));
    for (const draft of drafts) await this.heard(draft);
    for (const [id, held] of this.held) {
      if (held.state.state === "changed") this.plan(id, 0);
      else if (held.state.state === "saved" && !listed.has(id)) this.keep(id, { ...held, state: NONE });
    }
  }

  stop(): void {
    for (const id of [...this.timers.keys()]) this.cancel(id);
  }

  private plan(conversationId: string, ms: number): void {
    this.cancel(conversationId);
    this.timers.set(conversationId, setTimeout(() => void this.save(conversationId), ms));
  }

  private cancel(conversationId: string): void {
    const timer = this.timers.get(conversationId);
    if (timer !== undefined) clearTimeout(timer);
    this.timers.delete(conversationId);
  }

  private async save(conversationId: string): Promise<void> {
    const held = this.held.get(conversationId);
    if (held?.state.state !== "changed") return;
    const { text } = held.state;
    const path = `messages/drafts/${conversationId}`;
    try {
      let revision = held.revision;
      if (text === "") await this.rest.request("DELETE", path);
      else revision = (await this.rest.request<DraftView>("PUT", path, { content: await this.seal(conversationId, text), revision })).revision;
      const now = this.held.get(conversationId);
      if (now === undefined) return;
      const isSame = now.state.text === text;
      this.keep(conversationId, { revision, state: isSame ? (text === "" ? NONE : { ...now.state, state: "saved" }) : now.state });
    } catch (error) {
      await this.couldNotSave(conversationId, error);
    }
  }

  private async couldNotSave(conversationId: string, error: unknown): Promise<void> {
    const held = this.held.get(conversationId);
    if (held === undefined) return;
    const code = error instanceof RequestError ? error.code : "unanswered";
    if (code === "not_found") {
      if (held.state.text === "") this.keep(conversationId, { revision: 0, state: NONE });
    } else if (code === "edit_conflict") {
      await this.rest.request<DraftView>("GET", `messages/drafts/${conversationId}`).then(
        (draft) => this.heard(draft),
        () => this.keep(conversationId, { ...held, revision: 0 }),
      );
      if (this.of(conversationId).state === "changed") this.plan(conversationId, SAVE_MS);
    } else if (!(error instanceof RequestError) || error.isTransient) this.plan(conversationId, RETRY_MS);
  }

  private async seal(conversationId: string, text: string): Promise<string> {
    const { userId, deviceId } = this.self();
    const binding = { purpose: "draft", conversationId, senderId: userId, senderDeviceId: deviceId, clientRandom: 0 } as const;
    const devices = this.engine.encrypts ? await this.ownDevices() : [];
    return encodeBase64(await this.engine.seal({ binding, plaintext: this.codec.encode({ text }), devices }));
  }

  private async open(conversationId: string, content: string, deviceId: string): Promise<string | null> {
    const binding = { purpose: "draft", conversationId, senderId: this.self().userId, senderDeviceId: deviceId, clientRandom: 0 } as const;
    try {
      return this.codec.decode(await this.engine.open({ binding, content: decodeBase64(content) }))?.text ?? null;
    } catch {
      return null;
    }
  }

  private keep(conversationId: string, held: Held): void {
    this.held.set(conversationId, held);
    this.changed(conversationId);
  }
}
