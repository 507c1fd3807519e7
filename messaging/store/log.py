"""The log of a conversation: the one place where entries are written (docs/architecture.md "The way of a message").

`entries_append` takes a batch from many senders and conversations and makes it durable in one transaction. seq comes
from `conversations.last_seq` under the row's lock, so that neither a duplicate, a rollback nor a failed item leaves a
gap.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from messaging.events import Entry, EntryType, MediaMetadata, SendOutcome, WithheldEntry
from messaging.store.locked import LockedConversation
from messaging.store.staleness import add_changes
from messaging.store.targets import MESSAGES, Targets
from whispr.kernel import database
from whispr.kernel.batch import BUSY, Busy
from whispr.kernel.errors import (
    ClientRandomReused,
    InvalidMedia,
    InvalidTarget,
    NotFound,
    StaleMembership,
    WhisprError,
)
from whispr.kernel.limits import LIMITS


class NewEntry(msgspec.Struct, frozen=True):
    """An entry that passed its gate and waits to be appended. `metadata` is compact JSON."""

    message_id: UUID
    conversation_id: UUID
    sender_id: UUID
    sender_device_id: UUID
    type: EntryType
    content: bytes
    metadata: bytes
    client_random: int
    fingerprint: bytes
    reply_to: UUID | None = None
    target: UUID | None = None
    media_id: str | None = None
    media: MediaMetadata | None = None  # what the media service said of media_id; None where it refused
    signature: bytes | None = None
    ttl: int | None = None  # seconds from sent_at, or, with `from_reading`, from the first recipient's reading
    from_reading: bool = False
    base_id: UUID | None = None  # of an edit: what it was made from, the message's id or that of its latest edit
    emoji: str | None = None  # of a reaction
    remove: bool = False
    members_version: int | None = None
    draft_before: datetime | None = None  # the sender's draft, if this device wrote it before then, became this message
    origin: object | None = None  # the socket that sends, which learns seq from its reply


class Appended(msgspec.Struct, frozen=True):
    """What became of a NewEntry: the answer, and the entry where it is a new one."""

    outcome: SendOutcome
    entry: Entry | None
    origin: object | None
    draft_revision: int | None = None  # of the sender's draft, which became this message and is gone


_LOCK = """
SELECT id, type, last_seq, last_sent_at, members_version, member_count,
       split_part(direct_key, ':', 1)::uuid, split_part(direct_key, ':', 2)::uuid,
       CASE jsonb_typeof(settings -> 'ttl') WHEN 'number'
       THEN least((settings ->> 'ttl')::numeric, 4 * 7 * 86400)::bigint END,
       head_hash
FROM conversations WHERE id = ANY(%b::uuid[]) AND deleted_at IS NULL ORDER BY id FOR NO KEY UPDATE"""

# In a snapshot taken after the lock: who is a member, does the other one of a direct conversation block the sender,
# what was sent before under this key, is the target live and visible. The blocks are asked by a scalar subquery:
# PostgreSQL may turn an EXISTS into a hash of the whole table, and did, for 10 ms a batch with 20,000 blocks. For the
# same
# reason each table is looked into by a LATERAL with a LIMIT, here and below: an index probe a row, whatever the planner
# thinks of a table's size.
_FACTS = """
SELECT clock_timestamp(), m.id IS NOT NULL,
       (SELECT 1 FROM blocks x WHERE x.blocked_id = i.sender_id AND x.user_id =
           CASE split_part(c.direct_key, ':', 1)::uuid WHEN i.sender_id THEN split_part(c.direct_key, ':', 2)::uuid
           ELSE split_part(c.direct_key, ':', 1)::uuid END) IS NOT NULL,
       k.message_id, k.conversation_id, k.seq, k.sent_at, k.expires_at, k.fingerprint,
       i.reply_to IS NULL OR EXISTS (
           SELECT 1 FROM messages t WHERE t.id = i.reply_to AND t.conversation_id = i.conversation_id
           AND NOT t.is_deleted AND t.message_type IN ('text', 'media', 'ephemeral')
           AND (t.sender_id = i.sender_id OR NOT t.withheld)
           AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())
           AND (t.seq >= m.joined_seq OR EXISTS (
               SELECT 1 FROM member_spans s WHERE s.conversation_id = t.conversation_id
               AND s.user_id = i.sender_id AND t.seq BETWEEN s.from_seq AND s.to_seq)))
FROM ROWS FROM (json_to_recordset(%b::json)
     AS (conversation_id uuid, sender_id uuid, client_random bigint, reply_to uuid)) WITH ORDINALITY
     AS i(conversation_id, sender_id, client_random, reply_to, ord)
LEFT JOIN LATERAL (SELECT * FROM conversations c WHERE c.id = i.conversation_id LIMIT 1) c ON true
LEFT JOIN LATERAL (SELECT * FROM members m WHERE m.conversation_id = i.conversation_id AND m.user_id = i.sender_id
                   AND m.left_seq IS NULL LIMIT 1) m ON true
LEFT JOIN LATERAL (SELECT * FROM send_keys k WHERE k.sender_id = i.sender_id AND k.client_random = i.client_random
                   LIMIT 1) k ON true
ORDER BY i.ord"""

_WRITE = """
WITH fresh AS (
    SELECT id, conversation_id, seq, sender_id, sender_device_id, message_type, decode(content, 'base64') AS content,
           metadata, client_random, reply_to_id, target_id, media_id, decode(signature, 'base64') AS signature, sent_at,
           expires_at, decode(fingerprint, 'base64') AS fingerprint, with_statuses, draft_before, ttl_after_read,
           decode(chain_hash, 'base64') AS chain_hash
    FROM json_to_recordset(%b::json) AS f(id uuid, conversation_id uuid, seq bigint, sender_id uuid,
        sender_device_id uuid, message_type text, content text, metadata jsonb, client_random bigint, reply_to_id uuid,
        target_id uuid, media_id text, signature text, sent_at timestamptz, expires_at timestamptz, fingerprint text,
        with_statuses boolean, draft_before timestamptz, ttl_after_read integer, chain_hash text)
), entries AS (
    INSERT INTO messages (id, conversation_id, seq, sender_id, sender_device_id, message_type, content, metadata,
        client_random, reply_to_id, target_id, media_id, signature, sent_at, expires_at, ttl_after_read, chain_hash,
        is_deleted, delete_for_everyone)
    SELECT id, conversation_id, seq, sender_id, sender_device_id, message_type, content, metadata,
        client_random, reply_to_id, target_id, media_id, signature, sent_at, expires_at, ttl_after_read, chain_hash,
        false, false FROM fresh
), keys AS (
    INSERT INTO send_keys (message_id, sender_id, client_random, fingerprint, conversation_id, seq, sent_at, expires_at)
    SELECT id, sender_id, client_random, fingerprint, conversation_id, seq, sent_at, expires_at FROM fresh
), statuses AS (
    INSERT INTO delivery_statuses (message_id, user_id)
    SELECT f.id, m.user_id FROM fresh f
    CROSS JOIN LATERAL (SELECT m.user_id FROM members m WHERE m.conversation_id = f.conversation_id
                        AND m.left_seq IS NULL AND m.user_id <> f.sender_id OFFSET 0) m
    WHERE f.with_statuses
), cleared AS (
    DELETE FROM drafts d USING fresh f WHERE d.user_id = f.sender_id AND d.conversation_id = f.conversation_id
    AND d.changed_by = f.sender_device_id AND d.changed_at <= f.draft_before
    RETURNING f.id, d.revision
), heads AS (
    UPDATE conversations c SET (last_seq, last_sent_at, head_hash) = (
        SELECT f.seq, f.sent_at, f.chain_hash FROM fresh f WHERE f.conversation_id = c.id ORDER BY f.seq DESC LIMIT 1)
    WHERE c.id = ANY(%b::uuid[])
)
SELECT id, revision FROM cleared"""


# The key of a reaction that changed nothing: no entry, so seq 0, and an id that no entry has. A resend is answered the
# same, whatever became of the reaction since (docs/protocol.md §8.2).
_UNCHANGED = """
INSERT INTO send_keys (message_id, sender_id, client_random, fingerprint, conversation_id, seq, sent_at)
SELECT f.*, 0, clock_timestamp()
FROM unnest(%b::uuid[], %b::uuid[], %b::bigint[], %b::bytea[], %b::uuid[]) AS f"""

_WITHHOLD = "UPDATE messages SET withheld = true WHERE id = ANY(%b::uuid[])"

# The outbox row by which the media service learns of the message (specification §9.2).
_LINK_MEDIA = """
INSERT INTO media_links (media_id, message_id, conversation_id, attempts, next_try_at)
SELECT *, 0, clock_timestamp() FROM unnest(%b::text[], %b::uuid[], %b::uuid[])"""


def entries_append(items: Sequence[NewEntry], patient: bool = True) -> list[Appended | Exception | Busy]:
    """Append a batch, in order, in one transaction; each item gets its own outcome (docs/protocol.md §8.1-4.3).

    Outcomes: Appended (new or duplicate), NotFound (no such conversation for this sender), ClientRandomReused,
    StaleMembership, InvalidTarget, InvalidMedia, or BUSY where another transaction holds the conversation and `patient`
    is false. Raises what PostgreSQL raises; then nothing of the batch was written, unless the connection broke during
    the commit.
    """
    ids = sorted({item.conversation_id for item in items})
    asked = [_Asked(item.conversation_id, item.sender_id, item.client_random, item.reply_to) for item in items]
    with database.pipelined() as raw:
        cursor, facts, write = psycopg.Cursor(raw), psycopg.Cursor(raw), psycopg.Cursor(raw)
        cursor.execute(_LOCK if patient else _LOCK + " SKIP LOCKED", (ids,), prepare=True, binary=True)
        facts.execute(_FACTS, (msgspec.json.encode(asked).decode(),), prepare=True, binary=True)
        locked = {row[0]: LockedConversation(*row) for row in cursor.fetchall()}
        about = facts.fetchall()
        skipped = set() if patient or len(locked) == len(ids) else _existing(cursor, ids) - locked.keys()
        targets = Targets(cursor, items)
        batch = _Batch(locked, skipped, targets)
        outcomes = [batch.place(item, row) for item, row in zip(items, about, strict=True)]
        add_changes(cursor, items, outcomes)
        # What few messages need has statements of its own, so that a plain text does not pay for it.
        if batch.fresh:
            write.execute(_WRITE, (batch.rows(), batch.touched()), prepare=True, binary=True)
        targets.write(cursor)
        if batch.unchanged:
            cursor.execute(_UNCHANGED, tuple(map(list, zip(*batch.unchanged, strict=True))))
        if batch.withheld:
            cursor.execute(_WITHHOLD, (batch.withheld,))
        if batch.media:
            cursor.execute(_LINK_MEDIA, tuple(map(list, zip(*batch.media, strict=True))))
    cleared = dict(write.fetchall()) if batch.fresh else {}
    return [_with_draft(outcome, cleared) for outcome in outcomes] if cleared else outcomes


def _existing(cursor: psycopg.Cursor[Any], ids: list[UUID]) -> set[UUID]:
    cursor.execute("SELECT id FROM conversations WHERE id = ANY(%b::uuid[])", (ids,), binary=True)
    return {row[0] for row in cursor.fetchall()}


def _with_draft(outcome: Appended | Exception | Busy, cleared: dict[UUID, int]) -> Appended | Exception | Busy:
    if isinstance(outcome, Appended) and outcome.entry is not None and outcome.entry.message_id in cleared:
        return msgspec.structs.replace(outcome, draft_revision=cleared[outcome.entry.message_id])
    return outcome


class _Asked(msgspec.Struct):
    """A row of _FACTS' question."""

    conversation_id: UUID
    sender_id: UUID
    client_random: int
    reply_to: UUID | None


class _Row(msgspec.Struct):
    """A row of _WRITE. msgspec writes bytes in base64, and omits nothing."""

    id: UUID
    conversation_id: UUID
    seq: int
    sender_id: UUID
    sender_device_id: UUID | None
    message_type: str
    content: bytes
    metadata: msgspec.Raw
    client_random: int | None
    reply_to_id: UUID | None
    target_id: UUID | None
    media_id: str | None
    signature: bytes | None
    sent_at: datetime
    expires_at: datetime | None
    fingerprint: bytes
    with_statuses: bool
    draft_before: datetime | None
    ttl_after_read: int | None
    chain_hash: bytes | None


class _Batch:
    """The decisions of one batch: which items are new, and their places in their logs."""

    def __init__(self, locked: dict[UUID, LockedConversation], skipped: set[UUID], targets: Targets) -> None:
        self.locked = locked
        self.targets = targets
        self.unchanged: list[tuple[UUID, UUID, int, bytes, UUID]] = []  # the keys of reactions that change nothing
        self.skipped = skipped
        self.fresh: list[tuple[NewEntry, Entry]] = []
        self.links: list[bytes | None] = []  # the hashes of `fresh`
        self.seen: dict[tuple[UUID, int], tuple[bytes, SendOutcome]] = {}
        self.withheld: list[UUID] = []  # of `fresh`, what a block keeps from the other one
        self.media: list[tuple[str, UUID, UUID]] = []  # of `fresh`: (media, message, conversation)

    def place(self, item: NewEntry, facts: tuple[Any, ...]) -> Appended | Exception | Busy:
        """Decide one item; `facts` is its row of _FACTS."""
        now, is_member, withheld, *before, target_ok = facts
        conversation = self.locked.get(item.conversation_id)
        if conversation is None and item.conversation_id in self.skipped:
            return BUSY
        key = (item.sender_id, item.client_random)
        earlier = self.seen.get(key)
        if earlier is None and before[0] is not None:
            args = (before[0], before[1], before[2], before[3], before[4])
            earlier = (bytes(before[5]), SendOutcome("duplicate", *args) if before[2] else _unchanged(item))
        if earlier is not None:
            if earlier[0] != item.fingerprint:
                return ClientRandomReused()
            outcome = earlier[1]
            if item.media is not None:
                outcome = msgspec.structs.replace(outcome, media_metadata=item.media)
            return Appended(outcome, None, item.origin)
        refusal = self._refusal(item, conversation, is_member, target_ok)
        if refusal is not None:
            return refusal
        assert conversation is not None
        if item.target is not None:
            verdict = self.targets.decide(item, now)
            if isinstance(verdict, WhisprError):
                return verdict
            if verdict == "unchanged":
                self.unchanged.append((item.message_id, *key, item.fingerprint, item.conversation_id))
                self.seen[key] = (item.fingerprint, _unchanged(item))
                return Appended(_unchanged(item), None, item.origin)
        entry = self._entry_of(item, conversation, now)
        if withheld or (item.target is not None and self.targets.is_withheld(item.target)):
            entry = WithheldEntry.of(entry)
            self.withheld.append(entry.message_id)
        if entry.media_id is not None:
            self.media.append((entry.media_id, entry.message_id, entry.conversation_id))
        self.fresh.append((item, entry))
        self.links.append(conversation.link(entry))
        args = (entry.message_id, entry.conversation_id, entry.seq, entry.sent_at, entry.expires_at)
        self.seen[key] = (item.fingerprint, SendOutcome("duplicate", *args))
        return Appended(SendOutcome("sent", *args, item.media), entry, item.origin)

    def _entry_of(self, item: NewEntry, conversation: LockedConversation, now: datetime) -> Entry:
        """The entry at the next place, expiring by its own ttl, the conversation's timer, or with its target."""
        ttl = conversation.ttl if item.ttl is None and item.type in MESSAGES else item.ttl
        entry = _entry_of(item, *conversation.next_place(now), ttl)
        if item.target is not None:
            self.targets.apply(item, entry.sent_at)
            entry = msgspec.structs.replace(entry, expires_at=self.targets.expires_at(item))
        return entry

    @staticmethod
    def _refusal(
        item: NewEntry, conversation: LockedConversation | None, is_member: bool, target_ok: bool
    ) -> WhisprError | None:
        if conversation is None or not is_member:
            return NotFound()
        if item.members_version is not None and item.members_version != conversation.members_version:
            return StaleMembership(details={"membersVersion": conversation.members_version})
        if not target_ok:
            return InvalidTarget()
        if item.media_id is not None and item.media is None:
            return InvalidMedia()
        return None

    def rows(self) -> str:
        """The rows of _WRITE, as JSON: one parameter, where the driver would write twenty arrays."""
        return msgspec.json.encode(
            [self._row(item, entry, link) for (item, entry), link in zip(self.fresh, self.links, strict=True)]
        ).decode()

    def touched(self) -> list[UUID]:
        """The conversations that got entries."""
        return sorted({entry.conversation_id for _, entry in self.fresh})

    def _row(self, item: NewEntry, entry: Entry, link: bytes | None) -> "_Row":
        # What changes a message has no recipients to account for: the message has.
        few = self.locked[entry.conversation_id].member_count - 1 <= LIMITS.status_rows_max
        return _Row(
            id=entry.message_id,
            conversation_id=entry.conversation_id,
            seq=entry.seq,
            sender_id=entry.sender_id,
            sender_device_id=entry.sender_device_id,
            message_type=entry.type,
            content=entry.content,
            metadata=entry.metadata,
            client_random=entry.client_random,
            reply_to_id=entry.reply_to,
            target_id=entry.target,
            media_id=entry.media_id,
            signature=entry.signature,
            sent_at=entry.sent_at,
            expires_at=entry.expires_at,
            fingerprint=item.fingerprint,
            with_statuses=item.target is None and few,
            draft_before=item.draft_before,
            ttl_after_read=entry.ttl_after_read,
            chain_hash=link,
        )


def _unchanged(item: NewEntry) -> SendOutcome:
    """The answer to a reaction that changes nothing: it names the message, and no seq, for there is no entry."""
    return SendOutcome("duplicate", item.target or item.message_id, item.conversation_id)


def _entry_of(item: NewEntry, seq: int, sent_at: datetime, ttl: int | None) -> Entry:
    lifetime = LIMITS.unread_ttl_seconds if item.from_reading else ttl
    return Entry(
        message_id=item.message_id,
        conversation_id=item.conversation_id,
        seq=seq,
        sender_id=item.sender_id,
        sender_device_id=item.sender_device_id,
        type=item.type,
        content=item.content,
        metadata=msgspec.Raw(item.metadata),
        reply_to=item.reply_to,
        target=item.target,
        media_id=item.media_id,
        client_random=item.client_random,
        sent_at=sent_at,
        edited_at=None,
        expires_at=None if lifetime is None else sent_at + timedelta(seconds=lifetime),
        signature=item.signature,
        ttl_after_read=item.ttl if item.from_reading else None,
    )
