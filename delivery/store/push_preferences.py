"""Who wants pushes, in standalone mode: the table `push_preferences` (docs/protocol.md §7 `settings`)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction

from delivery.events import PushCandidate, PushPreference
from whispr.kernel.errors import BadRequest, NotFound


class Choice(NamedTuple):
    """What was chosen for all conversations, or for one: pushes at all, and none until a moment."""

    enabled: bool = True
    muted_until: datetime | None = None


def list_push_preferences(candidates: Sequence[PushCandidate]) -> list[PushPreference]:
    """Whether each wants a push now, in their order; who chose nothing does. A mute of either kind is enough."""
    if not candidates:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT bool_and(coalesce(p.enabled AND (p.muted_until IS NULL OR p.muted_until <= clock_timestamp()),"
            " true)) FROM unnest(%s::uuid[], %s::uuid[]) WITH ORDINALITY AS c(user_id, conversation_id, place)"
            " LEFT JOIN push_preferences p ON p.user_id = c.user_id"
            " AND (p.conversation_id IS NULL OR p.conversation_id = c.conversation_id)"
            " GROUP BY c.place ORDER BY c.place",
            [[one.user_id for one in candidates], [one.conversation_id for one in candidates]],
        )
        wanted = [row[0] for row in cursor.fetchall()]
    return [
        PushPreference(one.user_id, one.conversation_id, wants) for one, wants in zip(candidates, wanted, strict=True)
    ]


def get_push_choices(user_id: UUID) -> dict[UUID | None, Choice]:
    """What the user chose: for all under None, and for conversations; mutes that are over are left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conversation_id, enabled, muted_until FROM push_preferences WHERE user_id = %s"
            " AND (NOT enabled OR muted_until > clock_timestamp()) ORDER BY conversation_id NULLS FIRST",
            [user_id],
        )
        return {row[0]: Choice(row[1], row[2]) for row in cursor.fetchall()}


def push_choices_set(user_id: UUID, choices: Mapping[UUID | None, Choice], limit: int) -> bool:
    """Set the user's choice for each (None: for all conversations); the default is no row. True where any changed.

    Raises NotFound for a conversation that the user is not in, BadRequest beyond `limit` conversations.
    """
    before = get_push_choices(user_id)
    conversations = sorted(key for key in choices if key is not None)
    with transaction.atomic(), connection.cursor() as cursor:
        # One writer of a user's choices at a time, so that the limit holds.
        cursor.execute("INSERT INTO user_settings (user_id) VALUES (%s) ON CONFLICT DO NOTHING", [user_id])
        cursor.execute("SELECT 1 FROM user_settings WHERE user_id = %s FOR NO KEY UPDATE", [user_id])
        cursor.execute(
            "SELECT count(*) FROM members WHERE user_id = %s AND conversation_id = ANY(%s::uuid[])"
            " AND left_seq IS NULL",
            [user_id, conversations],
        )
        if cursor.fetchone()[0] < len(conversations):
            raise NotFound
        cursor.execute(
            "DELETE FROM push_preferences WHERE user_id = %s AND (conversation_id = ANY(%s::uuid[])"
            " OR conversation_id IS NULL AND %s OR muted_until <= clock_timestamp() AND enabled)",
            [user_id, conversations, None in choices],
        )
        kept = [(key, *choice) for key, choice in choices.items() if choice != Choice()]
        cursor.execute(
            "INSERT INTO push_preferences (user_id, conversation_id, enabled, muted_until)"
            " SELECT %s, * FROM unnest(%s::uuid[], %s::boolean[], %s::timestamptz[])",
            [user_id, [row[0] for row in kept], [row[1] for row in kept], [row[2] for row in kept]],
        )
        cursor.execute(
            "SELECT count(*) FROM push_preferences WHERE user_id = %s AND conversation_id IS NOT NULL", [user_id]
        )
        if cursor.fetchone()[0] > limit:
            raise BadRequest(f"At most {limit} conversations may have preferences of their own.")
    return get_push_choices(user_id) != before
