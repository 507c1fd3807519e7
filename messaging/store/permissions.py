"""What is known here of who may send to a conversation: what the user service is asked with, and what holds while it is
away (specification §9.1, docs/protocol.md "Services around it").
"""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from django.db import connection

from messaging.store import blocks

# Blocks that the user service knows of are its own; how many is its own matter.
_NO_LIMIT = 2**31


class SendFacts(msgspec.Struct, frozen=True):
    """A conversation, as one of its members sends to it.

    `peer_id` is the other one of a direct conversation, `is_blocked` whether that one blocks the sender here.
    """

    member_ids: tuple[UUID, ...]
    peer_id: UUID | None
    is_blocked: bool


_FACTS = """
SELECT (SELECT array_agg(m.user_id) FROM members m WHERE m.conversation_id = c.id AND m.left_seq IS NULL),
       p.peer_id,
       (SELECT 1 FROM blocks x WHERE x.user_id = p.peer_id AND x.blocked_id = me.user_id) IS NOT NULL
FROM members me JOIN conversations c ON c.id = me.conversation_id
CROSS JOIN LATERAL (SELECT CASE split_part(c.direct_key, ':', 1)::uuid WHEN me.user_id
    THEN split_part(c.direct_key, ':', 2)::uuid ELSE split_part(c.direct_key, ':', 1)::uuid END AS peer_id) p
WHERE me.conversation_id = %s AND me.user_id = %s AND me.left_seq IS NULL AND c.deleted_at IS NULL"""


def get_send_facts(conversation_id: UUID, sender_id: UUID) -> SendFacts | None:
    """The facts; None where the sender is not a member, whether or not there is such a conversation."""
    with connection.cursor() as cursor:
        cursor.execute(_FACTS, [conversation_id, sender_id])
        row = cursor.fetchone()
    return None if row is None else SendFacts(tuple(row[0]), row[1], row[2])


def list_unwilling(sender_id: UUID, user_ids: Sequence[UUID]) -> frozenset[UUID]:
    """Who of the users blocks the sender."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT user_id FROM blocks WHERE blocked_id = %s AND user_id = ANY(%s)", [sender_id, list(user_ids)]
        )
        return frozenset(row[0] for row in cursor.fetchall())


def block_follow(user_id: UUID, blocked_id: UUID, blocked: bool) -> None:
    """Have the block here that the user service has, or none: it is in force now, and as last known later."""
    if blocked:
        blocks.block_set(user_id, blocked_id, _NO_LIMIT)
    else:
        blocks.block_remove(user_id, blocked_id)
