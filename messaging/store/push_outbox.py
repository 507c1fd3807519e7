"""What of a batch of sends goes to the outbox of pushes (docs/decisions/0016-push-outbox.md)."""

from collections.abc import Iterable
from uuid import UUID

from messaging.events import Entry, WithheldEntry


def pushable(entries: Iterable[Entry]) -> tuple[list[UUID], list[int]]:
    """The conversations that got messages (no changes, nothing withheld), and the first new seq of each.

    They become one row for the whole batch: whom it concerns is asked later, when most have acknowledged.
    """
    first: dict[UUID, int] = {}
    for entry in entries:
        if entry.target is None and entry.type != "system" and not isinstance(entry, WithheldEntry):
            first.setdefault(entry.conversation_id, entry.seq)
    return list(first), list(first.values())
