"""The program with one guarantee broken: each mutant must turn its invariant red, or the checker is blind.

A mutant is a patch of a copy of the source: the program itself has no switch for it. A text that is not found exactly
once fails loudly, here and in a quick test, so that mutants follow the source.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# What a copy of the program is made of.
PARTS = ("whispr", "messaging", "delivery", "trust", "integrations", "manage.py", "sdk/apps/web/dist")


@dataclass(frozen=True)
class Change:
    """One exact text and what stands in its place."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A broken guarantee, the faults under which it shows, and the invariants of which one must be violated."""

    name: str
    what: str
    caught_by: tuple[str, ...]
    faults: tuple[str, ...]
    changes: tuple[Change, ...]


_LATE = """
_late: dict[int, threading.Thread] = {}


def _commit_late(raw: psycopg.Connection[Any]) -> None:
    def commit() -> None:
        time.sleep(0.5)
        if not raw.closed:
            raw.execute("COMMIT")

    thread = _late[id(raw)] = threading.Thread(target=commit)
    thread.start()


@contextmanager
def pipelined() -> Iterator[psycopg.Connection[Any]]:
"""

MUTANTS = (
    Mutant(
        "reply-before-commit",
        "the answer is given half a second before COMMIT",
        ("I1",),
        ("F3", "F8"),
        (
            Change(
                "whispr/kernel/database.py",
                "\n@contextmanager\ndef pipelined() -> Iterator[psycopg.Connection[Any]]:\n",
                _LATE,
            ),
            Change("whispr/kernel/database.py", "import random\n", "import random\nimport threading\n"),
            Change(
                "whispr/kernel/database.py",
                '            psycopg.Cursor(raw).execute("BEGIN")\n',
                "            late = _late.pop(id(raw), None)\n            late and late.join()\n"
                '            psycopg.Cursor(raw).execute("BEGIN")\n',
            ),
            Change(
                "whispr/kernel/database.py",
                '            psycopg.Cursor(raw).execute("COMMIT")\n',
                "        _commit_late(raw)\n",
            ),
        ),
    ),
    Mutant(
        "seq-from-a-sequence",
        "seq comes from a counter beside the transaction, which no rollback takes back",
        ("I6", "I7"),
        ("F14",),
        (
            Change(
                "messaging/store/locked.py",
                "        self.last_seq += 1\n",
                "        self.last_seq = max(self.last_seq, _drawn.get(self.id, 0)) + 1\n"
                "        _drawn[self.id] = self.last_seq\n",
            ),
            Change(
                "messaging/store/locked.py",
                "\n@cache\ndef is_chained",
                "\n_drawn: dict[UUID, int] = {}\n\n\n@cache\ndef is_chained",
            ),
        ),
    ),
    Mutant(
        "order-by-now",
        "sentAt is the transaction's beginning, and is not made to increase",
        ("I9",),
        ("F3", "F13"),
        (
            Change(
                "messaging/store/log_statements.py",
                "SELECT clock_timestamp(), m.id IS NOT NULL,",
                "SELECT now(), m.id IS NOT NULL,",
            ),
            Change(
                "messaging/store/locked.py",
                "            now = self.last_sent_at + TICK\n",
                "            pass\n",
            ),
        ),
    ),
    Mutant(
        "dedup-in-redis-only",
        "who sent what under which key is not asked of PostgreSQL",
        ("I4",),
        ("F1", "F3"),
        (
            Change(
                "messaging/store/log_statements.py",
                "LEFT JOIN LATERAL (SELECT * FROM send_keys k WHERE k.sender_id = i.sender_id"
                " AND k.client_random = i.client_random\n                   LIMIT 1) k ON true",
                "LEFT JOIN LATERAL (SELECT * FROM send_keys k WHERE false LIMIT 1) k ON true",
            ),
            Change(
                "messaging/store/log_statements.py",
                "conversation_id, seq, sent_at, expires_at FROM fresh\n), statuses",
                "conversation_id, seq, sent_at, expires_at FROM fresh\n    ON CONFLICT DO NOTHING\n), statuses",
            ),
        ),
    ),
    Mutant(
        "no-sweep",
        "work that a dead worker had claimed is never taken over",
        ("I20", "I22", "I23"),
        ("F24",),
        (
            Change(
                "messaging/store/scheduled_firing.py",
                "(claimed_until IS NULL OR claimed_until <= now())",
                "claimed_until IS NULL",
            ),
        ),
    ),
    Mutant(
        "no-expiry-filter",
        "expired messages are read until a worker erases them",
        ("I14",),
        ("F3", "F25"),
        (
            Change(
                "messaging/store/entries.py",
                '_DEAD = "m.is_deleted OR coalesce(m.expires_at <= clock_timestamp(), false)"',
                '_DEAD = "m.is_deleted"',
            ),
        ),
    ),
    Mutant(
        "membership-outside-the-lock",
        "who is a member is remembered for a few seconds",
        ("I15",),
        ("F22", "F25"),
        (
            Change(
                "messaging/store/log.py",
                "        conversation = self.locked.get(item.conversation_id)\n        if conversation is None and",
                "        import time\n\n        member = (item.conversation_id, item.sender_id)\n"
                "        if is_member:\n            _known[member] = time.monotonic()\n"
                "        is_member = time.monotonic() - _known.get(member, -9.0) < 3.0\n"
                "        conversation = self.locked.get(item.conversation_id)\n        if conversation is None and",
            ),
            Change(
                "messaging/store/log.py",
                "\nclass _Batch:\n",
                "\n_known: dict[tuple[UUID, UUID], float] = {}\n\n\nclass _Batch:\n",
            ),
        ),
    ),
    Mutant(
        "no-head-check",
        "nobody compares what was passed on with the log",
        ("I7", "I22"),
        ("F19",),
        (
            Change(
                "messaging/fanout/bus.py",
                "SECONDS)\n            try:\n                await self.check_heads()\n",
                "SECONDS)\n            continue\n            try:\n                await self.check_heads()\n",
            ),
        ),
    ),
    Mutant(
        "last-receipt-wins",
        "a receipt sets the watermark instead of raising it",
        ("I12", "I23"),
        ("F40",),
        (
            Change(
                "delivery/store/receipts.py",
                "        self.new_delivered = max(self.new_delivered, self.delivered_seq, item.up_to)\n",
                "        self.new_delivered = item.up_to\n",
            ),
            Change(
                "delivery/store/receipts.py",
                "        self.new_read = max(self.new_read, self.read_seq, item.up_to if item.read else 0)\n",
                "        self.new_read = item.up_to if item.read else min(self.read_seq, item.up_to)\n",
            ),
            Change(
                "delivery/store/receipts.py",
                "            else self.public_read_seq\n",
                "            else min(self.public_read_seq, self.new_read)\n",
            ),
            Change(
                "delivery/store/receipts.py",
                "        return self.new_delivered > self.delivered_seq or self.new_read > self.read_seq\n",
                "        return self.new_delivered != self.delivered_seq or self.new_read != self.read_seq\n",
            ),
        ),
    ),
)
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


class Stale(Exception):
    """The source changed: the mutant's text is not there, or not once."""


def apply(mutant: Mutant, tree: Path) -> None:
    """Patch a copy of the source. Raises Stale."""
    for change in mutant.changes:
        path = tree / change.file
        text = path.read_text()
        if text.count(change.old) != 1:
            raise Stale(f"{mutant.name}: {change.file} has {text.count(change.old)} times {change.old[:70]!r}")
        path.write_text(text.replace(change.old, change.new))


@contextmanager
def copied(root: Path = ROOT) -> Iterator[Path]:
    """A copy of the program, which goes with the block."""
    with tempfile.TemporaryDirectory(prefix="whispr-mutant-") as place:
        tree = Path(place)
        tree.chmod(0o755)
        for part in PARTS:
            if (root / part).is_dir():
                shutil.copytree(root / part, tree / part)  # with what is compiled: a change has another time
            elif (root / part).exists():
                (tree / part).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / part, tree / part)
        yield tree
