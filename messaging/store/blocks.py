"""Blocks: who wants nothing from whom (docs/protocol.md §7 `blocks`), and what of two people's doings they keep apart.

In force is what stands in `blocks`: a send reads it under its conversation's lock (messaging/store/log.py).
"""

from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from messaging.events import BlockedUser
from whispr.kernel.errors import BadRequest

_FIRST, _SECOND = (f"split_part(c.direct_key, ':', {part})::uuid" for part in (1, 2))

# Whether a block stands between the two of the direct conversation `c`, either way; in a group it ends at once. Scalar
# subqueries: PostgreSQL may turn an EXISTS into a hash of the whole table.
HUSHED = f"""(c.direct_key IS NOT NULL AND (
    (SELECT 1 FROM blocks x WHERE x.user_id = {_FIRST} AND x.blocked_id = {_SECOND}) IS NOT NULL
    OR (SELECT 1 FROM blocks x WHERE x.user_id = {_SECOND} AND x.blocked_id = {_FIRST}) IS NOT NULL))"""

# How far the member `m` of the conversation `c` received, as the member `me` is shown it: while a block stands between
# the two of a direct conversation, as far as when it began.
DELIVERED_SHOWN = """least(m.delivered_seq, CASE WHEN c.direct_key IS NOT NULL THEN (
    SELECT min(CASE WHEN x.user_id = m.user_id THEN x.delivered_seq ELSE x.blocked_delivered_seq END) FROM blocks x
    WHERE x.user_id = m.user_id AND x.blocked_id = me.user_id OR x.user_id = me.user_id AND x.blocked_id = m.user_id)
END)"""

_FREEZE = """
UPDATE blocks x SET delivered_seq = b.delivered_seq, blocked_delivered_seq = o.delivered_seq
FROM members b JOIN members o ON o.conversation_id = b.conversation_id
WHERE x.user_id = %s AND x.blocked_id = %s AND b.conversation_id = %s AND b.user_id = x.user_id
AND o.user_id = x.blocked_id"""


def list_blocks(user_id: UUID, limit: int, below: UUID | None = None) -> list[BlockedUser]:
    """Whom the user blocked, the greatest id first, those with an id less than `below`, at most `limit`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT blocked_id, blocked_at FROM blocks WHERE user_id = %s AND (%s::uuid IS NULL OR blocked_id < %s)"
            " ORDER BY blocked_id DESC LIMIT %s",
            [user_id, below, below, limit],
        )
        return [BlockedUser(*row) for row in cursor.fetchall()]


def block_set(user_id: UUID, blocked_id: UUID, limit: int) -> bool:
    """Block a user: True where this began it. Raises BadRequest where the user blocks `limit` others already.

    When it returns, every send that did not see the block is committed: who sends holds the conversation's lock from
    before it looks at the blocks until its commit, and this takes the lock after the block is there.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM blocks WHERE user_id = %s AND blocked_id <> %s", [user_id, blocked_id])
        if cursor.fetchone()[0] >= limit:
            raise BadRequest(f"A user blocks at most {limit} others.")
        cursor.execute(
            "INSERT INTO blocks (user_id, blocked_id, blocked_at) VALUES (%s, %s, clock_timestamp())"
            " ON CONFLICT DO NOTHING",
            [user_id, blocked_id],
        )
        began = bool(cursor.rowcount)
        conversation_id = _lock_direct(cursor, user_id, blocked_id)
        if began and conversation_id is not None:
            cursor.execute(_FREEZE, [user_id, blocked_id, conversation_id])
    if conversation_id is None:
        # It may have been made meanwhile, and used by a send that looked before the commit above.
        with transaction.atomic(), connection.cursor() as cursor:
            _lock_direct(cursor, user_id, blocked_id)
    return began


def block_remove(user_id: UUID, blocked_id: UUID) -> bool:
    """End a block: True where there was one. What was withheld stays withheld."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM blocks WHERE user_id = %s AND blocked_id = %s", [user_id, blocked_id])
        return bool(cursor.rowcount)


def _lock_direct(cursor: CursorWrapper, user_id: UUID, other_id: UUID) -> UUID | None:
    key = ":".join(sorted((str(user_id), str(other_id))))
    cursor.execute("SELECT id FROM conversations WHERE direct_key = %s FOR NO KEY UPDATE", [key])
    row = cursor.fetchone()
    return None if row is None else row[0]
