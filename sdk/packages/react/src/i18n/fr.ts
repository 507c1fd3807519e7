import type { Catalog } from "./catalog";
import { duration, formats } from "./format";

const format = formats("fr");
/** In French, 0 and 1 are singular. */
const s = (count: number, one: string, many: string): string => `${count.toLocaleString("fr")} ${count < 2 ? one : many}`;

/** French. */
export const fr: Catalog = {
  locale: "fr",
  dir: "ltr",
  states: {
    waiting: "En file",
    sending: "Envoi en cours",
    pending: "En attente",
    sent: "Envoyé",
    delivered: "Distribué",
    read: "Lu",
    failed: "Non envoyé",
    expired: "Expiré",
  },
  stateHints: {
    waiting: "Gardé sur cet appareil jusqu’à l’envoi.",
    sending: "En route vers le serveur. Le message est gardé sur cet appareil jusqu’à ce que le serveur l’ait.",
    pending: "Le serveur l’a accepté et l’enregistre dès que sa base de données est revenue.",
    sent: "Le serveur l’a enregistré pour de bon.",
    delivered: "Il est sur l’appareil de l’autre personne.",
    read: "Il a été lu.",
    failed: "Il n’a pas été envoyé. Vous pouvez réessayer, le modifier ou l’abandonner.",
    expired: "Son temps est écoulé.",
  },
  connection: {
    idle: "Non connecté",
    connecting: "Connexion …",
    online: "Connecté",
    offline: "Pas de connexion",
    replaced: "Ouvert ailleurs",
    ended: "Déconnecté",
  },
  offline: {
    device_offline: "Cet appareil est hors ligne.",
    server_restart: "Le serveur redémarre.",
    too_many_sockets: "Trop de fenêtres sont ouvertes pour ce compte.",
    revoked: "Cet appareil a été retiré du compte.",
    replaced: "Cet appareil est utilisé dans une autre fenêtre.",
    token_expired: "La session a expiré.",
    unauthenticated: "La session n’est plus valable.",
  },
  guarantee: {
    live: "Ce que vous écrivez est enregistré dès la mention « Envoyé ».",
    syncing: "Rattrapage en cours. Vous pouvez déjà écrire.",
    degraded: "Ce que vous écrivez est gardé, ici ou par le serveur, et enregistré dès que sa base de données est revenue.",
    queued: "Ce que vous écrivez est gardé sur cet appareil et partira une seule fois, au retour de la connexion.",
    volatile: "Ce que vous écrivez n’est gardé que tant que cette page est ouverte : ce navigateur n’enregistre rien.",
    closed: "Rien n’est envoyé avant une nouvelle connexion.",
  },
  lost: (what) => `Absent pour l’instant : ${format.list(what)}.`,
  services: {
    sends: "l’enregistrement des messages",
    changes: "les modifications et les réactions",
    history: "les messages précédents",
    receipts: "les accusés de réception et de lecture",
    presence: "qui est en ligne",
    typing: "qui écrit",
    permissions: "les changements de qui peut écrire",
    media: "les pièces jointes",
    push: "les notifications sur téléphone",
  },
  reconnects: (seconds) => `Nouvel essai dans ${seconds} s.`,
  connectNow: "Se connecter maintenant",
  useHere: "Utiliser ici",
  waiting: (count) => (count < 2 ? `${count} message attend d’être envoyé.` : `${count.toLocaleString("fr")} messages attendent d’être envoyés.`),

  messages: "Messages",
  emptyThread: "Pas encore de message. Dites bonjour !",
  loadingHistory: "Chargement des messages précédents …",
  beginning: "Le début de cette conversation",
  unreadMarker: "Nouveaux messages",
  today: "Aujourd’hui",
  yesterday: "Hier",
  jumpToUnread: (count) => s(count, "nouveau message", "nouveaux messages"),
  jumpToLatest: "Vers le dernier message",
  announce: (sender, text) => `${sender} : ${text}`,

  you: "Vous",
  edited: "modifié",
  deleted: "Ce message a été supprimé",
  deletedByYou: "Vous avez supprimé ce message",
  expired: "Ce message a expiré",
  unreadable: "Ce message ne peut pas être déchiffré sur cet appareil",
  unreadableRun: (count) => `${count.toLocaleString("fr")} messages d’avant cet appareil ne peuvent pas être lus ici`,
  unreadableHint: "Il a été chiffré avant que son auteur connaisse cet appareil.",
  unencrypted: "Non chiffré de bout en bout",
  unverified: "La signature de l’auteur n’a pas pu être vérifiée",
  forged: "Ce message ne vient pas de son auteur affiché ; il n’est pas montré",
  changedKey: "Envoyé d’un appareil dont le code de sécurité a changé",
  verifiedSender: "Chiffré de bout en bout, signature vérifiée",
  opening: "Déchiffrement …",
  media: "Pièce jointe",
  mediaUnavailable: "Cette pièce jointe ne peut pas être ouverte",
  download: (name) => `Télécharger ${name}`,
  loading: "Chargement …",
  vanishesIn: (left) => `Disparaît dans ${left}`,
  vanishesAfterReading: (left) => `Disparaît ${left} après la lecture`,
  inReplyTo: "En réponse à",
  replyGone: "Un message qui n’est plus là",
  reactionLabel: (emoji, count, mine) => `${emoji} ${s(count, "réaction", "réactions")}${mine ? ", dont la vôtre" : ""}`,

  reply: "Répondre",
  edit: "Modifier",
  copy: "Copier le texte",
  react: "Réagir",
  moreReactions: "Plus de réactions",
  deleteForMe: "Supprimer pour moi",
  deleteForEveryone: "Supprimer pour tous",
  details: "Détails",
  actions: "Actions du message",

  compose: "Message",
  composeTo: (name) => `Écrire à ${name}`,
  send: "Envoyer",
  save: "Enregistrer",
  cancel: "Annuler",
  attach: "Joindre un fichier",
  removeAttachment: "Retirer la pièce jointe",
  schedule: "Envoyer plus tard",
  scheduleFor: "Envoyer le",
  otherDraft: "Écrit sur un autre appareil :",
  takeDraft: "L’utiliser",
  keepDraft: "Garder le mien",
  ttl: "Messages éphémères",
  ttlOff: "Désactivé",
  ttlRead: "Compté dès la lecture",
  replyingTo: "Réponse à",
  editing: "Modification de votre message",
  draft: "Brouillon",
  tooLong: (over) => `${s(over, "caractère", "caractères")} de trop`,

  failedTitle: "Non envoyé",
  waitingTitle: (count) => s(count, "message en attente", "messages en attente"),
  nextTry: (seconds) => `Nouvel essai dans ${seconds} s`,
  tryingNow: "Essai en cours …",
  resumesOnline: "L’envoi reprend de lui-même au retour de la connexion.",
  attempts: (count) => s(count, "essai jusqu’ici", "essais jusqu’ici"),
  retry: "Réessayer",
  discard: "Abandonner",
  reasons: {
    max_retries_exceeded: "Le serveur n’a pas pu le prendre après cinq essais.",
    unanswered: "Aucune réponse. Réessayer est sans risque : rien n’est envoyé deux fois.",
    offline: "Il n’y a pas de connexion.",
    timeout: "Le serveur n’a pas répondu à temps. Réessayer est sans risque : rien n’est envoyé deux fois.",
    temporary_unavailable: "Le serveur se rétablit.",
    overloaded: "Le serveur est très occupé.",
    rate_limited: "Cela faisait beaucoup de messages en peu de temps.",
    forbidden: "Vous ne pouvez pas écrire dans cette conversation.",
    quarantined: "Votre compte est restreint pour l’instant.",
    not_found: "Cette conversation n’existe plus.",
    too_large: "Il est trop long.",
    invalid_signature: "Le serveur a refusé la signature de cet appareil.",
    invalid_media: "Le serveur ne connaît plus la pièce jointe.",
    invalid_target: "Le message auquel il se rapporte n’est plus là.",
    edit_conflict: "Il ne peut plus être modifié.",
    stale_membership: "Les membres ont changé entre-temps.",
    client_random_reused: "Le serveur connaît un autre message sous ce numéro.",
    bad_request: "Le serveur ne l’a pas accepté.",
    unauthenticated: "Vous êtes déconnecté.",
  },
  reasonOther: "Il n’a pas pu être envoyé.",

  conversations: "Conversations",
  noConversations: "Pas encore de conversation",
  unread: (count) => s(count, "message non lu", "messages non lus"),
  typing: (names) => (names.length > 2 ? "Plusieurs personnes écrivent …" : `${format.list(names)} ${names.length === 1 ? "écrit" : "écrivent"} …`),
  onlyYou: "Vous seul",
  muted: "Sans notifications",
  group: "Groupe",
  online: "en ligne",
  lastSeen: (when) => `vu ${when}`,

  devices: "Appareils",
  thisDevice: "Cet appareil",
  revoke: "Retirer",
  rename: "Renommer",
  revoked: "Retiré",
  deviceSince: (when) => `Ajouté le ${when}`,
  lastActive: (when) => `Actif le ${when}`,
  fingerprint: "Empreinte",

  system: ({ event, by, byYou, names }) => {
    const who = by ?? "Quelqu’un";
    const whom = format.list(names);
    const has = byYou ? "avez" : "a";
    switch (event) {
      case "conversation_created":
        return `${who} ${has} commencé la conversation`;
      case "conversation_updated":
        return `${who} ${has} changé les réglages`;
      case "member_added":
        return by === null ? `Arrivée : ${whom}` : `${who} ${has} ajouté ${whom}`;
      case "member_removed":
        return by === null || (names.length === 1 && names[0] === by) ? `Départ : ${whom}` : `${who} ${has} retiré ${whom}`;
      case "security_changed":
        return `Le code de sécurité de ${whom} a changé`;
      default:
        return event.replaceAll("_", " ");
    }
  },
  duration: (seconds) => duration("fr", seconds),
  time: format.time,
  day: format.day,
  dateTime: format.dateTime,
  activity: format.activity,
};
