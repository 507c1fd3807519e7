"""The log of a conversation: the one place where entries are written (DESIGN.md "The hot path").

`entries_append` takes a batch from many senders and conversations and makes it durable in one transaction. seq comes
from
`conversations.last_seq` under the row's lock, so that neither a duplicate, a rollback nor a failed item leaves a gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from messaging.events import Entry, EntryType, SendOutcome
from whispr.kernel.batch import BUSY, Busy
from whispr.kernel.errors import (
    ClientRandomReused,
    InvalidTarget,
    NotFound,
    StaleMembership,
    WhisprError,
)
from whispr.kernel.ids import new_id
from whispr.kernel.limits import LIMITS

TICK = timedelta(microseconds=1)  # PostgreSQL's resolution: sent_at increases by at least this


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
    signature: bytes | None = None
    ttl: int | None = None  # seconds from sent_at
    members_version: int | None = None
    origin: object | None = None  # the socket that sends, which learns seq from its reply


class Appended(msgspec.Struct, frozen=True):
    """What became of a NewEntry: the answer, and the entry where it is a new one."""

    outcome: SendOutcome
    entry: Entry | None
    origin: object | None


@dataclass(slots=True)
class LockedConversation:
    """A conversation whose row this transaction holds; the fields follow what is appended under the lock."""

    id: UUID
    type: str
    last_seq: int
    last_sent_at: datetime | None
    members_version: int
    member_count: int
    settings: dict[str, Any] = field(default_factory=dict)  # not read where only entries are appended
    deleted_at: datetime | None = None

    def next_place(self, now: datetime) -> tuple[int, datetime]:
        """The next seq and its sent_at: strictly after the one before, whatever the clock does (PROTOCOL.md §4.3)."""
        self.last_seq += 1
        if self.last_sent_at is not None and now <= self.last_sent_at:
            now = self.last_sent_at + TICK
        self.last_sent_at = now
        return self.last_seq, now


_LOCK = """
SELECT id, type, last_seq, last_sent_at, members_version, member_count
FROM conversations WHERE id = ANY(%b::uuid[]) AND deleted_at IS NULL ORDER BY id FOR NO KEY UPDATE"""

# In a snapshot taken after the lock: who is a member, what was sent before under this key, is the target live and
# visible.
_FACTS = """
SELECT clock_timestamp(), m.id IS NOT NULL,
       k.message_id, k.conversation_id, k.seq, k.sent_at, k.expires_at, k.fingerprint,
       i.reply_to IS NULL OR EXISTS (
           SELECT 1 FROM messages t WHERE t.id = i.reply_to AND t.conversation_id = i.conversation_id
           AND NOT t.is_deleted AND t.message_type IN ('text', 'media', 'ephemeral')
           AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())
           AND (t.seq >= m.joined_seq OR EXISTS (
               SELECT 1 FROM member_spans s WHERE s.conversation_id = t.conversation_id
               AND s.user_id = i.sender_id AND t.seq BETWEEN s.from_seq AND s.to_seq)))
FROM unnest(%b::uuid[], %b::uuid[], %b::bigint[], %b::uuid[])
     WITH ORDINALITY AS i(conversation_id, sender_id, client_random, reply_to, ord)
LEFT JOIN members m ON m.conversation_id = i.conversation_id AND m.user_id = i.sender_id AND m.left_seq IS NULL
LEFT JOIN send_keys k ON k.sender_id = i.sender_id AND k.client_random = i.client_random
ORDER BY i.ord"""

_WRITE = """
WITH fresh AS (
    SELECT * FROM unnest(
        %b::uuid[], %b::uuid[], %b::bigint[], %b::uuid[], %b::uuid[], %b::text[], %b::bytea[], %b::text[],
        %b::bigint[], %b::uuid[], %b::uuid[], %b::text[], %b::bytea[], %b::timestamptz[], %b::timestamptz[],
        %b::bytea[], %b::boolean[]
    ) AS f(id, conversation_id, seq, sender_id, sender_device_id, message_type, content, metadata,
           client_random, reply_to_id, target_id, media_id, signature, sent_at, expires_at,
           fingerprint, with_statuses)
), entries AS (
    INSERT INTO messages (id, conversation_id, seq, sender_id, sender_device_id, message_type, content, metadata,
        client_random, reply_to_id, target_id, media_id, signature, sent_at, expires_at, is_deleted,
        delete_for_everyone)
    SELECT id, conversation_id, seq, sender_id, sender_device_id, message_type, content, metadata::jsonb,
        client_random, reply_to_id, target_id, media_id, signature, sent_at, expires_at, false, false FROM fresh
), keys AS (
    INSERT INTO send_keys (message_id, sender_id, client_random, fingerprint, conversation_id, seq, sent_at, expires_at)
    SELECT id, sender_id, client_random, fingerprint, conversation_id, seq, sent_at, expires_at FROM fresh
), statuses AS (
    INSERT INTO delivery_statuses (message_id, user_id)
    SELECT f.id, m.user_id FROM fresh f
    JOIN members m ON m.conversation_id = f.conversation_id AND m.left_seq IS NULL AND m.user_id <> f.sender_id
    WHERE f.with_statuses
)
UPDATE conversations c SET last_seq = h.last_seq, last_sent_at = h.last_sent_at
FROM unnest(%b::uuid[], %b::bigint[], %b::timestamptz[]) AS h(id, last_seq, last_sent_at) WHERE c.id = h.id"""


def entries_append(items: Sequence[NewEntry], patient: bool = True) -> list[Appended | Exception | Busy]:
    """Append a batch, in order, in one transaction; each item gets its own outcome (PROTOCOL.md §4.1-4.3).

    Outcomes: Appended (new or duplicate), NotFound (no such conversation for this sender), ClientRandomReused,
    StaleMembership, InvalidTarget, or BUSY where another transaction holds the conversation and `patient` is false.
    Raises what PostgreSQL raises; then nothing of the batch was written, unless the connection broke during the commit.
    """
    with transaction.atomic():
        # A cursor with server-side binding and prepared statements, on Django's own connection.
        cursor = psycopg.Cursor(connection.connection)
        ids = sorted({item.conversation_id for item in items})
        cursor.execute(_LOCK if patient else _LOCK + " SKIP LOCKED", (ids,), prepare=True, binary=True)
        locked = {row[0]: LockedConversation(*row) for row in cursor}
        skipped: set[UUID] = set()
        if len(locked) < len(ids) and not patient:
            cursor.execute("SELECT id FROM conversations WHERE id = ANY(%b::uuid[])", (ids,))
            skipped = {row[0] for row in cursor} - locked.keys()
        cursor.execute(
            _FACTS,
            (
                [item.conversation_id for item in items],
                [item.sender_id for item in items],
                [item.client_random for item in items],
                [item.reply_to for item in items],
            ),
            prepare=True,
            binary=True,
        )
        batch = _Batch(locked, skipped)
        outcomes = [batch.place(item, facts) for item, facts in zip(items, cursor.fetchall(), strict=True)]
        if batch.fresh:
            cursor.execute(_WRITE, batch.columns(), prepare=True)
        cursor.close()
    return outcomes


class _Batch:
    """The decisions of one batch: which items are new, and their places in their logs."""

    def __init__(self, locked: dict[UUID, LockedConversation], skipped: set[UUID]) -> None:
        self.locked = locked
        self.skipped = skipped
        self.fresh: list[tuple[NewEntry, Entry]] = []
        self.seen: dict[tuple[UUID, int], tuple[bytes, SendOutcome]] = {}

    def place(self, item: NewEntry, facts: tuple[Any, ...]) -> Appended | Exception | Busy:
        """Decide one item; `facts` is its row of _FACTS."""
        now, is_member, *before, target_ok = facts
        conversation = self.locked.get(item.conversation_id)
        if conversation is None and item.conversation_id in self.skipped:
            return BUSY
        key = (item.sender_id, item.client_random)
        earlier = self.seen.get(key)
        if earlier is None and before[0] is not None:
            earlier = (
                bytes(before[5]),
                SendOutcome("duplicate", before[0], before[1], before[2], before[3], before[4]),
            )
        if earlier is not None:
            if earlier[0] != item.fingerprint:
                return ClientRandomReused()
            return Appended(earlier[1], None, item.origin)
        refusal = self._refusal(item, conversation, is_member, target_ok)
        if refusal is not None:
            return refusal
        assert conversation is not None
        entry = _entry_of(item, *conversation.next_place(now))
        self.fresh.append((item, entry))
        args = (entry.message_id, entry.conversation_id, entry.seq, entry.sent_at, entry.expires_at)
        self.seen[key] = (item.fingerprint, SendOutcome("duplicate", *args))
        return Appended(SendOutcome("sent", *args), entry, item.origin)

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
        return None

    def columns(self) -> tuple[list[Any], ...]:
        """The arrays of _WRITE."""
        rows = [
            (
                entry.message_id,
                entry.conversation_id,
                entry.seq,
                entry.sender_id,
                entry.sender_device_id,
                entry.type,
                entry.content,
                item.metadata.decode(),
                entry.client_random,
                entry.reply_to,
                entry.target,
                entry.media_id,
                entry.signature,
                entry.sent_at,
                entry.expires_at,
                item.fingerprint,
                self.locked[entry.conversation_id].member_count - 1 <= LIMITS.status_rows_max,
            )
            for item, entry in self.fresh
        ]
        touched = {entry.conversation_id for _, entry in self.fresh}
        heads = [(c.id, c.last_seq, c.last_sent_at) for c in self.locked.values() if c.id in touched]
        return (*map(list, zip(*rows, strict=True)), *map(list, zip(*heads, strict=True)))


def _entry_of(item: NewEntry, seq: int, sent_at: datetime) -> Entry:
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
        expires_at=None if item.ttl is None else sent_at + timedelta(seconds=item.ttl),
        signature=item.signature,
    )


def conversation_lock(cursor: CursorWrapper, conversation_id: UUID) -> LockedConversation | None:
    """Lock a conversation for a change of its members, its settings or its log; None where there is none.

    Everything that decides who is a member happens under this lock, so that it is ordered with the sends.
    """
    cursor.execute(
        "SELECT id, type, last_seq, last_sent_at, members_version, member_count, settings, deleted_at"
        " FROM conversations WHERE id = %s FOR NO KEY UPDATE",
        [conversation_id],
    )
    row = cursor.fetchone()
    if row is None:
        return None
    id_, type_, last_seq, last_sent_at, members_version, member_count, settings, deleted_at = row
    return LockedConversation(
        id_, type_, last_seq, last_sent_at, members_version, member_count, msgspec.json.decode(settings), deleted_at
    )


def append_system(
    cursor: CursorWrapper, locked: LockedConversation, *, by: UUID, event: str, details: dict[str, Any]
) -> Entry:
    """Append a system entry (PROTOCOL.md §2: empty content, `metadata.event`) to a conversation locked by this
    transaction."""
    cursor.execute("SELECT clock_timestamp()")
    seq, sent_at = locked.next_place(cursor.fetchone()[0])
    metadata = msgspec.json.encode({"event": event, **details})
    message_id = new_id()
    cursor.execute(
        "INSERT INTO messages (id, conversation_id, seq, sender_id, message_type, content, metadata, sent_at,"
        " is_deleted, delete_for_everyone) VALUES (%s, %s, %s, %s, 'system', '', %s::jsonb, %s, false, false)",
        [message_id, locked.id, seq, by, metadata.decode(), sent_at],
    )
    cursor.execute("UPDATE conversations SET last_seq = %s, last_sent_at = %s WHERE id = %s", [seq, sent_at, locked.id])
    return Entry(
        message_id=message_id,
        conversation_id=locked.id,
        seq=seq,
        sender_id=by,
        sender_device_id=None,
        type="system",
        content=b"",
        metadata=msgspec.Raw(metadata),
        reply_to=None,
        target=None,
        media_id=None,
        client_random=None,
        sent_at=sent_at,
        edited_at=None,
        expires_at=None,
        signature=None,
    )
