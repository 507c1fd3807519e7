import { Avatar, DeviceList, useClient, useDevices, useNames, useSecurity, useSettings, useStore } from "@whispr/react";
import { useEffect, useId, type ReactNode } from "react";
import { askForNotifications, canNotify } from "../notifications";
import { choose, usePreferences, type Theme } from "../preferences";
import type { Session } from "../session";
import { LANGUAGES, languageFor } from "../texts/catalog";
import { useTexts } from "../texts/context";
import { Dialog, Section, Switch } from "../ui/Dialog";
import { useToasts } from "../ui/toast";
import { Mute } from "./Mute";

export interface SettingsDialogProps {
  readonly session: Session;
  readonly onClose: () => void;
  readonly onSignOut: (erase: boolean) => void;
}

export function SettingsDialog({ session, onClose, onSignOut }: SettingsDialogProps): ReactNode {
  const texts = useTexts();
  return (
    <Dialog title={texts.settings} onClose={onClose}>
      <div className="info-head">
        <Avatar id={session.userId} name={session.name} size="large" />
        <p className="info-title" dir="auto">
          {session.name}
        </p>
      </div>
      <Appearance />
      <Privacy />
      <Encryption />
      <Devices />
      <Section title={texts.account}>
        <div className="stack">
          <button type="button" className="wh-button" onClick={() => onSignOut(false)}>
            {texts.signOut}
          </button>
          <p className="muted">{texts.signOutHint}</p>
          <button type="button" className="wh-button wh-danger" onClick={() => onSignOut(true)}>
            {texts.erase}
          </button>
          <p className="muted">{texts.eraseHint}</p>
          <a className="muted" href="/static/web/THIRD_PARTY_LICENSES.txt" target="_blank" rel="noopener">
            {texts.licences}
          </a>
        </div>
      </Section>
    </Dialog>
  );
}

function Appearance(): ReactNode {
  const texts = useTexts();
  const { language, theme } = usePreferences();
  const id = useId();
  const current = language ?? languageFor(navigator.languages).code;
  return (
    <Section title={texts.appearance}>
      <div className="pair">
        <label className="stack-field" htmlFor={`${id}-language`}>
          {texts.language}
          <select id={`${id}-language`} value={current} onChange={(event) => choose({ language: languageFor([event.target.value]).code })}>
            {LANGUAGES.map(({ code, name }) => (
              <option key={code} value={code}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label className="stack-field" htmlFor={`${id}-theme`}>
          {texts.theme}
          <select id={`${id}-theme`} value={theme} onChange={(event) => choose({ theme: event.target.value as Theme })}>
            {(["system", "light", "dark"] as const).map((one) => (
              <option key={one} value={one}>
                {texts.themes[one]}
              </option>
            ))}
          </select>
        </label>
      </div>
    </Section>
  );
}

function Privacy(): ReactNode {
  const texts = useTexts();
  const client = useClient();
  const toasts = useToasts();
  const { notifications } = usePreferences();
  const { settings, loaded } = useSettings();
  useEffect(() => void client.settings.refresh().catch(toasts.fail), [client, toasts]);
  const change = (what: Partial<typeof settings>): void => void client.settings.update(what).catch(toasts.fail);
  const notify = async (isOn: boolean): Promise<void> => {
    if (isOn && !(await askForNotifications())) toasts.say(texts.notificationsDenied);
    else choose({ notifications: isOn });
  };
  return (
    <Section title={texts.privacy}>
      <Switch label={texts.readReceipts} hint={texts.readReceiptsHint} isOn={settings.readReceipts} isDisabled={!loaded} onChange={(readReceipts) => change({ readReceipts })} />
      <Switch label={texts.lastSeen} hint={texts.lastSeenHint} isOn={settings.shareLastSeen} isDisabled={!loaded} onChange={(shareLastSeen) => change({ shareLastSeen })} />
      <Switch label={texts.notifications} hint={texts.notificationsHint} isOn={notifications && canNotify()} onChange={(isOn) => void notify(isOn)} />
      <Mute />
      <Blocked />
    </Section>
  );
}

function Blocked(): ReactNode {
  const texts = useTexts();
  const client = useClient();
  const nameOf = useNames();
  const toasts = useToasts();
  const { userIds } = useStore(client.blocks);
  useEffect(() => void client.blocks.list().catch(() => undefined), [client]); // a user service may keep them itself
  const blocked = [...userIds];
  if (blocked.length === 0) return null;
  const unblock = (userId: string): void => void client.blocks.unblock(userId).catch(toasts.fail);
  return (
    <>
      <h4>{texts.blockedPeople}</h4>
      <ul className="rows">
        {blocked.map((userId) => (
          <li key={userId}>
            <span dir="auto">{nameOf(userId)}</span>
            <button type="button" className="wh-button wh-quiet" onClick={() => unblock(userId)}>
              {texts.unblock}
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

function Encryption(): ReactNode {
  const texts = useTexts();
  const { encrypted, warnings } = useSecurity();
  return (
    <Section title={texts.encryption}>
      <p className={encrypted ? "good" : "bad"}>{encrypted ? texts.encrypted : texts.notEncrypted}</p>
      {warnings.map((warning) => (
        <p key={warning} className="bad">
          {texts.warnings[warning] ?? warning}
        </p>
      ))}
    </Section>
  );
}

function Devices(): ReactNode {
  const texts = useTexts();
  const client = useClient();
  const toasts = useToasts();
  const { devices } = useDevices();
  const { devices: known, own } = useSecurity();
  useEffect(() => void client.devices.refresh().catch(toasts.fail), [client, toasts]);
  const print = (id: string): string | null => (own?.deviceId === id ? own.fingerprint : (known.find(({ deviceId }) => deviceId === id)?.fingerprint ?? null));
  return (
    <Section title={texts.devices}>
      <DeviceList
        devices={devices.map((device) => ({
          id: device.id,
          name: device.name,
          platform: device.platform,
          isThis: device.current,
          isRevoked: device.revokedAt !== null,
          createdAt: Date.parse(device.createdAt),
          lastActiveAt: Date.parse(device.lastSeenAt),
          fingerprint: print(device.id),
        }))}
        onRename={(device) => {
          const name = window.prompt(texts.renamePrompt, device.name)?.trim();
          if (name) void client.devices.rename(device.id, name).catch(toasts.fail);
        }}
        onRevoke={(device) => {
          if (window.confirm(texts.revokeSure)) void client.devices.revoke(device.id).catch(toasts.fail);
        }}
      />
    </Section>
  );
}
