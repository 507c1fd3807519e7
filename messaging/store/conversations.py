"""Conversations as their members see them: create, list, change, delete (docs/protocol.md §7 `conversations`)."""

from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from messaging.events import ConversationView, Entry, WithheldEntry
from messaging.requests import encode_metadata
from messaging.store.locked import LockedConversation, append_system, conversation_lock
from messaging.store.members import (
    MANAGERS,
    SHARED_HISTORY,
    Role,
    access_locked,
    access_member,
    members_close,
    members_count,
    members_insert,
)
from whispr.kernel.errors import Forbidden, NotFound
from whispr.kernel.ids import new_id
from whispr.kernel.limits import LIMITS

# Unread is counted over at most so many entries past the watermark: a page of 200 conversations reads a bounded part
# of the log, and no client shows more than "999+".
UNREAD_SCAN = 1_000

# What counts as unread: messages (not edits, reactions, system entries) that others sent, that are still readable and
# that the user did not delete for themselves, past
# both the read watermark and the seq at which the present membership began (what lies before was never visible, or
# belongs to an earlier span that the user left).
_VIEW = f"""
    SELECT c.id, c.type, c.last_seq, c.last_sent_at, u.unread, c.members_version, c.member_count, m.role, m.joined_seq,
           m.left_seq, m.delivered_seq, m.read_seq, coalesce(m.withheld_settings, c.settings), c.created_at,
           c.created_by, c.direct_key
    FROM page m
    JOIN conversations c ON c.id = m.conversation_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS unread FROM (
            SELECT id, message_type, sender_id, is_deleted, withheld, expires_at FROM messages
            WHERE conversation_id = m.conversation_id AND seq > greatest(m.read_seq, m.joined_seq - 1)
            ORDER BY seq DESC LIMIT {UNREAD_SCAN}
        ) e
        WHERE e.message_type IN ('text', 'media', 'ephemeral') AND e.sender_id <> m.user_id AND NOT e.is_deleted
          AND NOT e.withheld
          AND (e.expires_at IS NULL OR e.expires_at > now())
          -- Asked of each message only where the user ever hid one: then it is a probe of an index, never a hash.
          AND ((SELECT 1 FROM hidden_messages a WHERE a.user_id = (SELECT user_id FROM page LIMIT 1) LIMIT 1) IS NULL
               OR (SELECT h.id FROM hidden_messages h WHERE h.user_id = m.user_id AND h.message_id = e.id LIMIT 1)
                  IS NULL)
    ) u
    ORDER BY c.id DESC
"""


class Created(NamedTuple):
    """What a creation led to: the conversation, and its first entry if it is new."""

    view: ConversationView
    entries: tuple[Entry, ...]


def get_conversation(user_id: UUID, conversation_id: UUID) -> ConversationView:
    """The conversation as a current member sees it. Raises NotFound for anybody else."""
    with connection.cursor() as cursor:
        return _get_view(cursor, user_id, conversation_id)


def list_conversations(user_id: UUID, limit: int, below: UUID | None = None) -> list[ConversationView]:
    """The user's current conversations with an id less than `below`, the greatest id first, at most `limit`.

    The order is that of ids (UUIDv7: the newest conversation first), not of activity: a page's edge then stays where it
    is while messages arrive, and the index (user_id, conversation_id) gives each page without a sort.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH page AS MATERIALIZED (SELECT m.* FROM members m JOIN conversations d ON d.id = m.conversation_id"
            " WHERE m.user_id = %s AND m.left_seq IS NULL AND d.deleted_at IS NULL"
            " AND (%s::uuid IS NULL OR m.conversation_id < %s::uuid)"
            " ORDER BY m.conversation_id DESC LIMIT %s)" + _VIEW,
            [user_id, below, below, limit],
        )
        return [_view(row, user_id) for row in cursor.fetchall()]


def conversation_create(
    user_id: UUID, kind: Literal["direct", "group"], members: list[UUID], settings: bytes, conversation_id: UUID | None
) -> Created:
    """Create a conversation whose seq 1 is `conversation_created` and whose members all joined there.

    `members` holds each member once, the creator among them. A pair has one direct conversation: creating it again
    gives that one. A group with an id that its creator used before, for the same members, gives that one. Raises
    NotFound where the id belongs to a conversation that the caller is no member of, Forbidden where to another one.
    """
    chosen = conversation_id or new_id()
    direct_key = ":".join(sorted(str(member) for member in members)) if kind == "direct" else None
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO conversations (id, type, direct_key, last_seq, members_version, member_count, settings,"
            " created_by, created_at) VALUES (%s, %s, %s, 0, 1, %s, %s::jsonb, %s, clock_timestamp())"
            " ON CONFLICT DO NOTHING",
            [chosen, kind, direct_key, len(members), settings.decode(), user_id],
        )
        if not cursor.rowcount:
            return Created(_get_view(cursor, user_id, _get_existing(cursor, user_id, chosen, direct_key, members)), ())
        locked = conversation_lock(cursor, chosen)
        assert locked is not None  # inserted above, in this transaction
        details = {"by": str(user_id), "userIds": [str(member) for member in members]}
        entry = append_system(cursor, locked, by=user_id, event="conversation_created", details=details)
        roles: dict[UUID, Role] = dict.fromkeys(members, "member")
        if kind == "group":
            roles[user_id] = "owner"
        members_insert(cursor, chosen, entry.seq, locked.members_version, roles)
        return Created(_get_view(cursor, user_id, chosen), (entry,))


def _get_existing(
    cursor: CursorWrapper, user_id: UUID, conversation_id: UUID, direct_key: str | None, members: list[UUID]
) -> UUID:
    """The conversation that a creation repeats: by its pair, or by its id, creator and first members."""
    if direct_key is not None:
        cursor.execute("SELECT id FROM conversations WHERE direct_key = %s", [direct_key])
        row = cursor.fetchone()
        if row is not None:
            existing: UUID = row[0]
            return existing
    access_member(cursor, conversation_id, user_id)
    # The log tells what was created, whatever happened to the members since.
    cursor.execute(
        "SELECT c.created_by, c.type, e.metadata FROM conversations c"
        " JOIN messages e ON e.conversation_id = c.id AND e.seq = 1 WHERE c.id = %s",
        [conversation_id],
    )
    row = cursor.fetchone()
    if direct_key is None and row is not None and row[:2] == (user_id, "group"):
        first = msgspec.json.decode(row[2])["userIds"]
        if {UUID(user) for user in first} == set(members):
            return conversation_id
    raise Forbidden("This id belongs to another conversation.")


def conversation_update(
    user_id: UUID, conversation_id: UUID, change: dict[str, Any]
) -> tuple[ConversationView, tuple[Entry, ...]]:
    """Change settings: a key of `change` replaces, null removes; one `conversation_updated` entry, none if nothing
    changes.

    Owner and admins of a group (`sharedHistory`: the owner), either member of a direct conversation. The entry carries
    the settings as they are then. Of a member whom the other one blocks nothing reaches the other: the settings are
    kept beside the conversation's, and the entry is withheld; the answer is as ever. The next change that nobody
    withholds replaces them. Raises NotFound, Forbidden, and what `encode_metadata` raises over the limits.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        locked, role = access_locked(cursor, conversation_id, user_id)
        if locked.type == "group" and role not in MANAGERS:
            raise Forbidden("Only the owner and admins change a group's settings.")
        own, withheld = _withheld(cursor, locked, user_id)
        before = locked.settings if own is None else own
        after = {key: value for key, value in (before | change).items() if value is not None}
        if after == before and (own is None or withheld):
            return _get_view(cursor, user_id, conversation_id), ()
        if locked.type == "group" and role != "owner" and after.get(SHARED_HISTORY) != before.get(SHARED_HISTORY):
            raise Forbidden("Only the owner decides whether new members see what was before.")
        encoded = encode_metadata(after, "settings", LIMITS.conversation_settings_bytes)
        details = {"by": str(user_id), "settings": after}
        entry = append_system(cursor, locked, by=user_id, event="conversation_updated", details=details)
        if withheld:
            cursor.execute("UPDATE messages SET withheld = true WHERE id = %s", [entry.message_id])
            cursor.execute(
                "UPDATE members SET withheld_settings = %s::jsonb WHERE conversation_id = %s AND user_id = %s",
                [encoded.decode(), conversation_id, user_id],
            )
            return _get_view(cursor, user_id, conversation_id), (WithheldEntry.of(entry),)
        cursor.execute(
            "UPDATE conversations SET settings = %s::jsonb WHERE id = %s", [encoded.decode(), conversation_id]
        )
        if locked.type == "direct":
            cursor.execute(
                "UPDATE members SET withheld_settings = NULL"
                " WHERE conversation_id = %s AND withheld_settings IS NOT NULL",
                [conversation_id],
            )
        return _get_view(cursor, user_id, conversation_id), (entry,)


def _withheld(cursor: CursorWrapper, locked: LockedConversation, user_id: UUID) -> tuple[dict[str, Any] | None, bool]:
    """The settings that only the user knows of, or None; and whether what the user does now is withheld."""
    if locked.type != "direct":
        return None, False
    cursor.execute(
        "SELECT b.withheld_settings, (SELECT 1 FROM blocks x WHERE x.user_id = o.user_id AND x.blocked_id = b.user_id)"
        " IS NOT NULL FROM members b JOIN members o ON o.conversation_id = b.conversation_id AND o.user_id <> b.user_id"
        " WHERE b.conversation_id = %s AND b.user_id = %s FOR NO KEY UPDATE OF b",
        [locked.id, user_id],
    )
    settings, withheld = cursor.fetchone()
    return (None if settings is None else msgspec.json.decode(settings)), withheld


def conversation_delete(user_id: UUID, conversation_id: UUID) -> tuple[Entry, ...]:
    """Delete a group: everybody is removed by one `member_removed` entry, the last of the log.

    Raises NotFound for a non-member, Forbidden for anybody but the owner, and for a direct conversation.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        locked, role = access_locked(cursor, conversation_id, user_id)
        if locked.type != "group" or role != "owner":
            raise Forbidden("Only the owner deletes a group; a direct conversation stays.")
        cursor.execute(
            "SELECT user_id FROM members WHERE conversation_id = %s AND left_seq IS NULL ORDER BY joined_seq, user_id",
            [conversation_id],
        )
        everybody: list[UUID] = [row[0] for row in cursor.fetchall()]
        details = {"userIds": [str(user) for user in everybody], "by": str(user_id)}
        entry = append_system(cursor, locked, by=user_id, event="member_removed", details=details)
        members_count(cursor, locked, -len(everybody))
        members_close(cursor, conversation_id, entry.seq, locked.members_version, everybody)
        cursor.execute("UPDATE conversations SET deleted_at = clock_timestamp() WHERE id = %s", [conversation_id])
        return (entry,)


def _get_view(cursor: CursorWrapper, user_id: UUID, conversation_id: UUID) -> ConversationView:
    cursor.execute(
        "WITH page AS MATERIALIZED (SELECT m.* FROM members m JOIN conversations d ON d.id = m.conversation_id"
        " WHERE m.conversation_id = %s AND m.user_id = %s AND m.left_seq IS NULL AND d.deleted_at IS NULL)" + _VIEW,
        [conversation_id, user_id],
    )
    row = cursor.fetchone()
    if row is None:
        raise NotFound
    return _view(row, user_id)


def _view(row: tuple[Any, ...], user_id: UUID) -> ConversationView:
    *fields, settings, created_at, created_by, direct_key = row  # in the order of _VIEW and of ConversationView
    peer = None if direct_key is None else next(UUID(key) for key in direct_key.split(":") if key != str(user_id))
    view: tuple[Any, ...] = (*fields, msgspec.json.decode(settings), created_at, created_by, peer)
    return ConversationView(*view)
