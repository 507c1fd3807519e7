"""Reading the log: what a user may see of it, and no more (PROTOCOL.md §4.4, §4.6, §4.7).

Every read here joins the user's membership and spans, and blanks what expired or was deleted, whatever the workers did.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from django.db import connection, transaction

from messaging.events import Entry

# Content and metadata of an entry that expired or was deleted are gone from this moment on, on every route.
_COLUMNS = """
m.id, m.conversation_id, m.seq, m.sender_id, m.sender_device_id, m.message_type,
CASE WHEN gone.is THEN ''::bytea ELSE m.content END,
CASE WHEN gone.is THEN '{}' ELSE m.metadata::text END,
m.reply_to_id, m.target_id, CASE WHEN gone.is THEN NULL ELSE m.media_id END, m.client_random, m.sent_at, m.edited_at,
m.expires_at, CASE WHEN gone.is THEN NULL ELSE m.signature END"""
_GONE = "CROSS JOIN LATERAL (SELECT m.is_deleted OR coalesce(m.expires_at <= clock_timestamp(), false) AS is) gone"
_VISIBLE = """
(m.seq >= b.joined_seq AND (b.left_seq IS NULL OR m.seq <= b.left_seq) OR EXISTS (
    SELECT 1 FROM member_spans s WHERE s.conversation_id = m.conversation_id AND s.user_id = b.user_id
    AND m.seq BETWEEN s.from_seq AND s.to_seq))"""


def entry_from_row(row: Sequence[Any]) -> Entry:
    """An Entry of a row of `_COLUMNS`."""
    return Entry(
        message_id=row[0],
        conversation_id=row[1],
        seq=row[2],
        sender_id=row[3],
        sender_device_id=row[4],
        type=row[5],
        content=bytes(row[6]),
        metadata=msgspec.Raw(row[7].encode()),
        reply_to=row[8],
        target=row[9],
        media_id=row[10],
        client_random=row[11],
        sent_at=row[12],
        edited_at=row[13],
        expires_at=row[14],
        signature=None if row[15] is None else bytes(row[15]),
    )


def _fetch(sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    connection.ensure_connection()
    with psycopg.Cursor(connection.connection) as cursor:
        return cursor.execute(sql, params, prepare=True, binary=True).fetchall()


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader stands in a conversation: it holds everything up to and including `seq`."""

    conversation_id: UUID
    seq: int


_AFTER = f"""
SELECT {_COLUMNS} FROM unnest(%b::uuid[], %b::bigint[]) WITH ORDINALITY AS p(conversation_id, seq, ord)
JOIN members b ON b.conversation_id = p.conversation_id AND b.user_id = %b
CROSS JOIN LATERAL (
    SELECT * FROM messages m WHERE m.conversation_id = p.conversation_id AND m.seq > p.seq AND {_VISIBLE}
    ORDER BY m.seq LIMIT %b
) m {_GONE}
ORDER BY p.ord, m.seq LIMIT %b"""


def list_entries_after(user_id: UUID, positions: Sequence[Position], limit: int) -> list[Entry]:
    """What `user_id` may see after each position: conversations in the order given, seq ascending, `limit` in all.

    With fewer than `limit` entries returned, nothing more was visible after any of the positions at that moment; with
    `limit`, only the last conversation returned can be incomplete, and those after it.
    """
    conversations = [position.conversation_id for position in positions]
    seqs = [position.seq for position in positions]
    return [entry_from_row(row) for row in _fetch(_AFTER, (conversations, seqs, user_id, limit, limit))]


def list_entries_between(conversation_id: UUID, after: int, upto: int) -> list[Entry]:
    """The entries of a log in (after, upto], for a process that fans them out; who may see them is not asked here."""
    sql = f"""SELECT {_COLUMNS} FROM messages m {_GONE}
    WHERE m.conversation_id = %b AND m.seq > %b AND m.seq <= %b ORDER BY m.seq"""
    return [entry_from_row(row) for row in _fetch(sql, (conversation_id, after, upto))]


def list_history(
    user_id: UUID, conversation_id: UUID, before: int | None, after: int | None, limit: int
) -> list[Entry] | None:
    """Up to `limit` entries that the user may see: the oldest after `after`, or the newest before `before` (or of all),
    always in ascending seq. None where the user never was a member.
    """
    backwards = after is None
    bound = (before if before is not None else 2**63 - 1) if backwards else after
    sql = f"""SELECT {_COLUMNS} FROM members b
    JOIN LATERAL (
        SELECT * FROM messages m WHERE m.conversation_id = b.conversation_id
        AND m.seq {"<" if backwards else ">"} %b AND {_VISIBLE}
        ORDER BY m.seq {"DESC" if backwards else "ASC"} LIMIT %b
    ) m ON true {_GONE} WHERE b.conversation_id = %b AND b.user_id = %b ORDER BY m.seq"""
    with transaction.atomic():
        rows = _fetch(sql, (bound, limit, conversation_id, user_id))
        if not rows and not _was_member(user_id, conversation_id):
            return None
    return [entry_from_row(row) for row in rows]


def get_entry(user_id: UUID, message_id: UUID) -> Entry | None:
    """One entry, if the user may see it."""
    sql = f"""SELECT {_COLUMNS} FROM messages m
    JOIN members b ON b.conversation_id = m.conversation_id AND b.user_id = %b {_GONE}
    WHERE m.id = %b AND {_VISIBLE}"""
    rows = _fetch(sql, (user_id, message_id))
    return entry_from_row(rows[0]) if rows else None


def _was_member(user_id: UUID, conversation_id: UUID) -> bool:
    return bool(_fetch("SELECT 1 FROM members WHERE conversation_id = %b AND user_id = %b", (conversation_id, user_id)))


@dataclass(frozen=True, slots=True)
class Standing:
    """How a device stands in one conversation: the log's head, the user's span, what the device acknowledged."""

    conversation_id: UUID
    last_seq: int
    joined_seq: int
    left_seq: int | None
    first_seq: int  # the first seq that the user may see at all, earlier spans included
    acked_seq: int


_STANDINGS = """
SELECT c.id, c.last_seq, b.joined_seq, b.left_seq,
       least(b.joined_seq, (SELECT min(s.from_seq) FROM member_spans s
                            WHERE s.conversation_id = c.id AND s.user_id = b.user_id)),
       coalesce(d.acked_seq, 0)
FROM members b JOIN conversations c ON c.id = b.conversation_id
LEFT JOIN device_cursors d ON d.device_id = %b AND d.conversation_id = c.id
WHERE b.user_id = %b AND (%b::uuid IS NULL OR c.id = %b)
ORDER BY c.last_sent_at DESC NULLS LAST LIMIT %b"""


def list_standings(user_id: UUID, device_id: UUID, limit: int, conversation_id: UUID | None = None) -> list[Standing]:
    """The conversations of a user, those left among them, as the device stands in them; the latest active first."""
    return [Standing(*row) for row in _fetch(_STANDINGS, (device_id, user_id, conversation_id, conversation_id, limit))]


def list_heads(conversation_ids: Sequence[UUID]) -> dict[UUID, int]:
    """The last seq of each conversation: what a process compares with what it has passed on (the head check)."""
    rows = _fetch("SELECT id, last_seq FROM conversations WHERE id = ANY(%b::uuid[])", (list(conversation_ids),))
    return {row[0]: row[1] for row in rows}


def list_joined_since(seconds: float) -> list[tuple[UUID, UUID, int]]:
    """(user, conversation, joined_seq) of the memberships that began in the last `seconds`: the head check's other
    half."""
    sql = """SELECT user_id, conversation_id, joined_seq FROM members
    WHERE changed_at > clock_timestamp() - make_interval(secs => %b::float8) AND left_seq IS NULL"""
    return [(row[0], row[1], row[2]) for row in _fetch(sql, (seconds,))]


def get_epoch() -> str:
    """The generation of the log (PROTOCOL.md §2 "Topics"); made at the first look."""
    rows = _fetch("SELECT epoch FROM log_epoch WHERE id = 1", ())
    return str(rows[0][0]) if rows else new_epoch(replace=False)


def new_epoch(*, replace: bool = True) -> str:
    """Begin a new generation: an operator restored a backup or promoted a replica that may have lost commits."""
    sql = "INSERT INTO log_epoch (id, epoch) VALUES (1, gen_random_uuid()::text) ON CONFLICT (id) DO "
    sql += "UPDATE SET epoch = excluded.epoch, since = clock_timestamp()" if replace else "UPDATE SET id = 1"
    rows = _fetch(sql + " RETURNING epoch", ())
    return str(rows[0][0])
