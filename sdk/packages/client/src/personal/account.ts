/** Settings, devices and blocks of the user. */
import { Value } from "../observable";
import type { Rest } from "../rest";
import type { BlockList, BlocksSnapshot, DevicesSnapshot, DevicesStore, SettingsSnapshot, SettingsStore } from "../types/personal";
import type { DeviceView, UserSettings } from "../types/wire";

const DEFAULTS: UserSettings = { readReceipts: true, shareLastSeen: true };

export class Settings extends Value<SettingsSnapshot> implements SettingsStore {
  constructor(private readonly rest: Rest) {
    super({ settings: DEFAULTS, loaded: false });
  }

  async refresh(): Promise<void> {
    this.heard(await this.rest.request<UserSettings>("GET", "settings"));
  }

  async update(change: Partial<UserSettings>): Promise<void> {
    this.heard(await this.rest.request<UserSettings>("PATCH", "settings", change));
  }

  heard(settings: Partial<UserSettings>): void {
    const { readReceipts = true, shareLastSeen = true } = settings;
    this.set({ settings: { readReceipts, shareLastSeen }, loaded: true });
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
  constructor(private readonly rest: Rest) {
    super({ userIds: new Set(), loaded: false });
  }

  async list(): Promise<readonly string[]> {
    const users: string[] = [];
    let cursor: string | undefined;
    do {
      const path = `blocks?limit=200${cursor === undefined ? "" : `&cursor=${cursor}`}`;
      const page = await this.rest.request<{ blocks: { userId: string }[]; next?: string }>("GET", path);
      users.push(...page.blocks.map((block) => block.userId));
      cursor = page.next;
    } while (cursor != null);
    this.set({ userIds: new Set(users), loaded: true });
    return users;
  }

  async block(userId: string): Promise<void> {
    await this.rest.request("PUT", `blocks/${userId}`);
    this.set({ ...this.value, userIds: new Set([...this.value.userIds, userId]) });
  }

  async unblock(userId: string): Promise<void> {
    await this.rest.request("DELETE", `blocks/${userId}`);
    this.set({ ...this.value, userIds: new Set([...this.value.userIds].filter((one) => one !== userId)) });
  }
}
