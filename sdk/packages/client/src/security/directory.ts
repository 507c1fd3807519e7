/** The devices of each conversation, as the server names them; and the keys that were met here, with what became of them. */
import { Observable } from "../observable";
import type { Rest } from "../rest";
import type { EncryptionEngine, PeerDevice } from "../types/engine";
import type { KnownDevice, SecurityNotice, SecuritySnapshot, SecurityStore } from "../types/personal";
import type { ClientStorage } from "../types/storage";

type Fingerprints = typeof import("./fingerprint");

/** A device that was added within this time is not encrypted for yet; each look costs a request. */
const FRESH_MS = 15_000;
/** A device that no list has was revoked, or its user left: it is not asked for again for a while. */
const ABSENT_MS = 60_000;
/** So many former keys of a device are kept. */
const FORMER_KEYS = 8;
const DEVICES = "devices";
const NOTICES = "notices";

export interface Roster {
  readonly membersVersion: number;
  readonly devices: readonly PeerDevice[];
}

export class Directory implements SecurityStore {
  private readonly rosters = new Map<string, { readonly at: number; readonly roster: Promise<Roster> }>();
  private readonly known = new Map<string, KnownDevice>();
  private readonly notices = new Map<string, SecurityNotice>();
  private readonly absent = new Map<string, number>();
  private warnings: readonly string[] = [];
  private ownId = "";
  /** Loaded with an engine that encrypts: without keys there is nothing to compare. */
  private prints: Fingerprints | null = null;
  private readonly store: Observable<SecuritySnapshot>;

  constructor(
    private readonly rest: Rest,
    private readonly storage: ClientStorage,
    private readonly engine: EncryptionEngine,
  ) {
    this.store = new Observable<SecuritySnapshot>(() => ({
      encrypted: this.engine.encrypts,
      warnings: this.warnings,
      own: this.known.get(this.ownId) ?? null,
      devices: [...this.known.values()],
      notices: [...this.notices.values()],
    }));
  }

  readonly subscribe = (listener: () => void): (() => void) => this.store.subscribe(listener);
  readonly getSnapshot = (): SecuritySnapshot => this.store.getSnapshot();

  async load(ownId: string, warnings: readonly string[]): Promise<void> {
    this.ownId = ownId;
    this.warnings = warnings;
    if (this.engine.encrypts) this.prints = await import("./fingerprint");
    for (const [id, value] of await this.storage.entries(DEVICES)) this.known.set(id, value as KnownDevice);
    for (const [id, value] of await this.storage.entries(NOTICES)) this.notices.set(id, value as SecurityNotice);
    this.store.changed();
  }

  /** Whom to encrypt for. Asked anew after a while, and after `forget`. */
  roster(conversationId: string): Promise<Roster> {
    const found = this.rosters.get(conversationId);
    if (found !== undefined && Date.now() - found.at < FRESH_MS) return found.roster;
    const roster = this.rest.request<Roster>("GET", `conversations/${conversationId}/devices`).then((read) => {
      this.meet(read.devices, true);
      return read;
    });
    this.rosters.set(conversationId, { at: Date.now(), roster });
    roster.catch(() => this.rosters.delete(conversationId));
    return roster;
  }

  /** Members or devices came or went. */
  forget(conversationId?: string): void {
    if (conversationId === undefined) this.rosters.clear();
    else this.rosters.delete(conversationId);
  }

  /** The device's keys as they are known; asked for where they are not. Null for one that is in no list any more. */
  async device(conversationId: string, deviceId: string): Promise<KnownDevice | null> {
    const found = this.known.get(deviceId);
    if (found !== undefined) return found;
    if (Date.now() - (this.absent.get(deviceId) ?? 0) < ABSENT_MS) return null;
    // One that is not known is newer than the list that is here.
    this.absent.set(deviceId, Date.now());
    this.forget(conversationId);
    await this.roster(conversationId).catch(() => this.absent.delete(deviceId));
    return this.known.get(deviceId) ?? null;
  }

  /** The device again, where a signature does not fit the keys that are known: it may have made new ones. */
  async deviceAnew(conversationId: string, known: KnownDevice): Promise<KnownDevice> {
    const doubt = `${known.deviceId} ${known.publicKey}`;
    if (Date.now() - (this.absent.get(doubt) ?? 0) < ABSENT_MS) return known;
    this.absent.set(doubt, Date.now());
    this.forget(conversationId);
    await this.roster(conversationId).catch(() => this.absent.delete(doubt));
    return this.known.get(known.deviceId) ?? known;
  }

  /** Take note of devices; `isWhole`: their users have no others. */
  meet(devices: readonly PeerDevice[], isWhole: boolean): void {
    const users = new Set([...this.known.values()].map((device) => device.userId));
    for (const device of devices) this.meetOne(device, users.has(device.userId));
    if (!isWhole) return;
    const listed = new Set(devices.map((device) => device.id));
    const present = new Set(devices.map((device) => device.userId));
    for (const device of this.known.values()) {
      if (device.revoked || listed.has(device.deviceId) || !present.has(device.userId)) continue;
      this.keep({ ...device, revoked: true });
      this.notice("revoked_device", device);
    }
  }

  async safetyNumber(userId: string): Promise<string | null> {
    const own = this.known.get(this.ownId);
    if (own === undefined || this.prints === null) return null;
    const of = (id: string): KnownDevice[] => [...this.known.values()].filter((device) => device.userId === id && !device.revoked && device.publicKey !== null);
    return this.prints.safetyNumberOf([own.userId, userId], of);
  }

  async setVerified(userId: string, verified: boolean): Promise<void> {
    for (const device of this.known.values()) {
      if (device.userId === userId && !device.revoked) this.keep({ ...device, verified, changed: verified ? false : device.changed });
    }
  }

  async accept(deviceId: string): Promise<void> {
    const device = this.known.get(deviceId);
    if (device !== undefined) this.keep({ ...device, changed: false });
    for (const notice of this.notices.values()) if (notice.deviceId === deviceId) await this.dismiss(notice.id);
  }

  async dismiss(noticeId: string): Promise<void> {
    if (!this.notices.delete(noticeId)) return;
    this.store.changed();
    await this.storage.delete(NOTICES, noticeId);
  }

  private meetOne({ id, userId, publicKey, encryptionKey }: PeerDevice, isKnownUser: boolean): void {
    const before = this.known.get(id);
    if (before !== undefined && before.publicKey === publicKey && before.encryptionKey === encryptionKey && !before.revoked) return;
    const hadKeys = before !== undefined && before.publicKey !== null;
    const device: KnownDevice = {
      deviceId: id,
      userId,
      publicKey,
      encryptionKey,
      ...(hadKeys && { formerKeys: [...(before.formerKeys ?? []), before.publicKey ?? ""].filter((key) => key !== publicKey).slice(-FORMER_KEYS) }),
      fingerprint: publicKey === null ? null : (this.prints?.fingerprintOf(userId, publicKey, encryptionKey) ?? null),
      firstSeenAt: before?.firstSeenAt ?? Date.now(),
      verified: false,
      changed: id !== this.ownId && hadKeys,
      revoked: false,
    };
    this.keep(device);
    if (id === this.ownId || publicKey === null) return;
    if (hadKeys) this.notice("changed_keys", device);
    else if (isKnownUser) this.notice("new_device", device);
  }

  private notice(kind: SecurityNotice["kind"], { userId, deviceId }: KnownDevice): void {
    const notice: SecurityNotice = { id: `${kind}.${deviceId}.${Date.now()}`, kind, userId, deviceId, at: Date.now() };
    this.notices.set(notice.id, notice);
    this.store.changed();
    void this.storage.put(NOTICES, notice.id, notice).catch(() => undefined);
  }

  private keep(device: KnownDevice): void {
    this.known.set(device.deviceId, device);
    this.store.changed();
    void this.storage.put(DEVICES, device.deviceId, device).catch(() => undefined);
  }
}
