"""What waits in PostgreSQL for a worker: how much, and for how long the oldest of it (docs/operations.md "Metrics").

Each part is an index's first rows, counted to COUNT_MAX, so that a large backlog costs no more to look at than a small.
"""

from django.db import connection

COUNT_MAX = 1_000

# work: the times since which its rows are due, the longest due first; all of it in the order of an index.
_DUE = {
    "expiry": "SELECT expires_at AS due FROM messages WHERE expires_at <= now() AND NOT is_deleted"
    " AND message_type IN ('text', 'media', 'ephemeral') ORDER BY expires_at",
    "scheduled": "SELECT scheduled_for AS due FROM scheduled_messages WHERE state = 'scheduled'"
    " AND scheduled_for <= now() ORDER BY scheduled_for",
    "media_link": "SELECT next_try_at AS due FROM media_links WHERE (linked_at IS NULL OR removed_at IS NOT NULL)"
    " AND next_try_at <= now() ORDER BY next_try_at",
    "push_outbox": "SELECT at AS due FROM push_outbox ORDER BY id",
    "push": "SELECT due_at AS due FROM push_states WHERE due_at <= now() ORDER BY due_at",
}


def list_due() -> dict[str, tuple[int, float]]:
    """By work: how many rows are due (COUNT_MAX at most), and seconds since the oldest of them is."""
    parts = [
        f"SELECT '{work}', count(*), coalesce(extract(epoch FROM now() - min(due)), 0)"
        f" FROM ({rows} LIMIT {COUNT_MAX}) AS due_rows"
        for work, rows in _DUE.items()
    ]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts))
        return {work: (int(count), float(seconds)) for work, count, seconds in cursor.fetchall()}
