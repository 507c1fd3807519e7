"""The passes of the reconciliation: how far each is, what it found (docs/operations.md "Reconciliation")."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction

# Of what a pass found, so many are kept by id for the admin; the counts have them all.
EXAMPLES_MAX = 100


@dataclass(slots=True)
class Run:
    """A pass under way, held by this process until its claim runs out; the fields follow the work."""

    id: int
    repairs: bool
    conversation_id: UUID | None
    position: UUID | None
    position_seq: int
    conversations: int = 0
    entries: int = 0
    found: dict[str, int] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last complete pass over everything."""

    found: dict[str, int]
    age_seconds: float


_COLUMNS = (
    "id, repairs, conversation_id, position, position_seq, conversations, entries, found::text, repaired::text,"
    " examples::text"
)


def _run(row: Any) -> Run:
    *plain, found, repaired, examples = row
    return Run(*plain, *(msgspec.json.decode(text) for text in (found, repaired, examples)))


def run_begin(repairs: bool, conversation_id: UUID | None) -> Run:
    """Begin a pass that somebody asked for."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO reconcile_runs (started_at, repairs, conversation_id) VALUES (clock_timestamp(), %s, %s)"
            f" RETURNING {_COLUMNS}",
            [repairs, conversation_id],
        )
        return _run(cursor.fetchone())


def run_claim(interval_seconds: int, lease_seconds: float, repairs: bool) -> Run | None:
    """The scheduled pass to go on with, for `lease_seconds`; a new one where the last began `interval_seconds` ago.

    None where another process holds it, or none is due: two beats do nothing twice.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO reconcile_runs (started_at, repairs, is_scheduled) SELECT clock_timestamp(), %s, true"
            " WHERE NOT EXISTS (SELECT 1 FROM reconcile_runs WHERE is_scheduled"
            "  AND (ended_at IS NULL OR started_at > clock_timestamp() - make_interval(secs => %s)))"
            " ON CONFLICT DO NOTHING",
            [repairs, interval_seconds],
        )
        cursor.execute(
            "UPDATE reconcile_runs SET claimed_until = clock_timestamp() + make_interval(secs => %s) WHERE id = ("
            " SELECT id FROM reconcile_runs WHERE is_scheduled AND ended_at IS NULL"
            " AND (claimed_until IS NULL OR claimed_until <= clock_timestamp()) LIMIT 1 FOR UPDATE SKIP LOCKED)"
            f" RETURNING {_COLUMNS}",
            [lease_seconds],
        )
        row = cursor.fetchone()
        return None if row is None else _run(row)


def run_save(run: Run, lease_seconds: float) -> None:
    """Write how far the pass is, and hold it on; with a lease of 0 somebody else may go on with it."""
    _write(run, "claimed_until = clock_timestamp() + make_interval(secs => %s)", [lease_seconds])


def run_end(run: Run) -> None:
    """The pass is complete."""
    _write(run, "ended_at = clock_timestamp(), claimed_until = NULL", [])


def _write(run: Run, more: str, params: list[float]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE reconcile_runs SET position = %s, position_seq = %s, conversations = %s, entries = %s,"
            f" found = %s::jsonb, repaired = %s::jsonb, examples = %s::jsonb, {more} WHERE id = %s",
            [
                run.position,
                run.position_seq,
                run.conversations,
                run.entries,
                *(msgspec.json.encode(one).decode() for one in (run.found, run.repaired, run.examples[:EXAMPLES_MAX])),
                *params,
                run.id,
            ],
        )


def get_last_run() -> LastRun | None:
    """The last complete pass over everything, scheduled or asked for; None where there was none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT found::text, extract(epoch FROM clock_timestamp() - ended_at) FROM reconcile_runs"
            " WHERE ended_at IS NOT NULL AND conversation_id IS NULL ORDER BY id DESC LIMIT 1"
        )
        row = cursor.fetchone()
        return None if row is None else LastRun(msgspec.json.decode(row[0]), float(row[1]))


def runs_purge(kept_seconds: int) -> int:
    """Delete the passes that ended over `kept_seconds` ago, but for the last; how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM reconcile_runs WHERE ended_at < now() - make_interval(secs => %s)"
            " AND id < (SELECT max(id) FROM reconcile_runs WHERE ended_at IS NOT NULL)",
            [kept_seconds],
        )
        return int(cursor.rowcount)
