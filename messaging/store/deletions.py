"""Deleting a message: for everyone by its author, or for oneself (docs/protocol.md §2 `delete_message`)."""

from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from messaging.events import Entry, WithheldEntry
from messaging.store.erasure import messages_erase
from messaging.store.locked import append_system, conversation_lock
from messaging.store.targets import MESSAGES
from whispr.kernel.errors import Forbidden, InvalidTarget, NotFound

# A message that the user may see, in a span that is over as well. What is withheld from a user is not there for them.
_SEEN = """
SELECT m.conversation_id, m.sender_id, m.message_type, b.left_seq IS NULL AND c.deleted_at IS NULL
FROM messages m JOIN conversations c ON c.id = m.conversation_id
JOIN members b ON b.conversation_id = m.conversation_id AND b.user_id = %s
WHERE m.id = %s AND (NOT m.withheld OR m.sender_id = b.user_id) AND (
    m.seq >= b.joined_seq AND (b.left_seq IS NULL OR m.seq <= b.left_seq) OR EXISTS (
        SELECT 1 FROM member_spans s WHERE s.conversation_id = m.conversation_id AND s.user_id = b.user_id
        AND m.seq BETWEEN s.from_seq AND s.to_seq))"""


def message_delete(user_id: UUID, message_id: UUID) -> tuple[Entry, ...]:
    """Erase a message of the caller's for everyone: one `message_deleted` entry, none where it is erased already.

    Raises NotFound for who may not see it or is no member any more, InvalidTarget for what is no message (an edit, a
    reaction, a system entry), Forbidden for anybody but its author.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        conversation_id = _access(cursor, user_id, message_id)
        locked = conversation_lock(cursor, conversation_id)
        assert locked is not None  # the message refers to it
        _access(cursor, user_id, message_id)  # again: who was a member before the lock may not be one now
        cursor.execute("SELECT is_deleted, withheld FROM messages WHERE id = %s FOR NO KEY UPDATE", [message_id])
        is_deleted, withheld = cursor.fetchone()
        if is_deleted:
            return ()
        details = {"messageId": str(message_id), "by": str(user_id)}
        entry = append_system(cursor, locked, by=user_id, event="message_deleted", details=details)
        messages_erase(cursor, [message_id], erased_by=entry.message_id, for_everyone=True)
        if withheld:  # who was never given the message does not hear of its end either
            cursor.execute("UPDATE messages SET withheld = true WHERE id = %s", [entry.message_id])
            entry = WithheldEntry.of(entry)
        return (entry,)


def _access(cursor: CursorWrapper, user_id: UUID, message_id: UUID) -> UUID:
    cursor.execute(_SEEN, [user_id, message_id])
    row = cursor.fetchone()
    if row is None or not row[3]:
        raise NotFound
    conversation_id: UUID = row[0]
    if row[2] not in MESSAGES:
        raise InvalidTarget
    if row[1] != user_id:
        raise Forbidden("Only its author deletes a message for everyone.")
    return conversation_id


def message_hide(user_id: UUID, message_id: UUID) -> UUID | None:
    """Delete a message for the caller alone; its conversation, or None where it was hidden before.

    Raises NotFound for who may not see it, InvalidTarget for what is no message.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_SEEN, [user_id, message_id])
        row = cursor.fetchone()
        if row is None:
            raise NotFound
        if row[2] not in MESSAGES:
            raise InvalidTarget
        cursor.execute(
            "INSERT INTO hidden_messages (user_id, message_id, hidden_at) VALUES (%s, %s, clock_timestamp())"
            " ON CONFLICT DO NOTHING",
            [user_id, message_id],
        )
        conversation_id: UUID = row[0]
        return conversation_id if cursor.rowcount else None


def list_hidden(user_id: UUID, conversation_id: UUID | None, limit: int) -> list[tuple[UUID, UUID]]:
    """(conversation, message) of what the user hid, in one conversation or in all; the last hidden first, at most
    `limit`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT m.conversation_id, m.id FROM hidden_messages h JOIN messages m ON m.id = h.message_id"
            " WHERE h.user_id = %s AND (%s::uuid IS NULL OR m.conversation_id = %s::uuid)"
            " ORDER BY h.id DESC LIMIT %s",
            [user_id, conversation_id, conversation_id, limit],
        )
        return [(row[0], row[1]) for row in cursor.fetchall()]
