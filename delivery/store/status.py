"""What became of one message at each of its recipients (docs/protocol.md §7 `messages/{id}/delivery`)."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from django.db import connection

from messaging.events import DeliveryView, ErasureView
from messaging.store.privacy import TELLS
from whispr.kernel.limits import LIMITS

# Who did not get the message `m` by now never will, or not in time: it expired or was deleted, or it waited for longer
# than LIMITS.delivery_timeout_seconds (specification §4.2, the way from pending to expired).
_OVER = """(m.is_deleted OR coalesce(m.expires_at <= clock_timestamp(), false)
    OR m.sent_at <= clock_timestamp() - make_interval(secs => %s))"""

# The message, if the caller sent it and still is a member: who was removed learns nothing more of the conversation.
_OWN = f"""
SELECT m.conversation_id, m.seq, {TELLS}, {_OVER} FROM messages m
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


# The devices that had the message when it was erased, and of these, those whose cursor passed the entry that erased it.
_ERASED = """
SELECT cardinality(r.device_ids), (SELECT count(*) FROM device_cursors d WHERE d.device_id = ANY(r.device_ids)
    AND d.conversation_id = m.conversation_id AND d.acked_seq >= e.seq)
FROM messages m JOIN message_erasures r ON r.message_id = m.id JOIN messages e ON e.id = m.edit_id WHERE m.id = %s"""

# Of what expired and is not erased yet: the devices whose cursor passed the message while their user could see it. The
# sender's own are not counted.
_REACHED = """
SELECT count(*), 0 FROM messages m
JOIN device_cursors d ON d.conversation_id = m.conversation_id AND d.acked_seq >= m.seq
JOIN devices v ON v.id = d.device_id AND v.user_id <> m.sender_id
JOIN members b ON b.conversation_id = m.conversation_id AND b.user_id = v.user_id
WHERE m.id = %s AND NOT m.withheld AND NOT m.is_deleted AND (
    m.seq BETWEEN b.joined_seq AND coalesce(b.left_seq, m.seq) OR EXISTS (
        SELECT 1 FROM member_spans s WHERE s.conversation_id = b.conversation_id AND s.user_id = b.user_id
        AND m.seq BETWEEN s.from_seq AND s.to_seq))"""


def get_erasure(message_id: UUID) -> ErasureView | None:
    """On how many devices a message was and is erased; None while it lives. Whose message it is, is not asked here.

    Reached are the devices that had acknowledged the message's place when it was deleted, or erased as expired (within
    a minute of its time); erased are those of them that acknowledged the entry that says so. A device that came there
    only afterwards never had it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT is_deleted OR coalesce(expires_at <= clock_timestamp(), false) FROM messages WHERE id = %s",
            [message_id],
        )
        row = cursor.fetchone()
        if row is None or not row[0]:
            return None
        cursor.execute(_ERASED, [message_id])
        erased = cursor.fetchone()
        if erased is None:
            cursor.execute(_REACHED, [message_id])
            erased = cursor.fetchone()
        return ErasureView(*erased)


def list_delivery(user_id: UUID, message_id: UUID) -> list[DeliveryView] | None:
    """The status at each recipient of a message that `user_id` sent, by user id; None for any other message.

    A recipient whom it did not reach is `pending`, or `expired` once it is gone or its delivery timed out; who comes
    back after the timeout gets it all the same, and it is `delivered` then. From the statuses' rows; where the message
    has none (a group above `LIMITS.status_rows_max`), from the members'
    watermarks, which know no times. A sender who does not tell what they read sees `delivered` at most.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OWN, [LIMITS.delivery_timeout_seconds, message_id, user_id])
        place = cursor.fetchone()
        if place is None:
            return None
        conversation_id, seq, may_learn, over = place
        cursor.execute(_ROWS, [message_id])
        rows = cursor.fetchall()
        if rows:
            return [_of_times(user, delivered, read if may_learn else None, over) for user, delivered, read in rows]
        cursor.execute(_WATERMARKS, [seq, seq, seq, conversation_id, user_id, seq, seq, seq])
        return [
            _of_watermarks(user, delivered, read and may_learn, over) for user, delivered, read in cursor.fetchall()
        ]


def _of_times(user_id: UUID, delivered_at: datetime | None, read_at: datetime | None, over: bool) -> DeliveryView:
    status = _status(delivered_at is not None, read_at is not None, over)
    return DeliveryView(user_id, status, delivered_at, read_at)


def _of_watermarks(user_id: UUID, delivered: bool, read: bool, over: bool) -> DeliveryView:
    return DeliveryView(user_id, _status(delivered, read, over), None, None)


def _status(delivered: bool, read: bool, over: bool) -> Literal["pending", "delivered", "read", "expired"]:
    if read:
        return "read"
    if delivered:
        return "delivered"
    return "expired" if over else "pending"
