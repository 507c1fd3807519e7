"""Dead letters: the rows of what failed too often to be tried again by itself (docs/operations.md "Dead letters")."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from django.db import connection, transaction

Settled = Literal["requeued", "discarded", "gone"]
# As long as the columns.
KIND_CHARS, KEY_CHARS, CODE_CHARS, DETAIL_CHARS = 32, 128, 64, 200


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What failed (`kind` and `key` name its row), how (`code`), and how often it became a dead letter."""

    id: int
    kind: str
    key: str
    code: str
    failures: int


def dead_letter_write(kind: str, key: str, code: str, detail: str = "") -> None:
    """Note that the row `key` of `kind` is not tried any more; in the caller's transaction, where there is one.

    Again it is the same letter, which waits again. `code` is an error's code and `detail` the name of its type or of a
    step: never its text, which may hold what a client wrote.
    """
    plain = "".join(char for char in detail if char.isprintable())
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO dead_letters AS d (kind, key, code, detail, state, failures, first_at, last_at, settled_by)"
            " VALUES (%s, %s, %s, %s, 'waiting', 1, clock_timestamp(), clock_timestamp(), '')"
            " ON CONFLICT (kind, key) DO UPDATE SET code = excluded.code, detail = excluded.detail, state = 'waiting',"
            " failures = d.failures + 1, last_at = excluded.last_at, settled_at = NULL, settled_by = ''",
            [kind[:KIND_CHARS], key[:KEY_CHARS], code[:CODE_CHARS], plain[:DETAIL_CHARS]],
        )


def list_waiting(ids: Sequence[int]) -> list[DeadLetter]:
    """Those of the letters that still wait for a decision."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, kind, key, code, failures FROM dead_letters WHERE id = ANY(%s::bigint[])"
            " AND state = 'waiting' ORDER BY id",
            [list(ids)],
        )
        return [DeadLetter(*row) for row in cursor.fetchall()]


def dead_letters_settle(ids: Sequence[int], state: Settled, by: str) -> int:
    """Note what was decided of letters that wait, and by whom; of how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE dead_letters SET state = %s, settled_at = clock_timestamp(), settled_by = %s"
            " WHERE id = ANY(%s::bigint[]) AND state = 'waiting'",
            [state, by[:150], list(ids)],
        )
        return int(cursor.rowcount)


def count_waiting() -> dict[str, int]:
    """How many letters wait, by kind."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT kind, count(*) FROM dead_letters WHERE state = 'waiting' GROUP BY kind")
        return dict(cursor.fetchall())


def dead_letters_purge(kept_seconds: int, limit: int) -> int:
    """Delete up to `limit` letters that were settled over `kept_seconds` ago; how many. What waits is kept."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters"
            " WHERE settled_at < now() - make_interval(secs => %s) LIMIT %s FOR UPDATE SKIP LOCKED)",
            [kept_seconds, limit],
        )
        return int(cursor.rowcount)
