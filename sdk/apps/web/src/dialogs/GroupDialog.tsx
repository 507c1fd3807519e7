import { useClient } from "@whispr/react";
import { useId, useState, type FormEvent, type ReactNode } from "react";
import type { Person } from "../people";
import { openConversation } from "../route";
import { useTexts } from "../texts/context";
import { Dialog } from "../ui/Dialog";
import { PeoplePicker } from "../ui/PeoplePicker";
import { useToasts } from "../ui/toast";

/** Make a group: a name, and who takes part. */
export function GroupDialog({ people, onClose }: { readonly people: readonly Person[]; readonly onClose: () => void }): ReactNode {
  const texts = useTexts();
  const client = useClient();
  const toasts = useToasts();
  const [name, setName] = useState("");
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [isBusy, setBusy] = useState(false);
  const id = useId();
  const create = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    try {
      const settings = name.trim() === "" ? {} : { name: name.trim() };
      const made = await client.createConversation({ type: "group", members: [...chosen], settings });
      onClose();
      openConversation(made.id);
    } catch (error) {
      toasts.fail(error);
      setBusy(false);
    }
  };
  return (
    <Dialog title={texts.newGroup} onClose={onClose} kind="card">
      <form className="stack" onSubmit={(event) => void create(event)}>
        <label className="stack-field" htmlFor={id}>
          {texts.groupName}
          <input id={id} type="text" maxLength={80} dir="auto" autoComplete="off" value={name} aria-describedby={`${id}-hint`} onChange={(event) => setName(event.target.value)} />
          <small id={`${id}-hint`}>{texts.groupNameHint}</small>
        </label>
        <PeoplePicker label={texts.chooseMembers} people={people} chosen={chosen} onChange={setChosen} />
        <button type="submit" className="wh-button wh-primary" disabled={chosen.size === 0 || isBusy}>
          {texts.create}
        </button>
      </form>
    </Dialog>
  );
}
