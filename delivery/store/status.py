"""What became of one message at each of its recipients (docs/protocol.md §7 `messages/{id}/delivery`)."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db import connection

from messaging.events import DeliveryView, ErasureView
from messaging.store.privacy import TELLS

# The message, if the caller sent it and still is a member: who was removed learns nothing more of the conversation.
_OWN = f"""
SELECT m.conversation_id, m.seq, {TELLS} FROM messages m
JOIN members b ON b.conversation_id = m.conversation_id AND b.user_id = m.sender_id AND b.left_seq IS NULL
JOIN conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
LEFT JOIN user_settings s ON s.user_id = m.sender_id
WHERE m.id = %s AND m.sender_id = %s AND m.message_type <> 'system'"""

_ROWS = "SELECT user_id, delivered_at, read_at FROM delivery_statuses WHERE message_id = %s ORDER BY user_id"

# Who was a member when it was sent, and how far their watermarks are; what was read while it was not told is not read.
# An entry that removed a member is the last that the member sees, and a member_removed entry is no message: so a span's
# end is never a message of that span.
_WATERMARKS = """
SELECT b.user_id, b.delivered_seq >= %s, b.public_read_seq >= %s AND NOT b.untold @> %s::bigint FROM members b
WHERE b.conversation_id = %s AND b.user_id <> %s AND (
    %s BETWEEN b.joined_seq AND coalesce(b.left_seq, %s)
    OR EXISTS (SELECT 1 FROM member_spans s WHERE s.conversation_id = b.conversation_id AND s.user_id = b.user_id
               AND NOT s.shared AND %s BETWEEN s.from_seq AND s.to_seq))
ORDER BY b.user_id"""


# The devices whose cursor passed the message while their user could see it, and of these, those whose cursor passed the
# entry that erased it. The sender's own are not counted.
_ERASURE = """
SELECT count(*), count(*) FILTER (WHERE d.acked_seq >= e.seq) FROM messages m
LEFT JOIN messages e ON e.id = m.edit_id AND m.is_deleted
JOIN device_cursors d ON d.conversation_id = m.conversation_id AND d.acked_seq >= m.seq
JOIN devices v ON v.id = d.device_id AND v.user_id <> m.sender_id
JOIN members b ON b.conversation_id = m.conversation_id AND b.user_id = v.user_id
WHERE m.id = %s AND NOT m.withheld AND (
    m.seq BETWEEN b.joined_seq AND coalesce(b.left_seq, m.seq) OR EXISTS (
        SELECT 1 FROM member_spans s WHERE s.conversation_id = b.conversation_id AND s.user_id = b.user_id
        AND m.seq BETWEEN s.from_seq AND s.to_seq))"""


def get_erasure(message_id: UUID) -> ErasureView | None:
    """On how many devices a message was and is erased; None while it lives. Whose message it is, is not asked here.

    Derived from the devices' cursors as they are: a device that came to the message's place after it was erased counts
    as reached too, and as erased as soon as it acknowledged the entry that says so.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT is_deleted OR coalesce(expires_at <= clock_timestamp(), false) FROM messages WHERE id = %s",
            [message_id],
        )
        row = cursor.fetchone()
        if row is None or not row[0]:
            return None
        cursor.execute(_ERASURE, [message_id])
        return ErasureView(*cursor.fetchone())


def list_delivery(user_id: UUID, message_id: UUID) -> list[DeliveryView] | None:
    """The status at each recipient of a message that `user_id` sent, by user id; None for any other message.

    From the statuses' rows; where the message has none (a group above `LIMITS.status_rows_max`), from the members'
    watermarks, which know no times. A sender who does not tell what they read sees `delivered` at most.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OWN, [message_id, user_id])
        place = cursor.fetchone()
        if place is None:
            return None
        conversation_id, seq, may_learn = place
        cursor.execute(_ROWS, [message_id])
        rows = cursor.fetchall()
        if rows:
            return [_of_times(user, delivered, read if may_learn else None) for user, delivered, read in rows]
        cursor.execute(_WATERMARKS, [seq, seq, seq, conversation_id, user_id, seq, seq, seq])
        return [_of_watermarks(user, delivered, read and may_learn) for user, delivered, read in cursor.fetchall()]


def _of_times(user_id: UUID, delivered_at: datetime | None, read_at: datetime | None) -> DeliveryView:
    return DeliveryView(user_id, _status(delivered_at, read_at), delivered_at, read_at)


def _of_watermarks(user_id: UUID, delivered: bool, read: bool) -> DeliveryView:
    return DeliveryView(user_id, _status(delivered or None, read or None), None, None)


def _status(delivered: Any, read: Any) -> Literal["sent", "delivered", "read"]:
    return "read" if read is not None else "delivered" if delivered is not None else "sent"
