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


def messages_erase(
    cursor: CursorWrapper, message_ids: Sequence[UUID], *, erased_by: UUID | None, for_everyone: bool
) -> None:
    """Erase messages of one locked conversation: content, metadata, signatures, media links, all versions, reactions.

    `erased_by` is the system entry that tells of it; None where nobody is left to be told.
    """
    ids = list(message_ids)
    cursor.execute(_ERASE, [erased_by, for_everyone, ids, ids])
    cursor.execute("DELETE FROM reactions WHERE message_id = ANY(%s::uuid[])", [ids])
    media_links_remove(cursor, ids)
