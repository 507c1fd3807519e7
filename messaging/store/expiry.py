"""Expired messages are erased and their conversations told (docs/protocol.md §8.7).

That nobody reads them is the filter's work in every read, to the microsecond; this takes the bytes away.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from uuid import UUID

from django.db import connection, transaction

from messaging.events import NOBODY, Entry
from messaging.store.erasure import messages_erase
from messaging.store.locked import append_system, conversation_lock
from whispr.kernel.failpoints import hit

# Messages that one `message_expired` entry names: 100 ids are 3.9 KiB of metadata.
MESSAGES_PER_ENTRY = 100


def list_due(limit: int, but_not: Collection[UUID] = ()) -> dict[UUID, list[UUID]]:
    """Messages that expired and still have their content, the longest expired first, by conversation.

    `but_not` are conversations to pass over.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conversation_id, id FROM messages WHERE expires_at <= statement_timestamp() AND NOT is_deleted"
            " AND message_type IN ('text', 'media', 'ephemeral') AND conversation_id <> ALL(%s::uuid[])"
            " ORDER BY expires_at LIMIT %s",
            [list(but_not), limit],
        )
        due: defaultdict[UUID, list[UUID]] = defaultdict(list)
        for conversation_id, message_id in cursor.fetchall():
            due[conversation_id].append(message_id)
        return dict(due)


def messages_expire(conversation_id: UUID, message_ids: Sequence[UUID], patient: bool) -> tuple[Entry, ...] | None:
    """Erase those of the messages that are expired and not erased yet: one `message_expired` entry for each
    `MESSAGES_PER_ENTRY` of them. None where somebody else has the conversation and `patient` is false.

    A deleted conversation's messages are erased without an entry: nobody is left to be told.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if not patient:
            cursor.execute("SELECT 1 FROM conversations WHERE id = %s FOR NO KEY UPDATE SKIP LOCKED", [conversation_id])
            if cursor.fetchone() is None:
                return None
        locked = conversation_lock(cursor, conversation_id)
        if locked is None:
            return ()
        # Looked at again under the lock: a second worker finds them erased, a deletion may have come first.
        cursor.execute(
            "SELECT id, withheld FROM messages WHERE id = ANY(%s::uuid[]) AND conversation_id = %s AND NOT is_deleted"
            " AND expires_at <= clock_timestamp() ORDER BY seq FOR NO KEY UPDATE",
            [list(message_ids), conversation_id],
        )
        rows = cursor.fetchall()
        hit("expiry.after_claim")
        # What a block keeps from the other one is erased in silence: an entry would name it.
        silent = [row[0] for row in rows if row[1] or locked.deleted_at is not None]
        told = [row[0] for row in rows if row[0] not in set(silent)]
        if silent:
            messages_erase(cursor, silent, erased_by=None, for_everyone=False)
        entries: list[Entry] = []
        for start in range(0, len(told), MESSAGES_PER_ENTRY):
            ids = told[start : start + MESSAGES_PER_ENTRY]
            details = {"messageIds": [str(message_id) for message_id in ids]}
            entry = append_system(cursor, locked, by=NOBODY, event="message_expired", details=details)
            messages_erase(cursor, ids, erased_by=entry.message_id, for_everyone=False)
            entries.append(entry)
        hit("expiry.before_commit")
        return tuple(entries)
