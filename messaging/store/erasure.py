"""Erasing what was deleted for everyone or expired: the tombstone keeps its seq, and nothing of what was said.

Always under the conversation's lock, in one transaction with the system entry that tells of it (docs/protocol.md §8.7).
"""

from collections.abc import Sequence
from uuid import UUID

from django.db.backends.utils import CursorWrapper

from messaging.store.media import media_links_remove

# Its edits and the reactions to it go with a message. `edit_id` of a tombstone is the entry that erased it.
_ERASE = """
UPDATE messages SET content = ''::bytea, metadata = '{}', signature = NULL, media_id = NULL, edited_at = NULL,
    ttl_after_read = NULL, edit_id = CASE WHEN target_id IS NULL THEN %s::uuid END, is_deleted = true,
    delete_for_everyone = %s
WHERE id = ANY(%s::uuid[]) OR target_id = ANY(%s::uuid[])"""

# Whose cursor passed the message while their user could see it; the sender's own devices are not counted. A row a
# message and not one a device: with 1,000 members the 100 messages of one `message_expired` entry are 100 rows.
_REACHED = """
INSERT INTO message_erasures (message_id, device_ids)
SELECT m.id, array_agg(d.device_id ORDER BY d.device_id) FROM messages m
JOIN device_cursors d ON d.conversation_id = m.conversation_id AND d.acked_seq >= m.seq
JOIN devices v ON v.id = d.device_id AND v.user_id <> m.sender_id
JOIN members b ON b.conversation_id = m.conversation_id AND b.user_id = v.user_id
WHERE m.id = ANY(%s::uuid[]) AND NOT m.withheld AND NOT m.is_deleted AND (
    m.seq BETWEEN b.joined_seq AND coalesce(b.left_seq, m.seq) OR EXISTS (
        SELECT 1 FROM member_spans s WHERE s.conversation_id = b.conversation_id AND s.user_id = b.user_id
        AND m.seq BETWEEN s.from_seq AND s.to_seq))
GROUP BY m.id ON CONFLICT DO NOTHING"""


def messages_erase(
    cursor: CursorWrapper, message_ids: Sequence[UUID], *, erased_by: UUID | None, for_everyone: bool
) -> None:
    """Erase messages of one locked conversation: content, metadata, signatures, media links, all versions, reactions.

    `erased_by` is the system entry that tells of it; None where nobody is left to be told. The devices that the
    messages had reached by now are written down: a device that comes to their places later never had them.
    """
    ids = list(message_ids)
    if erased_by is not None:
        cursor.execute(_REACHED, [ids])
    cursor.execute(_ERASE, [erased_by, for_everyone, ids, ids])
    cursor.execute("DELETE FROM reactions WHERE message_id = ANY(%s::uuid[])", [ids])
    media_links_remove(cursor, ids)
