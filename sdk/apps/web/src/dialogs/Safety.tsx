import { DeviceList, Icon, useCatalog, useClient, useNames, useSecurity } from "@whispr/react";
import { useEffect, useState, type ReactNode } from "react";
import { useTexts } from "../texts/context";
import { Section } from "../ui/Dialog";
import { useToasts } from "../ui/toast";

/** Whether one really talks to whom one believes: the number to compare, and the other one's devices. */
export function Safety({ peerId }: { readonly peerId: string }): ReactNode {
  const texts = useTexts();
  const catalog = useCatalog();
  const client = useClient();
  const nameOf = useNames();
  const toasts = useToasts();
  const security = useSecurity();
  const [number, setNumber] = useState<string | null>(null);
  useEffect(() => {
    let isGone = false;
    client.security.safetyNumber(peerId).then((found) => !isGone && setNumber(found), toasts.fail);
    return () => {
      isGone = true;
    };
  }, [client, peerId, security.devices, toasts]);
  const devices = security.devices.filter(({ userId, revoked }) => userId === peerId && !revoked);
  const isVerified = devices.length > 0 && devices.every(({ verified }) => verified);
  return (
    <Section title={texts.safetyNumber}>
      {number === null ? (
        <p className="muted">{texts.safetyNone}</p>
      ) : (
        <>
          <p className="muted">{texts.safetyHint(nameOf(peerId))}</p>
          <code className="safety-number" dir="ltr">
            {number.split(/\s+/u).map((group, at) => (
              <span key={at}>{group}</span>
            ))}
          </code>
          <div className="buttons">
            {isVerified && (
              <span className="good">
                <Icon name="shield" /> {texts.verified}
              </span>
            )}
            <button type="button" className={isVerified ? "wh-button" : "wh-button wh-primary"} onClick={() => void client.security.setVerified(peerId, !isVerified).catch(toasts.fail)}>
              {isVerified ? texts.unverify : texts.markVerified}
            </button>
          </div>
        </>
      )}
      {devices.length > 0 && (
        <details>
          <summary>{catalog.devices}</summary>
          <DeviceList
            devices={devices.map((device) => ({
              id: device.deviceId,
              name: "",
              platform: "",
              isThis: false,
              isRevoked: device.revoked,
              createdAt: device.firstSeenAt,
              lastActiveAt: null,
              fingerprint: device.fingerprint,
            }))}
          />
        </details>
      )}
    </Section>
  );
}
