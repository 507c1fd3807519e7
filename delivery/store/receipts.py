"""Writing receipts: watermarks, statuses and device cursors of a whole batch in one transaction (docs/protocol.md
§8.5).

Nothing goes backwards: each number is raised, never set. Read implies delivered. A read that may not be told (the
reader's setting, or the conversation's) moves the private watermark only: no other row learns of it. A sender who does
not tell does not learn either: then or, when told again, afterwards. Nor do two between whom a block stands, and what
a block withheld is delivered to nobody. Nor is what was erased or expired before: its place reached the device, it did
not.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from django.db import connection

from delivery.store.push_settle import reads_note
from messaging.events import Receipt
from messaging.store.blocks import HUSHED
from messaging.store.privacy import TELLS
from whispr.kernel import database
from whispr.kernel.batch import BUSY, Busy
from whispr.kernel.errors import AckAboveHead, NotFound
from whispr.kernel.failpoints import hit


class NewReceipt(msgspec.Struct, frozen=True):
    """A device says: everything of the conversation up to `up_to` reached it (`read`: and was read)."""

    user_id: UUID
    device_id: UUID
    conversation_id: UUID
    up_to: int
    read: bool
    origin: object | None = None  # the socket that said so, which needs no update of its own


class AddressedReceipt(msgspec.Struct, frozen=True):
    """A Receipt and the user whose devices are to learn of it."""

    to_user_id: UUID
    receipt: Receipt
    origin: object | None


class Recorded(msgspec.Struct, frozen=True):
    """What a receipt led to; the updates of a (conversation, user) are with its first item of the batch."""

    updates: tuple[AddressedReceipt, ...] = ()
    moved: UUID | None = None  # the conversation, where somebody's watermarks in it were raised


# Each table is looked into by a LATERAL with a LIMIT: an index probe a row, whatever the planner thinks of its size.
# The
# rows of the question come sorted, and are locked in that order.
_LOCK = f"""
SELECT b.id, b.conversation_id, b.user_id, b.delivered_seq, b.read_seq, b.public_read_seq,
       coalesce(b.left_seq, c.last_seq), {TELLS}, clock_timestamp(), {HUSHED},
       (SELECT e.seq FROM messages e WHERE e.conversation_id = b.conversation_id AND e.ttl_after_read IS NOT NULL
        LIMIT 1) IS NOT NULL,
       (SELECT p.id FROM push_states p WHERE p.user_id = b.user_id AND p.conversation_id = b.conversation_id
        AND (p.is_shown OR p.claimed_until IS NOT NULL) LIMIT 1)
FROM json_to_recordset(%b::json) AS w(conversation_id uuid, user_id uuid)
CROSS JOIN LATERAL (SELECT * FROM members m WHERE m.conversation_id = w.conversation_id AND m.user_id = w.user_id
                    LIMIT 1 FOR NO KEY UPDATE{{}}) b
CROSS JOIN LATERAL (SELECT * FROM conversations c WHERE c.id = b.conversation_id LIMIT 1) c
LEFT JOIN LATERAL (SELECT * FROM user_settings s WHERE s.user_id = b.user_id LIMIT 1) s ON true"""

_WRITE = """
WITH moved AS (
    SELECT * FROM json_to_recordset(%b::json) AS f(member_id bigint, conversation_id uuid, user_id uuid,
        from_seq bigint, old_read_seq bigint, delivered_seq bigint, read_seq bigint, public_read_seq bigint)
), watermarks AS (
    UPDATE members b SET delivered_seq = f.delivered_seq, read_seq = f.read_seq, public_read_seq = f.public_read_seq,
        untold = CASE WHEN f.read_seq > f.old_read_seq AND f.read_seq > f.public_read_seq
            THEN b.untold + int8multirange(int8range(f.old_read_seq + 1, f.read_seq + 1)) ELSE b.untold END
    FROM moved f WHERE b.id = f.member_id AND b.id = ANY(%b::bigint[])
), cursors AS (
    INSERT INTO device_cursors AS d (device_id, conversation_id, acked_seq)
    SELECT * FROM json_to_recordset(%b::json) AS f(device_id uuid, conversation_id uuid, acked_seq bigint)
    ON CONFLICT (device_id, conversation_id) DO UPDATE SET acked_seq = excluded.acked_seq
    WHERE d.acked_seq < excluded.acked_seq
), reached AS (
    SELECT f.*, m.id AS message_id, m.sender_id, m.seq, m.may_learn, m.is_member, m.is_there
    FROM moved f CROSS JOIN LATERAL (
        SELECT m.id, m.sender_id, m.seq,
            NOT m.is_deleted AND (m.expires_at IS NULL OR m.expires_at > statement_timestamp()) AS is_there,
            coalesce((SELECT u.read_receipts FROM user_settings u WHERE u.user_id = m.sender_id), true) AS may_learn,
            (SELECT w.id FROM members w WHERE w.conversation_id = m.conversation_id AND w.user_id = m.sender_id
             AND w.left_seq IS NULL) IS NOT NULL AS is_member
        FROM messages m WHERE m.conversation_id = f.conversation_id AND m.seq > f.from_seq AND m.seq <= f.delivered_seq
        AND NOT m.withheld OFFSET 0
    ) m
)
UPDATE delivery_statuses s SET
    delivered_at = coalesce(s.delivered_at, %b),
    read_at = CASE WHEN r.seq <= r.public_read_seq AND r.seq > r.old_read_seq AND r.may_learn
              THEN coalesce(s.read_at, greatest(%b, s.delivered_at)) ELSE s.read_at END
FROM reached r WHERE s.message_id = r.message_id AND s.user_id = r.user_id
AND (r.is_there OR s.delivered_at IS NOT NULL)
RETURNING r.conversation_id, r.user_id, r.sender_id, r.seq, r.message_id, r.may_learn, r.is_member"""


# The ephemerals whose time begins with this reading, of others and visible to the reader. An index of its own holds
# the few there are; the rows are locked first, so that an edit or a reaction that is being appended to one comes wholly
# before or after.
_FROM_READING = """
SELECT m.id FROM unnest(%b::uuid[], %b::uuid[], %b::bigint[], %b::bigint[]) AS f(conversation_id, user_id, old, new)
JOIN members b ON b.conversation_id = f.conversation_id AND b.user_id = f.user_id
JOIN messages m ON m.conversation_id = f.conversation_id AND m.seq > f.old AND m.seq <= f.new
WHERE m.ttl_after_read IS NOT NULL AND m.sender_id <> f.user_id AND NOT m.is_deleted AND NOT m.withheld
AND (m.seq >= b.joined_seq OR EXISTS (
    SELECT 1 FROM member_spans s WHERE s.conversation_id = m.conversation_id AND s.user_id = b.user_id
    AND m.seq BETWEEN s.from_seq AND s.to_seq))
ORDER BY m.id FOR NO KEY UPDATE OF m"""
_START = """
UPDATE messages SET expires_at = least(expires_at, %b::timestamptz + make_interval(secs => ttl_after_read)),
    ttl_after_read = NULL
WHERE id = ANY(%b::uuid[]) AND ttl_after_read IS NOT NULL RETURNING id, expires_at"""
_START_CHANGES = """
UPDATE messages m SET expires_at = f.expires_at FROM unnest(%b::uuid[], %b::timestamptz[]) AS f(id, expires_at)
WHERE m.target_id = f.id"""


class _Asked(msgspec.Struct):
    """A row of _LOCK's question."""

    conversation_id: UUID
    user_id: UUID


class _Moved(msgspec.Struct):
    """A row of _WRITE: the watermarks of a member as they will be."""

    member_id: int
    conversation_id: UUID
    user_id: UUID
    from_seq: int
    old_read_seq: int
    delivered_seq: int
    read_seq: int
    public_read_seq: int


class _Place(msgspec.Struct):
    """A device's cursor."""

    device_id: UUID
    conversation_id: UUID
    acked_seq: int


@dataclass(slots=True)
class _Reader:
    """A locked (conversation, user): the watermarks before and after the batch."""

    member_id: int
    conversation_id: UUID
    user_id: UUID
    delivered_seq: int
    read_seq: int
    public_read_seq: int
    head: int
    tells: bool
    now: datetime
    hushed: bool  # a block stands between the two of a direct conversation: neither learns of the other
    has_waiting: bool  # the conversation has ephemerals whose time begins with their reading
    shown_push: int | None  # what devices show of the conversation, or will, to be taken away when it is read
    new_delivered: int = 0
    new_read: int = 0
    read_device: UUID | None = None
    first: int | None = None  # the index of its first item in the batch
    origin: object | None = None
    touched: list[tuple[UUID, int, UUID, bool]] = field(default_factory=list)  # (sender, seq, message, may learn)

    def take(self, item: NewReceipt, index: int) -> None:
        self.new_delivered = max(self.new_delivered, self.delivered_seq, item.up_to)
        self.new_read = max(self.new_read, self.read_seq, item.up_to if item.read else 0)
        if item.read:
            self.read_device = item.device_id
        if self.first is None:
            self.first = index
            self.origin = item.origin

    @property
    def new_public_read(self) -> int:
        return (
            max(self.public_read_seq, self.new_read)
            if self.tells and not self.hushed and self.new_read > self.read_seq
            else self.public_read_seq
        )

    @property
    def moved(self) -> bool:
        return self.new_delivered > self.delivered_seq or self.new_read > self.read_seq

    def row(self) -> "_Moved":
        """Its row of _WRITE."""
        told = self.new_public_read > self.public_read_seq
        start = self.read_seq if told else self.delivered_seq  # read_seq ≤ delivered_seq
        if self.hushed:
            start = self.new_delivered  # no message's status changes
        return _Moved(
            self.member_id,
            self.conversation_id,
            self.user_id,
            start,
            self.read_seq,
            self.new_delivered,
            self.new_read,
            self.new_public_read,
        )

    def updates(self) -> tuple[AddressedReceipt, ...]:
        found: list[AddressedReceipt] = []
        delivered: dict[UUID, list[UUID]] = defaultdict(list)
        read: dict[UUID, list[UUID]] = defaultdict(list)
        for sender, seq, message_id, may_learn in sorted(self.touched, key=lambda row: row[1]):
            if seq > self.delivered_seq:
                delivered[sender].append(message_id)
            # What was read while it was not told stays untold; who does not tell does not learn.
            if may_learn and self.read_seq < seq <= self.new_public_read:
                read[sender].append(message_id)
        for sender, ids in delivered.items():
            found.append(self._addressed(sender, "delivered", ids, self.new_delivered))
        for sender, ids in read.items():
            found.append(self._addressed(sender, "read", ids, self.new_public_read))
        if self.new_read > self.read_seq:
            ids = [message_id for ids in read.values() for message_id in ids]
            found.append(self._addressed(self.user_id, "read", ids, self.new_read))
        return tuple(found)

    def _addressed(self, to_user_id: UUID, status: Any, ids: list[UUID], up_to: int) -> AddressedReceipt:
        receipt = Receipt(self.conversation_id, self.user_id, status, tuple(ids), up_to, self.now)
        return AddressedReceipt(to_user_id, receipt, self.origin if to_user_id == self.user_id else None)


def receipts_write(items: Sequence[NewReceipt], patient: bool = True) -> list[Recorded | Exception | Busy]:
    """Record a batch of receipts; each item gets Recorded, NotFound (never a member), AckAboveHead or BUSY.

    A removed member can still acknowledge what was theirs to see: the end of their span is their head.
    """
    outcomes: list[Recorded | Exception | Busy] = [Recorded()] * len(items)
    keys = sorted({(item.conversation_id, item.user_id) for item in items})
    with database.pipelined() as raw:
        cursor, write = psycopg.Cursor(raw), psycopg.Cursor(raw)
        asked = msgspec.json.encode([_Asked(*key) for key in keys]).decode()
        cursor.execute(_LOCK.format("" if patient else " SKIP LOCKED"), (asked,), prepare=True, binary=True)
        readers = {(row[1], row[2]): _Reader(*row) for row in cursor.fetchall()}
        hit("receipts.after_lock")
        held = set() if patient or len(readers) == len(keys) else _existing(cursor, keys) - readers.keys()
        cursors: dict[tuple[UUID, UUID], int] = {}
        for index, item in enumerate(items):
            reader = readers.get((item.conversation_id, item.user_id))
            if reader is None:
                outcomes[index] = BUSY if (item.conversation_id, item.user_id) in held else NotFound()
            elif item.up_to > reader.head:
                outcomes[index] = AckAboveHead()
            else:
                reader.take(item, index)
                device = (item.device_id, item.conversation_id)
                cursors[device] = max(cursors.get(device, 0), item.up_to)
        moved = [reader for reader in readers.values() if reader.moved]
        if moved or cursors:
            _write(write, moved, cursors)
        _start_expiry(cursor, [reader for reader in moved if reader.has_waiting and reader.new_read > reader.read_seq])
        _note_reads(cursor, [reader for reader in moved if reader.shown_push and reader.new_read > reader.read_seq])
        hit("receipts.before_commit")
    hit("receipts.after_commit")
    for conversation_id, user_id, *touched, is_member in write.fetchall() if moved or cursors else ():
        if is_member:  # a sender who was removed learns nothing more of the conversation
            readers[(conversation_id, user_id)].touched.append(tuple(touched))
    for reader in moved:
        if reader.first is not None:
            outcomes[reader.first] = Recorded(reader.updates(), reader.conversation_id)
    return outcomes


def _existing(cursor: psycopg.Cursor[Any], keys: list[tuple[UUID, UUID]]) -> set[tuple[UUID, UUID]]:
    cursor.execute(
        "SELECT b.conversation_id, b.user_id FROM members b JOIN unnest(%b::uuid[], %b::uuid[]) AS w(c, u)"
        " ON b.conversation_id = w.c AND b.user_id = w.u",
        ([key[0] for key in keys], [key[1] for key in keys]),
        binary=True,
    )
    return {(row[0], row[1]) for row in cursor.fetchall()}


def _write(cursor: psycopg.Cursor[Any], moved: list["_Reader"], cursors: dict[tuple[UUID, UUID], int]) -> None:
    # In id order, as everyone who locks these rows does.
    places = [_Place(*place, cursors[place]) for place in sorted(cursors)]
    now = moved[0].now if moved else None
    rows = msgspec.json.encode([reader.row() for reader in moved]).decode()
    ids = [reader.member_id for reader in moved]
    cursor.execute(_WRITE, (rows, ids, msgspec.json.encode(places).decode(), now, now), prepare=True, binary=True)


def _start_expiry(cursor: psycopg.Cursor[Any], readers: list[_Reader]) -> None:
    """Start the time of ephemerals that run from their reading: the first recipient's counts (docs/protocol.md).

    Nobody is told but by the `message_expired` entry in the end: an expiry of its own would tell who read when.
    """
    if not readers:
        return
    rows = [(reader.conversation_id, reader.user_id, reader.read_seq, reader.new_read) for reader in readers]
    cursor.execute(_FROM_READING, tuple(map(list, zip(*rows, strict=True))), prepare=True, binary=True)
    ids = [row[0] for row in cursor]
    if ids:
        cursor.execute(_START, (readers[0].now, ids), prepare=True, binary=True)
        started = cursor.fetchall()
        cursor.execute(_START_CHANGES, tuple(map(list, zip(*started, strict=True))), prepare=True)


def _note_reads(cursor: psycopg.Cursor[Any], readers: list[_Reader]) -> None:
    readers = sorted(readers, key=lambda reader: (reader.user_id, reader.conversation_id))
    reads_note(cursor, [(reader.shown_push, reader.read_device) for reader in readers if reader.shown_push])


def list_places(user_id: UUID, message_ids: Sequence[UUID]) -> list[tuple[UUID, int]]:
    """(conversation, seq) of those messages that the user may see: what an acknowledgement by ids comes to."""
    connection.ensure_connection()
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(
            "SELECT m.conversation_id, max(m.seq) FROM messages m"
            " JOIN members b ON b.conversation_id = m.conversation_id AND b.user_id = %b"
            " WHERE m.id = ANY(%b::uuid[]) AND m.seq >= b.joined_seq AND (b.left_seq IS NULL OR m.seq <= b.left_seq)"
            " GROUP BY m.conversation_id",
            (user_id, list(message_ids)),
            prepare=True,
            binary=True,
        )
        return [(row[0], row[1]) for row in cursor]
