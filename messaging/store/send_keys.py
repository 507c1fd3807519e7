"""The deduplication keys of sends: their purge after the retention (docs/protocol.md §8.2)."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import connection

# What docs/protocol.md §8.2 promises whatever the retention is set to.
KEPT_SECONDS_MIN = 24 * 3600


def send_keys_purge(retention_seconds: int, limit: int) -> int:
    """Delete up to `limit` keys older than the retention (never younger than 24 hours); how many were deleted.

    Keys are found by their message's id, a UUIDv7, which begins with the time of its send: the oldest end of the
    primary key, no index of its own. `sent_at` is asked as well, for an id that a wrong clock made.
    """
    before = datetime.now(UTC) - timedelta(seconds=max(retention_seconds, KEPT_SECONDS_MIN))
    bound = UUID(int=int(before.timestamp() * 1000) << 80)
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM send_keys WHERE message_id IN ("
            " SELECT message_id FROM send_keys WHERE message_id < %s AND sent_at < %s"
            " ORDER BY message_id LIMIT %s FOR UPDATE SKIP LOCKED)",
            [bound, before, limit],
        )
        return int(cursor.rowcount)
