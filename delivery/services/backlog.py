"""What waits for workers and for staff, measured for `/metrics` (docs/operations.md "Metrics")."""

from dataclasses import dataclass

from delivery.store.backlog import list_due
from delivery.store.dead_letters import count_waiting
from delivery.store.reconcile_runs import get_last_run
from whispr.kernel import database


@dataclass(frozen=True, slots=True)
class Backlog:
    """`waiting`: rows whose time has come and seconds since the oldest's, by work; dead letters by kind."""

    waiting: dict[str, tuple[int, float]]
    dead_letters: dict[str, int]
    reconcile_found: dict[str, int]  # of the last complete pass, by check
    reconcile_age: float | None  # seconds since it ended; None where there was none


def list_backlog() -> Backlog:
    """Measure. For a thread that may wait. Raises what `database.call` raises."""
    return database.call(_measure)


def _measure() -> Backlog:
    last = get_last_run()
    return Backlog(list_due(), count_waiting(), last.found if last else {}, last.age_seconds if last else None)
