"""bench/check.py: each fault is found, alone and by its name, and what is right passes."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from bench.check import StoredEntry, StoredReceipt, list_entry_faults, list_receipt_faults
from bench.ledger import Ledger, Place, Promise, digest_of

START = datetime(2026, 1, 1, tzinfo=UTC)
CONVERSATION, SENDER, RECIPIENT, DEVICE = (UUID(int=n) for n in range(1, 5))
PLACE = Place(CONVERSATION, RECIPIENT, DEVICE)


def a_log(count: int = 5) -> tuple[Ledger, list[StoredEntry], dict[UUID, int]]:
    """A system entry, then `count - 1` messages; what was promised and what is stored agree."""
    ledger = Ledger(conversations={CONVERSATION})
    stored = []
    for seq in range(1, count + 1):
        id_, at, digest = uuid4(), START + timedelta(microseconds=seq), digest_of(b"content %d" % seq)
        client_random = None if seq == 1 else 1000 + seq
        stored.append(StoredEntry(id_, CONVERSATION, seq, SENDER, client_random, digest, at, int(seq > 1)))
        if client_random is not None:
            ledger.promises.append(Promise(id_, CONVERSATION, SENDER, seq, client_random, digest, at))
    return ledger, stored, {CONVERSATION: count}


def test_what_is_right_passes_in_any_order() -> None:
    ledger, stored, heads = a_log()
    assert list_entry_faults(ledger, reversed(stored), heads) == []


def test_an_acknowledged_message_that_is_lost() -> None:
    ledger, stored, heads = a_log()
    del stored[4]
    faults = list_entry_faults(ledger, stored, heads | {CONVERSATION: 4})
    assert len(faults) == 1
    assert "an acknowledged message is not there exactly once (1)" in faults[0]
    assert str(ledger.promises[3].message_id) in faults[0]


def test_a_hole_in_the_log() -> None:
    ledger, stored, heads = a_log()
    lost = stored.pop(2)
    ledger.promises = [promise for promise in ledger.promises if promise.message_id != lost.message_id]
    faults = list_entry_faults(ledger, stored, heads)
    assert any("seq has a gap or a double (1)" in fault and "4 in place 3" in fault for fault in faults)
    assert any("last_seq is not the number of entries (1)" in fault for fault in faults)


def test_a_message_stored_twice() -> None:
    ledger, stored, heads = a_log()
    again = stored[2]._replace(message_id=uuid4(), seq=6, sent_at=START + timedelta(seconds=1))
    faults = list_entry_faults(ledger, [*stored, again], heads | {CONVERSATION: 6})
    assert len(faults) == 1
    assert f"a message is stored that nobody was told of (1): {again.message_id}" in faults[0]


def test_a_message_whose_reply_never_came_may_be_stored_or_not() -> None:
    ledger, stored, heads = a_log()
    untold = ledger.promises.pop()
    ledger.unanswered.add((untold.sender_id, untold.client_random))
    assert list_entry_faults(ledger, stored, heads) == []
    assert list_entry_faults(ledger, stored[:-1], {CONVERSATION: 4}) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"digest": digest_of(b"other")}, "a content was altered"),
        ({"client_random": 1}, "a message is under another key"),
        ({"sender_id": RECIPIENT}, "a message is under another key"),
        ({"keys": 0}, "a message has not exactly one send key"),
        ({"keys": 2}, "a message has not exactly one send key"),
        ({"sent_at": START + timedelta(microseconds=3, seconds=1)}, "sent_at is not what the reply said"),
        ({"sent_at": START + timedelta(microseconds=2)}, "sent_at does not increase"),
    ],
)
def test_one_altered_field(change: dict[str, Any], fault: str) -> None:
    ledger, stored, heads = a_log()
    stored[2] = stored[2]._replace(**change)
    assert any(fault in found for found in list_entry_faults(ledger, stored, heads))


def test_messages_in_each_other_s_place() -> None:
    ledger, stored, heads = a_log()
    second, third = stored[1], stored[2]
    stored[1], stored[2] = second._replace(message_id=third.message_id), third._replace(message_id=second.message_id)
    faults = list_entry_faults(ledger, stored, heads)
    assert any("a message is not where its reply said (2)" in fault for fault in faults)


def test_two_replies_with_one_seq() -> None:
    ledger, stored, heads = a_log()
    ledger.promises[1] = ledger.promises[1]._replace(seq=2)
    assert any("two replies named the same seq (1)" in fault for fault in list_entry_faults(ledger, stored, heads))


def test_a_conversation_that_is_gone() -> None:
    ledger, _, _ = a_log()
    faults = list_entry_faults(ledger, [], {})
    assert any("a conversation is gone (1)" in fault for fault in faults)
    assert any("not there exactly once (4)" in fault for fault in faults)


def test_many_faults_of_a_kind_are_one_line() -> None:
    ledger, stored, heads = a_log(50)
    stored = [entry._replace(digest=b"") for entry in stored]
    (line,) = list_entry_faults(ledger, stored, heads)
    assert line.startswith("a content was altered (49): ")
    assert line.count(";") == 4


RIGHT = StoredReceipt(PLACE, entries=9, delivered=9, delivered_seq=10, acked_seq=10)


def test_a_receipt_that_is_held() -> None:
    ledger = Ledger(received={PLACE: 10})
    assert list_receipt_faults(ledger, [RIGHT]) == []


def test_a_receipt_never_goes_backwards_in_the_ledger() -> None:
    ledger = Ledger()
    for up_to in (3, 10, 7):
        ledger.receive(PLACE, up_to)
    assert ledger.received == {PLACE: 10}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"delivered": 8}, "statuses are not delivered that were acknowledged"),
        ({"delivered_seq": 9}, "the member's watermark is behind"),
        ({"acked_seq": 9}, "the device's cursor is behind"),
    ],
)
def test_a_receipt_that_is_not_held(change: dict[str, Any], fault: str) -> None:
    (line,) = list_receipt_faults(Ledger(received={PLACE: 10}), [RIGHT._replace(**change)])
    assert line.startswith(f"{fault} (1): ")


def test_a_receipt_that_left_nothing() -> None:
    other = RIGHT._replace(place=PLACE._replace(device_id=UUID(int=9)))
    (line,) = list_receipt_faults(Ledger(received={PLACE: 10}), [other])
    assert line.startswith("an acknowledgement left nothing (1): ")
