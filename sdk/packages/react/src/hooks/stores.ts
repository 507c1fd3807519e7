/** The client's stores as hooks. Each renders again when its snapshot changed, and only then. */
import type {
  ConnectionState,
  ConversationSnapshot,
  ConversationStore,
  DevicesSnapshot,
  InboxSnapshot,
  OutboxItem,
  OutboxSnapshot,
  ScheduledSnapshot,
  SecuritySnapshot,
  SettingsSnapshot,
  Store,
} from "@whispr/client";
import { useEffect, useMemo, useSyncExternalStore } from "react";
import { useClient } from "../provider";

/** Any store of the client's. A server renders the snapshot as it is there. */
export function useStore<Snapshot>(store: Store<Snapshot>): Snapshot {
  const [subscribe, get] = useMemo(
    () => [(listener: () => void) => store.subscribe(listener), () => store.getSnapshot()] as const,
    [store],
  );
  return useSyncExternalStore(subscribe, get, get);
}

/** How one is connected, and what becomes of a message that is written now. */
export function useConnection(): ConnectionState {
  return useStore(useClient().connection);
}

/** The list of conversations. */
export function useInbox(): InboxSnapshot {
  return useStore(useClient().inbox);
}

/** What is on its way, over all conversations. */
export function useOutbox(): OutboxSnapshot {
  return useStore(useClient().outbox);
}

/** What the server sends later. */
export function useScheduled(): ScheduledSnapshot {
  return useStore(useClient().scheduled);
}

/** The user's settings. */
export function useSettings(): SettingsSnapshot {
  return useStore(useClient().settings);
}

/** The user's devices. */
export function useDevices(): DevicesSnapshot {
  return useStore(useClient().devices);
}

/** Whose keys are known, and what changed about them. */
export function useSecurity(): SecuritySnapshot {
  return useStore(useClient().security);
}

/** A conversation, open as long as a component that uses this is mounted. */
export function useConversation(id: string): readonly [ConversationStore, ConversationSnapshot] {
  const client = useClient();
  const store = useMemo(() => client.conversation(id), [client, id]);
  useEffect(() => store.open(), [store]);
  return [store, useStore(store)];
}

/** What waits or failed in one conversation, in the order of writing. */
export function useOutboxOf(conversationId: string): readonly OutboxItem[] {
  const { items } = useOutbox();
  return useMemo(() => items.filter((item) => item.conversationId === conversationId), [items, conversationId]);
}

/** How many messages wait to be sent, over all conversations. */
export function useWaitingCount(): number {
  const { items } = useOutbox();
  return useMemo(() => items.filter(({ kind, state }) => kind === "send" && state !== "failed").length, [items]);
}
