"""System entries that other services ask for (specification §8)."""

from typing import Any
from uuid import UUID

from django.db import connection, transaction

from messaging.events import Entry
from messaging.store.locked import append_system, conversation_lock
from whispr.kernel.errors import NotFound


def system_entry_append(conversation_id: UUID, by: UUID, event: str, details: dict[str, Any]) -> Entry:
    """Append a system entry. Raises NotFound where there is no such conversation, or it is deleted."""
    with transaction.atomic(), connection.cursor() as cursor:
        locked = conversation_lock(cursor, conversation_id)
        if locked is None or locked.deleted_at is not None:
            raise NotFound
        return append_system(cursor, locked, by=by, event=event, details=details)
