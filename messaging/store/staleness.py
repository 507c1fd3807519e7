"""What changed for a sender who encrypted for members of before (docs/protocol.md §6, `stale_membership`)."""

from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

import psycopg

from whispr.kernel.errors import StaleMembership

# Of so many users the change is told one by one, 8 KB; beyond, the client asks for the devices as they are.
CHANGED_MAX = 100

# Not what was before the sender's own joining: who left then is nothing that the sender may know.
_CHANGED = """
SELECT b.user_id::text, b.left_seq IS NULL FROM members b
JOIN members me ON me.conversation_id = b.conversation_id AND me.user_id = %b
WHERE b.conversation_id = %b AND b.changed_version > greatest(%b, me.changed_version)
ORDER BY b.changed_version, b.user_id LIMIT %b"""


class Stamped(Protocol):
    """A send that says for which members it was encrypted."""

    @property
    def conversation_id(self) -> UUID:
        """The conversation."""

    @property
    def sender_id(self) -> UUID:
        """Who sends."""

    @property
    def members_version(self) -> int | None:
        """The version that the client knew."""


def add_changes(cursor: psycopg.Cursor[Any], items: Sequence[Stamped], outcomes: Sequence[object]) -> None:
    """Add to each StaleMembership among `outcomes` who came and who went since its item's version.

    `details` becomes `{membersVersion, added: [userId], removed: [userId]}`: who is a member now and joined since, who
    is none and left since. Without `added` and `removed`, over CHANGED_MAX users, the client asks for all devices.
    Under the conversation's lock, so that the change is that of `membersVersion`.
    """
    known: dict[tuple[UUID, UUID, int], dict[str, list[str]]] = {}
    for item, outcome in zip(items, outcomes, strict=True):
        if not isinstance(outcome, StaleMembership) or outcome.details is None or item.members_version is None:
            continue
        key = (item.sender_id, item.conversation_id, item.members_version)
        if key not in known:
            known[key] = _changes(cursor, *key)
        outcome.details |= known[key]


def _changes(cursor: psycopg.Cursor[Any], sender_id: UUID, conversation_id: UUID, version: int) -> dict[str, list[str]]:
    cursor.execute(_CHANGED, (sender_id, conversation_id, version, CHANGED_MAX + 1), prepare=True, binary=True)
    rows = cursor.fetchall()
    if len(rows) > CHANGED_MAX:
        return {}
    return {"added": [user for user, here in rows if here], "removed": [user for user, here in rows if not here]}
