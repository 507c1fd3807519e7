/** Settings, devices and blocks of the user. */
import { Value } from "../observable";
import type { Rest } from "../rest";
import { RequestError } from "../errors";
import type { BlockList, BlocksSnapshot, DevicesSnapshot, DevicesStore, SettingsSnapshot, SettingsStore } from "../types/personal";
import type { DeviceView, SettingsChange, UserSettings } from "../types/wire";

const DEFAULTS: UserSettings = { readReceipts: true, shareLastSeen: true };

export class Settings extends Value<SettingsSnapshot> implements SettingsStore {
  constructor(private readonly rest: Rest) {
    super({ settings: DEFAULTS, loaded: false });
  }

  async refresh(): Promise<void> {
    this.heard(await this.rest.request<UserSettings>("GET", "settings"));
  }

  async update(change: SettingsChange): Promise<void> {
    this.heard(await this.rest.request<UserSettings>("PATCH", "settings", change));
  }

  heard({ readReceipts = true, shareLastSeen = true, notifications }: Partial<UserSettings>): void {
    const settings = { readReceipts, shareLastSeen, ...(notifications == null ? {} : { notifications }) };
    this.set({ settings, loaded: true });
  }
}

export class Devices extends Value<DevicesSnapshot> implements DevicesStore {
  constructor(private readonly rest: Rest) {
    super({ devices: [], loaded: false });
  }

  async refresh(): Promise<void> {
    const { devices } = await this.rest.request<{ devices: readonly DeviceView[] }>("GET", "devices");
    this.set({ devices, loaded: true });
  }

  async rename(id: string, name: string): Promise<void> {
    await this.rest.request("PATCH", `devices/${id}`, { name });
    await this.refresh();
  }

  async revoke(id: string): Promise<void> {
    await this.rest.request("DELETE", `devices/${id}`);
    // One that revoked itself may not ask any more.
    if (!this.value.devices.some((device) => device.id === id && device.current)) await this.refresh();
  }
}

/** The people from whom the user wants nothing. */
export class Blocks extends Value<BlocksSnapshot> implements BlockList {
  private changes = 0;

  /** `changed`: others are shown now than before. `share`: the user's other tabs are to ask again. */
  constructor(
    private readonly rest: Rest,
    private readonly changed: () => void,
    private readonly share: () => void,
  ) {
    super({ userIds: new Set(), loaded: false });
  }

  /** Ask again: another device may have changed it, and no server tells. A user service of one's own keeps its blocks itself. */
  async renew(): Promise<void> {
    await this.list().catch((error: unknown) => {
      if (!(error instanceof RequestError && error.code === "not_found")) throw error;
    });
  }

  async list(): Promise<readonly string[]> {
    const users: string[] = [];
    const { changes } = this;
    let cursor: string | undefined;
    do {
      const path = `blocks?limit=200${cursor === undefined ? "" : `&cursor=${cursor}`}`;
      const page = await this.rest.request<{ blocks: { userId: string }[]; next?: string }>("GET", path);
      users.push(...page.blocks.map((block) => block.userId));
      cursor = page.next;
    } while (cursor != null);
    // What was done here meanwhile may not be in it.
    if (changes !== this.changes) return this.list();
    this.keep(users, true);
    return users;
  }

  async block(userId: string): Promise<void> {
    await this.rest.request("PUT", `blocks/${userId}`);
    this.done([...this.value.userIds, userId]);
  }

  async unblock(userId: string): Promise<void> {
    await this.rest.request("DELETE", `blocks/${userId}`);
    this.done([...this.value.userIds].filter((one) => one !== userId));
  }

  private done(users: readonly string[]): void {
    this.changes += 1;
    this.keep(users, this.value.loaded);
    this.share();
  }

  private keep(users: readonly string[], loaded: boolean): void {
    const { value } = this;
    const userIds = new Set(users);
    const isSame = userIds.size === value.userIds.size && users.every((id) => value.userIds.has(id));
    if (isSame && loaded === value.loaded) return;
    this.set({ userIds: isSame ? value.userIds : userIds, loaded });
    if (!isSame) this.changed();
  }
}
