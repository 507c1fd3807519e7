import { Avatar } from "@whispr/react";
import type { ReactNode } from "react";
import type { Person } from "../people";
import { useTexts } from "../texts/context";

export interface PeoplePickerProps {
  readonly label: string;
  readonly people: readonly Person[];
  readonly chosen: ReadonlySet<string>;
  readonly onChange: (chosen: ReadonlySet<string>) => void;
}

/** Some of the people, with boxes to tick. */
export function PeoplePicker({ label, people, chosen, onChange }: PeoplePickerProps): ReactNode {
  const texts = useTexts();
  const toggle = (userId: string): void => {
    const next = new Set(chosen);
    if (!next.delete(userId)) next.add(userId);
    onChange(next);
  };
  return (
    <fieldset className="picker">
      <legend>{label}</legend>
      {people.length === 0 && <p className="muted">{texts.nobody}</p>}
      <ul>
        {people.map((person) => (
          <li key={person.userId}>
            <label>
              <input type="checkbox" checked={chosen.has(person.userId)} onChange={() => toggle(person.userId)} />
              <Avatar id={person.userId} name={person.name} size="small" />
              <span dir="auto">{person.name}</span>
            </label>
          </li>
        ))}
      </ul>
    </fieldset>
  );
}
