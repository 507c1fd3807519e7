"""Who may know whether another is there: last seen, presence, typing (docs/protocol.md §8.5, specification §11).

A user who does not share it does not see it of others; a block ends it for both, whoever of the two made it.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection

# Of `c`, a conversation: direct, and one of its two members blocked the other.
_BLOCKED = """(c.type = 'direct' AND EXISTS (
    SELECT 1 FROM (SELECT split_part(c.direct_key, ':', 1)::uuid AS a, split_part(c.direct_key, ':', 2)::uuid AS b) p
    JOIN blocks k ON k.user_id = p.a AND k.blocked_id = p.b OR k.user_id = p.b AND k.blocked_id = p.a))"""


def list_last_seen(viewer_id: UUID, user_ids: Sequence[UUID]) -> dict[UUID, datetime | None]:
    """When those of `user_ids` were last there that let `viewer_id` know; None for who was never there."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT u.id, (SELECT max(d.last_seen_at) FROM devices d WHERE d.user_id = u.id)"
            " FROM unnest(%s::uuid[]) AS u (id) LEFT JOIN user_settings s ON s.user_id = u.id"
            " LEFT JOIN user_settings mine ON mine.user_id = %s"
            " WHERE u.id = %s OR coalesce(s.share_last_seen, true) AND coalesce(mine.share_last_seen, true)"
            " AND NOT EXISTS (SELECT 1 FROM blocks k WHERE k.user_id = u.id AND k.blocked_id = %s"
            " OR k.user_id = %s AND k.blocked_id = u.id)",
            [list(user_ids), viewer_id, viewer_id, viewer_id, viewer_id],
        )
        return dict(cursor.fetchall())


def is_presence_shared(user_id: UUID, conversation_id: UUID) -> bool:
    """Whether the user is shown as present in the conversation, and is shown who else is."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT coalesce(s.share_last_seen, true) AND NOT {_BLOCKED} FROM conversations c"
            " LEFT JOIN user_settings s ON s.user_id = %s WHERE c.id = %s",
            [user_id, conversation_id],
        )
        row = cursor.fetchone()
        return row is not None and bool(row[0])


def is_typing_passed_on(conversation_id: UUID) -> bool:
    """Whether typing signs reach the other members: not in a direct conversation in which one blocked the other."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT NOT {_BLOCKED} FROM conversations c WHERE c.id = %s", [conversation_id])
        row = cursor.fetchone()
        return row is not None and bool(row[0])
