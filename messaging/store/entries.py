"""Reading the log: what a user may see of it, and no more (docs/protocol.md §8.4, §4.6, §4.7).

Every read here joins the user's membership and spans, and blanks what expired or was deleted, whatever the workers did.

There are two readings. The log's own (catch-up, synchronisation, fan-out) gives each entry as it was appended: an
edited message at its seq as it was first, then its edits. The other (history, one message) gives each message as it is
now.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from django.db import connection, transaction

from messaging.events import BlankEntry, EditReference, Entry, MessageView, ReactionView, WithheldEntry
from messaging.store.targets import MESSAGES
from whispr.kernel.limits import LIMITS

# Content and metadata of an entry that expired or was deleted are gone from this moment on, on every route.
_COLUMNS = """
m.id, m.conversation_id, m.seq, m.sender_id, m.sender_device_id, m.message_type,
CASE WHEN gone.is THEN ''::bytea ELSE m.content END,
CASE WHEN gone.is THEN '{}' ELSE m.metadata::text END,
m.reply_to_id, m.target_id, CASE WHEN gone.is THEN NULL ELSE m.media_id END, m.client_random, m.sent_at,
NULL::timestamptz, m.expires_at, CASE WHEN gone.is THEN NULL ELSE m.signature END, m.withheld,
CASE WHEN gone.is THEN NULL ELSE m.ttl_after_read END"""
_DEAD = "m.is_deleted OR coalesce(m.expires_at <= clock_timestamp(), false)"
_GONE = f"CROSS JOIN LATERAL (SELECT {_DEAD} AS is) gone"
# What the reader deleted for themselves, its edits and the reactions to it: in the log's reading a place without
# content, as all devices of the reader are to hold it; in the other reading it is left out.
# A scalar, not EXISTS: that may be planned as a hash over what everybody hid.
_HIDDEN = """((SELECT h.id FROM hidden_messages h
    WHERE h.user_id = b.user_id AND h.message_id = coalesce(m.target_id, m.id) LIMIT 1) IS NOT NULL)"""
_GONE_FOR_READER = f"CROSS JOIN LATERAL (SELECT {_DEAD} OR {_HIDDEN} AS is) gone"
_VISIBLE = """
(m.seq >= b.joined_seq AND (b.left_seq IS NULL OR m.seq <= b.left_seq) OR EXISTS (
    SELECT 1 FROM member_spans s WHERE s.conversation_id = m.conversation_id AND s.user_id = b.user_id
    AND m.seq BETWEEN s.from_seq AND s.to_seq))"""
# The same of `v`, what came of a message later: who was removed sees neither its edits nor its reactions since.
_VISIBLE_LATER = _VISIBLE.replace("m.", "v.")


def entry_from_row(row: Sequence[Any], reader_id: UUID | None = None) -> Entry:
    """An Entry of a row of `_COLUMNS`, as `reader_id` sees it: who a block keeps it from gets a BlankEntry.

    Without a reader it is for the fan-out, and a WithheldEntry where it is one.
    """
    entry = _entry_of(row)
    if not row[16]:
        return entry
    return WithheldEntry.of(entry) if reader_id in (None, entry.sender_id) else BlankEntry.of(entry)


def _entry_of(row: Sequence[Any]) -> Entry:
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
        ttl_after_read=row[17],
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


@dataclass(frozen=True, slots=True)
class LogPage:
    """Entries, and the conversation of the first one that did not fit: what is incomplete, with all asked for after it.

    None: nothing more was visible after any of the positions at that moment.
    """

    entries: list[Entry]
    cut: UUID | None


# What an entry weighs in a page. Nothing is read for it: the row says how long its parts are.
_SIZE = "octet_length(m.content) + pg_column_size(m.metadata)"
# The page ends before the row that would be one too many, or that those before it leave no room for. The rows are
# counted and weighed before anything of them is read: their contents are fetched only of those that fit.
_AFTER = f"""
SELECT {_COLUMNS}, m.following FROM (
    SELECT m.*, row_number() OVER page AS place, lead(m.conversation_id) OVER page AS following,
           sum({_SIZE}) OVER (page ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM (
        SELECT m.*, p.ord, b.user_id AS reader_id
        FROM unnest(%b::uuid[], %b::bigint[]) WITH ORDINALITY AS p(conversation_id, seq, ord)
        JOIN members b ON b.conversation_id = p.conversation_id AND b.user_id = %b
        CROSS JOIN LATERAL (
            SELECT * FROM messages m WHERE m.conversation_id = p.conversation_id AND m.seq > p.seq AND {_VISIBLE}
            ORDER BY m.seq LIMIT %b
        ) m ORDER BY p.ord, m.seq LIMIT %b
    ) m WINDOW page AS (ORDER BY m.ord, m.seq)
) m CROSS JOIN LATERAL (SELECT m.reader_id AS user_id) b {_GONE_FOR_READER}
WHERE m.place <= %b AND coalesce(m.before, 0) < %b ORDER BY m.ord, m.seq"""


def get_log_page(user_id: UUID, positions: Sequence[Position], limit: int, bytes_max: int) -> LogPage:
    """What `user_id` may see after each position: conversations in the order given, seq ascending.

    `limit` entries in all, and at most one more than fit into `bytes_max` of content and metadata; at least one where
    there is any.
    """
    conversations = [position.conversation_id for position in positions]
    seqs = [position.seq for position in positions]
    rows = _fetch(_AFTER, (conversations, seqs, user_id, limit + 1, limit + 1, limit, bytes_max))
    return LogPage([entry_from_row(row, user_id) for row in rows], rows[-1][-1] if rows else None)


def list_entries_between(conversation_id: UUID, after: int, upto: int) -> list[Entry]:
    """The entries of a log in (after, upto], for a process that fans them out; who may see them is not asked here."""
    sql = f"""SELECT {_COLUMNS} FROM messages m {_GONE}
    WHERE m.conversation_id = %b AND m.seq > %b AND m.seq <= %b ORDER BY m.seq"""
    return [entry_from_row(row) for row in _fetch(sql, (conversation_id, after, upto))]


# The state of a message: the columns of the log, then those of its latest edit that the reader may see.
_STATE = f"""{_COLUMNS}, e.content, e.metadata::text, e.signature, e.sent_at,
e.id, e.seq, e.sender_device_id, e.client_random"""
_LATEST_EDIT = f"""
LEFT JOIN LATERAL (
    SELECT * FROM messages v WHERE v.target_id = m.id AND v.message_type = 'edit' AND NOT v.is_deleted
    AND (NOT v.withheld OR v.sender_id = b.user_id) AND m.edit_id IS NOT NULL AND NOT gone.is AND {_VISIBLE_LATER}
    ORDER BY v.seq DESC LIMIT 1
) e ON true"""

# A reaction whose entry is withheld is its author's alone to see. Who was a member all the time since the message sees
# all others; for anybody else the entry is looked up: its sent_at is the reaction's reacted_at.
_REACTIONS = f"""
WITH t AS MATERIALIZED (
    SELECT m.id, m.seq, b.user_id, b.joined_seq, b.left_seq FROM messages m
    JOIN members b ON b.conversation_id = m.conversation_id AND b.user_id = %b WHERE m.id = ANY(%b::uuid[]))
SELECT r.message_id, r.emoji, count(*), (array_agg(r.user_id ORDER BY r.reacted_at, r.user_id))[1:%b::int],
       bool_or(r.user_id = b.user_id)
FROM t b JOIN reactions r ON r.message_id = b.id
LEFT JOIN (SELECT w.target_id, w.sender_id, w.sent_at FROM messages w WHERE w.target_id = ANY(%b::uuid[])
           AND w.withheld AND w.message_type = 'reaction') w
       ON w.target_id = r.message_id AND w.sender_id = r.user_id AND w.sent_at = r.reacted_at AND r.user_id <> b.user_id
WHERE w.sender_id IS NULL AND (%b::text IS NULL OR r.emoji = %b)
AND (b.left_seq IS NULL AND b.seq >= b.joined_seq OR (
    SELECT v.seq FROM messages v WHERE v.target_id = r.message_id AND v.message_type = 'reaction'
    AND v.sender_id = r.user_id AND v.sent_at = r.reacted_at AND {_VISIBLE_LATER} LIMIT 1) IS NOT NULL)
GROUP BY r.message_id, r.emoji ORDER BY r.message_id, min(r.reacted_at), r.emoji"""


def _views_of(rows: Sequence[Sequence[Any]], reader_id: UUID) -> list[MessageView]:
    """The MessageViews of rows of `_STATE`."""
    reacted = list_reactions(reader_id, [row[0] for row in rows if row[5] in MESSAGES], LIMITS.reaction_users_shown)
    views = []
    for row in rows:
        entry = entry_from_row(row, reader_id)
        values = {name: getattr(entry, name) for name in Entry.__struct_fields__}
        if isinstance(entry, BlankEntry):
            views.append(MessageView(**values))
            continue
        content, metadata, signature, edited_at, *reference = row[18:26]
        if reference[0] is not None:
            values |= {
                "content": bytes(content),
                "metadata": msgspec.Raw(metadata.encode()),
                "signature": None if signature is None else bytes(signature),
                "edited_at": edited_at,
            }
        is_gone = row[5] in MESSAGES and not values["content"]
        views.append(
            MessageView(
                **values,
                edit=None if reference[0] is None else EditReference(*reference),
                reactions=() if is_gone else tuple(reacted.get(entry.message_id, ())),
            )
        )
    return views


def list_reactions(
    reader_id: UUID, message_ids: Sequence[UUID], users_shown: int, emoji: str | None = None
) -> dict[UUID, list[ReactionView]]:
    """The reactions to messages, each message's in the order in which they began, with their first users.

    Whether the reader may see the messages, and whether they still live, is not asked here.
    """
    if not message_ids:
        return {}
    ids = list(message_ids)
    found: dict[UUID, list[ReactionView]] = {}
    params = (reader_id, ids, users_shown, ids, emoji, emoji)
    for message_id, one, count, users, mine in _fetch(_REACTIONS, params):
        found.setdefault(message_id, []).append(ReactionView(one, count, tuple(users), mine))
    return found


def get_place(user_id: UUID, message_id: UUID) -> tuple[UUID, bool] | None:
    """The conversation of a message that the user may see and did not hide, and whether it is a live message."""
    sql = f"""SELECT m.conversation_id, m.message_type IN ('text', 'media', 'ephemeral') AND NOT ({_DEAD})
    FROM messages m JOIN members b ON b.conversation_id = m.conversation_id AND b.user_id = %b
    WHERE m.id = %b AND {_VISIBLE} AND NOT {_HIDDEN} AND (NOT m.withheld OR m.sender_id = b.user_id)"""
    rows = _fetch(sql, (user_id, message_id))
    return (rows[0][0], rows[0][1]) if rows else None


# A user's id beside an emoji, and the rest of a reaction, as JSON.
_USER_BYTES, _REACTION_BYTES = 39, 48


def _size_of(view: MessageView) -> int:
    """What a message weighs in a page of history, with the reactions that were read for it."""
    reactions = sum(_REACTION_BYTES + len(one.emoji) + _USER_BYTES * len(one.user_ids) for one in view.reactions)
    return len(view.content) + len(bytes(view.metadata)) + reactions


def list_history(
    user_id: UUID, conversation_id: UUID, before: int | None, after: int | None, limit: int, bytes_max: int
) -> tuple[list[MessageView], bool] | None:
    """Entries that the user may see, as they are now: the oldest after `after`, or the newest before `before` (or of
    all), always in ascending seq; and whether there are more. What the user deleted for themselves is left out.

    `limit` of them, and at most one more than fit into `bytes_max` of content, metadata and reactions. None where the
    user never was a member.
    """
    backwards = after is None
    bound = (before if before is not None else 2**63 - 1) if backwards else after
    order = "DESC" if backwards else "ASC"
    sql = f"""SELECT {_STATE}, m.more FROM members b
    JOIN LATERAL (
        SELECT m.*, row_number() OVER page AS place, lead(m.seq) OVER page IS NOT NULL AS more,
               sum({_SIZE} + m.edited) OVER (page ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM (
            SELECT m.*, CASE WHEN m.edit_id IS NULL THEN 0 ELSE coalesce((
                SELECT {_SIZE.replace("m.", "v.")} FROM messages v WHERE v.id = m.edit_id), 0) END AS edited
            FROM messages m WHERE m.conversation_id = b.conversation_id
            AND m.seq {"<" if backwards else ">"} %b AND {_VISIBLE} AND NOT {_HIDDEN}
            ORDER BY m.seq {order} LIMIT %b
        ) m WINDOW page AS (ORDER BY m.seq {order})
    ) m ON m.place <= %b AND coalesce(m.before, 0) < %b
    {_GONE} {_LATEST_EDIT} WHERE b.conversation_id = %b AND b.user_id = %b ORDER BY m.seq {order}"""
    with transaction.atomic():
        rows = _fetch(sql, (bound, limit + 1, limit, bytes_max, conversation_id, user_id))
        if not rows and not _was_member(user_id, conversation_id):
            return None
        views, more = _views_of(rows, user_id), bool(rows) and rows[-1][-1]
    size = fitting = 0
    for view in views:
        if fitting and size >= bytes_max:
            break
        size += _size_of(view)
        fitting += 1
    page = views[:fitting]
    return (page[::-1] if backwards else page), more or fitting < len(views)


def get_entry(user_id: UUID, message_id: UUID) -> MessageView | None:
    """One entry as it is now, if the user may see it and did not delete it for themselves."""
    sql = f"""SELECT {_STATE} FROM messages m
    JOIN members b ON b.conversation_id = m.conversation_id AND b.user_id = %b {_GONE} {_LATEST_EDIT}
    WHERE m.id = %b AND {_VISIBLE} AND NOT {_HIDDEN}"""
    with transaction.atomic():
        rows = _fetch(sql, (user_id, message_id))
        return _views_of(rows, user_id)[0] if rows else None


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


def list_joined_since(seconds: float) -> list[tuple[UUID, UUID, int, bool]]:
    """(user, conversation, joined_seq, whether history was shared) of the memberships that began or ended in the last
    `seconds`: the head check's other half. One that is over already may never have been heard of."""
    sql = """SELECT b.user_id, b.conversation_id, b.joined_seq, EXISTS (SELECT 1 FROM member_spans s
        WHERE s.conversation_id = b.conversation_id AND s.user_id = b.user_id AND s.to_seq = b.joined_seq - 1
        AND s.shared) FROM members b
    WHERE b.changed_at > clock_timestamp() - make_interval(secs => %b::float8)"""
    return [(row[0], row[1], row[2], row[3]) for row in _fetch(sql, (seconds,))]


def get_epoch() -> str:
    """The generation of the log (docs/protocol.md §3); made at the first look."""
    rows = _fetch("SELECT epoch FROM log_epoch WHERE id = 1", ())
    return str(rows[0][0]) if rows else new_epoch(replace=False)


def new_epoch(*, replace: bool = True) -> str:
    """Begin a new generation: an operator restored a backup or promoted a replica that may have lost commits."""
    sql = "INSERT INTO log_epoch (id, epoch) VALUES (1, gen_random_uuid()::text) ON CONFLICT (id) DO "
    sql += "UPDATE SET epoch = excluded.epoch, since = clock_timestamp()" if replace else "UPDATE SET id = 1"
    rows = _fetch(sql + " RETURNING epoch", ())
    return str(rows[0][0])
