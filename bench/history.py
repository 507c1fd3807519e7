"""What the clients of a load test saw, in the form that `python -m tests.chaos.checker` reads (docs/reliability.md).

Off unless `--history FILE` asks for it: a workload that measures writes nothing.
"""

import itertools
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from bench.check import StoredEntry

EMPTY = "e3b0c44298fc1c149afbf4c8996fb924"  # the first half of SHA-256 of nothing


class Record:
    """One file; a line an operation. Times are perf_counter's, as everywhere in bench."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=1024 * 1024)
        self._ids = itertools.count(1)
        self._zero = time.time() - time.perf_counter()

    def note(self, when: float, op: str, phase: str, **fields: Any) -> None:
        """Write one line."""
        self._file.write(msgspec.json.encode({"time": when + self._zero, "op": op, "phase": phase, **fields}) + b"\n")

    def request(self, op: str, began: float, ended: float, fields: dict[str, Any], answer: dict[str, Any]) -> None:
        """Write a request that was answered ok."""
        number = next(self._ids)
        self.note(began, op, "invoke", id=number, **fields)
        self.note(ended, op, "ok", id=number, **fields, **answer)

    def stored(self, entries: Iterable["StoredEntry"], heads: Iterable[tuple[Any, int]]) -> None:
        """Write what the database holds at the end, as a reading of everything."""
        numbers = {}
        for conversation, head in heads:
            number = numbers[conversation] = next(self._ids)
            about: dict[str, Any] = {"id": number, "conversation": str(conversation), "note": "final"}
            self.note(time.perf_counter(), "fetch", "invoke", **about)
            self.note(time.perf_counter(), "fetch", "ok", **about, seq=head)
        for entry in entries:
            digest = entry.digest.hex()[:32]
            more: dict[str, Any] = {"hash": digest} if digest != EMPTY else {}
            if entry.client_random is None:
                more |= {"type": "system", "event": "stored"}
            else:
                more |= {"type": "text", "clientRandom": entry.client_random}
            self.note(
                time.perf_counter(),
                "view",
                "ok",
                id=numbers[entry.conversation_id],
                conversation=str(entry.conversation_id),
                seq=entry.seq,
                messageId=str(entry.message_id),
                sender=str(entry.sender_id),
                sentAt=entry.sent_at.isoformat(),
                **more,
            )

    def close(self) -> None:
        """Write what waits, and the end."""
        self.note(time.perf_counter(), "end", "ok")
        self._file.close()


record: Record | None = None


def begin(path: Path) -> None:
    """From here on, write."""
    global record
    record = Record(path)
