"""The links of the hash chain, for who checks it (docs/protocol.md "Hash chain")."""

from collections.abc import Sequence
from uuid import UUID

from django.db import connection

from messaging.events import Entry


def list_links(entries: Sequence[Entry]) -> dict[UUID, bytes]:
    """The hash of each entry that has one, by message. Who may see the entries is not asked here."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, chain_hash FROM messages WHERE id = ANY(%s::uuid[]) AND chain_hash IS NOT NULL",
            [[entry.message_id for entry in entries]],
        )
        return {row[0]: bytes(row[1]) for row in cursor.fetchall()}
