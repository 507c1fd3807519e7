"""The steps of messages' ways: written in batches, read for the sender, purged (docs/protocol.md §7 `trace`)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection

# A message to 1,000 members with several devices each: what a page can show of it.
STEPS_MAX = 2_000


class TraceRow(NamedTuple):
    """One step, as noted by the process that took it."""

    message_id: UUID
    step: str
    at: datetime
    process: str
    device_id: UUID | None


class Place(NamedTuple):
    """Where a message is in its log, and when it was committed."""

    conversation_id: UUID
    seq: int
    sent_at: datetime
    sender_id: UUID


def trace_insert(rows: Sequence[TraceRow]) -> None:
    """Write steps."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO trace_events (message_id, step, at, process, device_id)"
            " SELECT * FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::text[], %s::uuid[])",
            list(map(list, zip(*rows, strict=True))),
        )


def get_place(message_id: UUID) -> Place | None:
    """The place of a message; whose it is, is not asked here."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT conversation_id, seq, sent_at, sender_id FROM messages WHERE id = %s", [message_id])
        row = cursor.fetchone()
    return None if row is None else Place(*row)


def list_steps(message_id: UUID) -> list[TraceRow]:
    """The steps that were kept, the oldest first, at most `STEPS_MAX`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT message_id, step, at, process, device_id FROM trace_events WHERE message_id = %s"
            " ORDER BY at, id LIMIT %s",
            [message_id, STEPS_MAX],
        )
        return [TraceRow(*row) for row in cursor.fetchall()]


def trace_purge(kept_seconds: int, limit: int) -> int:
    """Delete, of the `limit` oldest steps (by primary key), those older than `kept_seconds`; how many."""
    before = datetime.now(UTC) - timedelta(seconds=kept_seconds)
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM trace_events WHERE id IN ("
            " SELECT o.id FROM (SELECT id, at FROM trace_events ORDER BY id LIMIT %s) o WHERE o.at < %s)",
            [limit, before],
        )
        return int(cursor.rowcount)
