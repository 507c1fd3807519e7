/** The texts of this application, beside those of the components. */
import type { Catalog } from "@whispr/react";
import { en as enParts, fr as frParts } from "@whispr/react";
import { en } from "./en";
import { fr } from "./fr";

export interface Texts {
  readonly tagline: string;
  readonly yourName: string;
  readonly namePlaceholder: string;
  readonly signIn: string;
  readonly continueAs: (name: string) => string;
  readonly or: string;
  readonly tryDemo: string;
  readonly demoHint: string;
  readonly signInOff: string;
  readonly unreachable: string;
  readonly signInFailed: string;
  readonly promise: readonly string[];

  readonly search: string;
  readonly noMatch: string;
  readonly people: string;
  readonly nobody: string;
  readonly nobodyHint: string;
  readonly newGroup: string;
  readonly groupName: string;
  readonly groupNameHint: string;
  readonly chooseMembers: string;
  readonly create: string;
  readonly settings: string;
  readonly menu: string;
  readonly signedInAs: string;
  readonly pick: string;
  readonly pickHint: string;
  readonly back: string;
  readonly close: string;
  readonly info: string;
  readonly conversation: string;
  readonly loading: string;
  readonly loadMore: string;
  readonly failed: string;

  readonly members: (count: number) => string;
  readonly membersTitle: string;
  readonly addMembers: string;
  readonly add: string;
  readonly remove: string;
  readonly writeTo: string;
  readonly makeAdmin: string;
  readonly makeMember: string;
  readonly roles: Readonly<Record<"owner" | "admin" | "member", string>>;
  readonly leave: string;
  readonly leaveSure: string;
  readonly left: string;
  readonly deleteGroup: string;
  readonly deleteGroupSure: string;
  readonly mute: string;
  readonly muteHint: string;
  readonly muteAll: string;
  readonly muteAllHint: string;
  readonly mutes: Readonly<Record<"on" | "hour" | "day" | "off", string>>;
  readonly mutedUntil: (when: string) => string;
  readonly block: string;
  readonly unblock: string;
  readonly blocked: string;
  readonly blockedOne: string;
  readonly blockedPeople: string;
  readonly nobodyBlocked: string;
  readonly conversationSettings: string;
  readonly sharedHistory: string;
  readonly sharedHistoryHint: string;
  readonly defaultTtl: string;
  readonly off: string;
  readonly scheduled: string;
  readonly nothingScheduled: string;
  readonly scheduledFor: (when: string) => string;
  readonly scheduledStates: Readonly<Record<"scheduled" | "sent" | "failed" | "needs_reencrypt" | "cancelled", string>>;
  readonly cancelScheduled: string;
  readonly changeScheduled: string;
  readonly scheduledText: string;
  readonly scheduledTime: string;
  readonly scheduledCount: (count: number) => string;

  readonly integrity: Readonly<Record<"unknown" | "proven" | "broken" | "off", string>>;
  readonly integrityHint: Readonly<Record<"unknown" | "proven" | "broken" | "off", string>>;
  readonly checkNow: string;
  readonly encryption: string;
  readonly encrypted: string;
  readonly notEncrypted: string;
  readonly safetyNumber: string;
  readonly safetyHint: (name: string) => string;
  readonly safetyNone: string;
  readonly markVerified: string;
  readonly verified: string;
  readonly unverify: string;
  readonly keysChanged: (name: string) => string;
  readonly newDevice: (name: string) => string;
  readonly compare: string;
  readonly dismiss: string;
  readonly warnings: Readonly<Record<string, string>>;

  readonly details: string;
  readonly sentAt: string;
  readonly delivery: string;
  readonly reactions: string;
  readonly trace: string;
  readonly traceSteps: Readonly<Record<string, string>>;
  readonly traceHint: string;
  readonly erasure: (erased: number, reached: number) => string;
  readonly notYours: string;
  readonly number: string;
  readonly signature: string;

  readonly appearance: string;
  readonly language: string;
  readonly theme: string;
  readonly themes: Readonly<Record<"system" | "light" | "dark", string>>;
  readonly privacy: string;
  readonly readReceipts: string;
  readonly readReceiptsHint: string;
  readonly lastSeen: string;
  readonly lastSeenHint: string;
  readonly notifications: string;
  readonly notificationsHint: string;
  readonly notificationsDenied: string;
  readonly newMessageFrom: (name: string) => string;
  readonly devices: string;
  readonly renamePrompt: string;
  readonly revokeSure: string;
  readonly account: string;
  readonly signOut: string;
  readonly signOutHint: string;
  readonly erase: string;
  readonly eraseHint: string;
  readonly save: string;
  readonly cancel: string;
  readonly scheduledToast: (when: string) => string;
  readonly licences: string;
  readonly broken: string;
  readonly brokenHint: string;
  readonly reload: string;
}

export interface Language {
  readonly code: "en" | "fr";
  readonly name: string;
  readonly texts: Texts;
  readonly catalog: Catalog;
}

export const LANGUAGES: readonly Language[] = [
  { code: "en", name: "English", texts: en, catalog: enParts },
  { code: "fr", name: "Français", texts: fr, catalog: frParts },
];

/** The first of these languages that there is; English where there is none. */
export function languageFor(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const found = LANGUAGES.find(({ code }) => tag.toLowerCase().startsWith(code));
    if (found !== undefined) return found;
  }
  return LANGUAGES[0] as Language;
}
