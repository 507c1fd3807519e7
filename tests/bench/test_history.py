"""A load test's history is one that the checker reads, and what it says is judged."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from bench.check import StoredEntry
from bench.history import Record
from tests.chaos.checker import check
from tests.chaos.history import read

ROOM, ANN, MESSAGE = uuid4(), uuid4(), uuid4()
DIGEST = bytes(range(32))
SENT_AT = datetime(2030, 1, 1, tzinfo=UTC)


def written(path: Path, *stored: StoredEntry) -> dict[str, str]:
    record = Record(path)
    about = {"user": str(ANN), "device": "d", "socket": 1, "conversation": str(ROOM), "clientRandom": 5}
    answer = {"messageId": str(MESSAGE), "seq": 1, "sentAt": SENT_AT.isoformat(), "status": "sent"}
    record.request("send", 1.0, 1.5, about | {"hash": DIGEST.hex()[:32], "type": "text"}, answer)
    record.stored(stored, [(ROOM, len(stored))])
    record.close()
    return {verdict.id: verdict.state for verdict in check(read(path))}


def test_what_was_promised_and_is_stored_is_good(tmp_path: Path):
    verdicts = written(tmp_path / "h", StoredEntry(MESSAGE, ROOM, 1, ANN, 5, DIGEST, SENT_AT, 1))
    assert {verdicts[name] for name in ("I1", "I2", "I3", "I4", "I5", "I6", "I8", "I21")} == {"ok"}


def test_a_promise_that_is_not_stored_is_a_loss(tmp_path: Path):
    other = StoredEntry(uuid4(), ROOM, 1, ANN, 6, DIGEST, SENT_AT, 1)
    verdicts = written(tmp_path / "h", other)
    assert verdicts["I1"] == "violated"
    assert verdicts["I2"] == "violated"


def test_another_content_is_a_phantom(tmp_path: Path):
    verdicts = written(tmp_path / "h", StoredEntry(MESSAGE, ROOM, 1, ANN, 5, bytes(32), SENT_AT, 1))
    assert verdicts["I2"] == "violated"
