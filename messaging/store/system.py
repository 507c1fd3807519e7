"""System entries that other services ask for (specification §8)."""

from typing import Any
from uuid import UUID

from django.db import connection, transaction

from messaging.events import NOBODY, Entry, SendOutcome
from messaging.store.locked import append_system, conversation_lock
from whispr.kernel.errors import ClientRandomReused, NotFound


def system_entry_append(conversation_id: UUID, by: UUID, event: str, details: dict[str, Any]) -> Entry:
    """Append a system entry. Raises NotFound where there is no such conversation, or it is deleted."""
    with transaction.atomic(), connection.cursor() as cursor:
        locked = conversation_lock(cursor, conversation_id)
        if locked is None or locked.deleted_at is not None:
            raise NotFound
        return append_system(cursor, locked, by=by, event=event, details=details)


def system_entry_append_once(
    number: int, fingerprint: bytes, conversation_id: UUID, by: UUID, event: str, details: dict[str, Any]
) -> tuple[SendOutcome, Entry | None]:
    """Append a system entry unless nobody's key `number` has carried the same before; the entry where it is new.

    The key is a deduplication key like those of sends: its sender is nobody, who has no token and sends nothing else.
    Raises NotFound as `system_entry_append`, and ClientRandomReused where the key carried another fingerprint.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        locked = conversation_lock(cursor, conversation_id)
        # After the lock, in a snapshot that has what the holder before wrote.
        cursor.execute(
            "SELECT fingerprint, message_id, seq, sent_at FROM send_keys WHERE sender_id = %s AND client_random = %s",
            [NOBODY, number],
        )
        if (known := cursor.fetchone()) is not None:
            if bytes(known[0]) != fingerprint:
                raise ClientRandomReused
            return SendOutcome("duplicate", known[1], conversation_id, known[2], known[3]), None
        if locked is None or locked.deleted_at is not None:
            raise NotFound
        entry = append_system(cursor, locked, by=by, event=event, details=details)
        cursor.execute(
            "INSERT INTO send_keys (message_id, sender_id, client_random, fingerprint, conversation_id, seq, sent_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (sender_id, client_random) DO NOTHING",
            [entry.message_id, NOBODY, number, fingerprint, conversation_id, entry.seq, entry.sent_at],
        )
        if not cursor.rowcount:  # taken meanwhile, in another conversation: this transaction leaves nothing
            raise ClientRandomReused
    return SendOutcome("sent", entry.message_id, conversation_id, entry.seq, entry.sent_at), entry
