import type { ReactNode } from "react";
import { useCatalog } from "../i18n/context";
import type { DeviceRow } from "../model";
import { Icon } from "./icons";

/** What `DeviceList` shows, and whom it tells. */
export interface DeviceListProps {
  readonly devices: readonly DeviceRow[];
  /** Without it there is no button. */
  readonly onRevoke?: (device: DeviceRow) => void;
  /** Without it there is no button. */
  readonly onRename?: (device: DeviceRow) => void;
}

/** A user's devices with their fingerprints; what can be done is offered where a function is given for it. */
export function DeviceList({ devices, onRevoke, onRename }: DeviceListProps): ReactNode {
  const catalog = useCatalog();
  return (
    <ul className="wh-devices" aria-label={catalog.devices}>
      {devices.map((device) => (
        <li key={device.id} data-revoked={device.isRevoked || undefined}>
          <Icon name="device" />
          <div className="wh-device-text">
            <strong dir="auto">{device.name || device.platform || device.id.slice(0, 8)}</strong>
            {device.isThis && <span className="wh-tag">{catalog.thisDevice}</span>}
            {device.isRevoked && <span className="wh-tag">{catalog.revoked}</span>}
            <small>
              {device.lastActiveAt !== null
                ? catalog.lastActive(catalog.dateTime(device.lastActiveAt))
                : device.createdAt !== null && catalog.deviceSince(catalog.dateTime(device.createdAt))}
            </small>
            {device.fingerprint !== null && (
              <code className="wh-fingerprint" aria-label={catalog.fingerprint} dir="ltr">
                {device.fingerprint}
              </code>
            )}
          </div>
          {!device.isRevoked && (
            <div className="wh-device-actions">
              {onRename && (
                <button type="button" className="wh-button wh-quiet" onClick={() => onRename(device)}>
                  {catalog.rename}
                </button>
              )}
              {onRevoke && !device.isThis && (
                <button type="button" className="wh-button wh-quiet wh-danger" onClick={() => onRevoke(device)}>
                  {catalog.revoke}
                </button>
              )}
            </div>
          )}
        </li>
      ))}
    </ul>
  );
}
