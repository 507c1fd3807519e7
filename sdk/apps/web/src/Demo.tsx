/** Two people side by side, each in a frame with a device, keys and an outbox of their own. */
import type { ReactNode } from "react";

const PAIR = [
  { name: "Ann", with: "Bob" },
  { name: "Bob", with: "Ann" },
] as const;

export function Demo(): ReactNode {
  return (
    <div className="demo">
      {PAIR.map((person) => (
        <iframe key={person.name} title={person.name} src={`/?${new URLSearchParams({ as: person.name, with: person.with }).toString()}`} allow="clipboard-write" />
      ))}
    </div>
  );
}
