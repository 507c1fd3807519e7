"""What a block does to the log of a direct conversation, on a real PostgreSQL (the reliability catalogue I16, row
43)."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction

from delivery.models import DeliveryStatus
from delivery.store.receipts import NewReceipt, receipts_write
from messaging.events import NOBODY, BlankEntry, WithheldEntry
from messaging.models import Block, Device, Message
from messaging.store.blocks import block_remove, block_set, list_blocks
from messaging.store.conversations import conversation_create, conversation_update, get_conversation
from messaging.store.entries import Position, get_entry, get_log_page, list_entries_between, list_history
from messaging.store.locked import conversation_lock
from messaging.store.log import Appended, NewEntry, entries_append
from messaging.store.members import list_receipts
from whispr.kernel import database
from whispr.kernel.errors import BadRequest, InvalidTarget
from whispr.kernel.ids import new_id

pytestmark = pytest.mark.django_db
randoms = itertools.count(1)
LIMIT = 100


def direct_of(one: UUID, other: UUID) -> UUID:
    return conversation_create(one, "direct", [one, other], b"{}", None).view.id


def send(conversation_id: UUID, sender: UUID, **fields: Any) -> Appended:
    values = {
        "message_id": new_id(),
        "conversation_id": conversation_id,
        "sender_id": sender,
        "sender_device_id": uuid4(),
        "type": "text",
        "content": b"secret",
        "metadata": b"{}",
        "client_random": next(randoms),
        "fingerprint": b"f",
    } | fields
    (outcome,) = entries_append([NewEntry(**values)])
    assert isinstance(outcome, Appended), outcome
    return outcome


def receive(conversation_id: UUID, user: UUID, up_to: int, *, read: bool = False) -> list[str]:
    """Acknowledge; what was told, and to whom."""
    device = Device.objects.create(user_id=user)
    (recorded,) = receipts_write([NewReceipt(user, device.id, conversation_id, up_to, read)])
    return [f"{one.receipt.status} {'self' if one.to_user_id == user else 'other'}" for one in recorded.updates]


def seen(user: UUID, conversation_id: UUID) -> list[tuple[int, str, bytes, str]]:
    entries = get_log_page(user, [Position(conversation_id, 0)], 100, 2**30).entries
    return [(entry.seq, entry.type, entry.content, bytes(entry.metadata).decode()) for entry in entries]


def test_what_a_blocked_user_sends_is_their_own_alone_to_see():
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(bob, ann)
    before = send(conversation_id, bob)
    assert block_set(ann, bob, LIMIT) is True
    one = send(conversation_id, bob)
    back = send(conversation_id, ann)
    assert one.outcome == type(one.outcome)("sent", one.entry.message_id, conversation_id, 3, one.entry.sent_at)
    assert [type(out.entry) for out in (before, one, back)] == [type(before.entry), WithheldEntry, type(before.entry)]
    assert [entry[2] for entry in seen(bob, conversation_id)] == [b"", b"secret", b"secret", b"secret"]
    mine = seen(ann, conversation_id)
    assert [entry[0] for entry in mine] == [1, 2, 3, 4]  # without a hole
    assert mine[2] == (3, "system", b"", '{"event":"withheld"}')
    assert [entry[2] for entry in mine] == [b"", b"secret", b"", b"secret"]


def test_every_reading_gives_the_blocker_a_blank():
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(ann, bob)
    block_set(ann, bob, LIMIT)
    sent = send(conversation_id, bob, signature=b"s" * 64, metadata=b'{"a":1}').outcome
    blanks = [
        get_log_page(ann, [Position(conversation_id, 1)], 10, 2**30).entries[0],
        list_history(ann, conversation_id, None, None, 10, 2**30)[0][-1],
        get_entry(ann, sent.message_id),
    ]
    for blank in blanks:
        assert (blank.message_id, blank.seq, blank.sent_at) == (sent.message_id, 2, sent.sent_at)
        assert (blank.sender_id, blank.sender_device_id, blank.type, blank.content) == (NOBODY, None, "system", b"")
        assert (blank.signature, blank.client_random, blank.media_id) == (None, None, None)
        assert bytes(blank.metadata) == b'{"event":"withheld"}'
    assert isinstance(blanks[0], BlankEntry)
    assert get_entry(bob, sent.message_id).content == b"secret"
    (passed_on,) = list_entries_between(conversation_id, 1, 2)
    assert isinstance(passed_on, WithheldEntry)


def test_the_blocker_has_nothing_unread_of_it_and_cannot_answer_it():
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(ann, bob)
    block_set(ann, bob, LIMIT)
    sent = send(conversation_id, bob).outcome
    assert get_conversation(ann, conversation_id).unread == 0
    reply = NewEntry(
        new_id(), conversation_id, ann, uuid4(), "text", b"x", b"{}", next(randoms), b"f", reply_to=sent.message_id
    )
    (refused,) = entries_append([reply])
    assert isinstance(refused, InvalidTarget)
    assert send(conversation_id, bob, reply_to=sent.message_id).outcome.status == "sent"


def test_a_duplicate_is_answered_as_ever():
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(ann, bob)
    block_set(ann, bob, LIMIT)
    first = send(conversation_id, bob, client_random=7).outcome
    again = send(conversation_id, bob, client_random=7).outcome
    assert (again.status, again.message_id, again.seq) == ("duplicate", first.message_id, first.seq)


def test_after_the_block_new_messages_come_and_the_withheld_stay_so():
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(ann, bob)
    block_set(ann, bob, LIMIT)
    old = send(conversation_id, bob).outcome
    assert block_remove(ann, bob) is True
    assert block_remove(ann, bob) is False
    send(conversation_id, bob)
    assert [entry[2] for entry in seen(ann, conversation_id)] == [b"", b"", b"secret"]
    # What is said of a withheld message is withheld too.
    edit = send(conversation_id, bob, type="edit", target=old.message_id, content=b"edited secret")
    assert isinstance(edit.entry, WithheldEntry)
    assert b"edited secret" not in [entry[2] for entry in seen(ann, conversation_id)]


def test_edits_and_reactions_of_a_blocked_user_change_nothing_for_the_blocker():
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(ann, bob)
    mine, theirs = send(conversation_id, ann).outcome, send(conversation_id, bob).outcome
    block_set(ann, bob, LIMIT)
    send(conversation_id, bob, type="edit", target=theirs.message_id, content=b"edited")
    reaction = {"type": "reaction", "target": mine.message_id, "content": b"", "emoji": "x"}
    send(conversation_id, bob, **reaction, metadata=b'{"emoji":"x"}')
    assert [entry[2] for entry in seen(ann, conversation_id)] == [b"", b"secret", b"secret", b"", b""]
    assert get_entry(ann, theirs.message_id).content == b"secret"
    assert get_entry(bob, theirs.message_id).content == b"edited"
    assert get_entry(ann, mine.message_id).reactions == ()
    assert [one.emoji for one in get_entry(bob, mine.message_id).reactions] == ["x"]


def test_a_reaction_from_before_the_block_stays_beside_one_from_after_it():
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(ann, bob)
    mine = send(conversation_id, ann).outcome
    reaction = {"type": "reaction", "target": mine.message_id, "content": b""}
    send(conversation_id, bob, **reaction, emoji="x", metadata=b'{"emoji":"x"}')
    block_set(ann, bob, LIMIT)
    send(conversation_id, bob, **reaction, emoji="y", metadata=b'{"emoji":"y"}')
    assert [one.emoji for one in get_entry(ann, mine.message_id).reactions] == ["x"]
    assert [one.emoji for one in get_entry(bob, mine.message_id).reactions] == ["x", "y"]


def test_groups_are_not_concerned():
    ann, bob = uuid4(), uuid4()
    conversation_id = conversation_create(ann, "group", [ann, bob], b"{}", None).view.id
    block_set(ann, bob, LIMIT)
    send(conversation_id, bob)
    assert seen(ann, conversation_id)[-1][2] == b"secret"
    assert receive(conversation_id, ann, 2) == ["delivered other"]


def test_no_receipt_passes_between_the_two():
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(ann, bob)
    send(conversation_id, bob)  # 2
    assert receive(conversation_id, ann, 2) == ["delivered other"]
    block_set(ann, bob, LIMIT)
    withheld = send(conversation_id, bob).outcome  # 3
    mine = send(conversation_id, ann).outcome  # 4
    assert receive(conversation_id, ann, 4, read=True) == ["read self"]
    assert receive(conversation_id, bob, 4, read=True) == ["read self"]
    statuses = DeliveryStatus.objects.filter(message__in=[withheld.message_id, mine.message_id])
    assert set(statuses.values_list("delivered_at", "read_at")) == {(None, None)}
    assert {one.user_id: (one.delivered_seq, one.read_seq) for one in list_receipts(bob, conversation_id)} == {
        ann: (2, 0),  # as it was when the block began
        bob: (4, 4),
    }
    assert {one.user_id: (one.delivered_seq, one.read_seq) for one in list_receipts(ann, conversation_id)} == {
        ann: (4, 4),
        bob: (0, 0),
    }


def test_what_was_withheld_is_never_told_as_delivered():
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(ann, bob)
    block_set(ann, bob, LIMIT)
    withheld = send(conversation_id, bob).outcome
    block_remove(ann, bob)
    after = send(conversation_id, bob).outcome
    receive(conversation_id, ann, 3)
    rows = {row.message_id: row.delivered_at for row in DeliveryStatus.objects.filter(user_id=ann)}
    assert rows[withheld.message_id] is None
    assert rows[after.message_id] is not None


def test_blocks_are_listed_bounded_and_set_once():
    ann, others = uuid4(), sorted((uuid4() for _ in range(3)), reverse=True)
    assert [block_set(ann, other, 3) for other in others] == [True] * 3
    assert block_set(ann, others[0], 3) is False
    with pytest.raises(BadRequest):
        block_set(ann, uuid4(), 3)
    assert [one.user_id for one in list_blocks(ann, 2)] == others[:2]
    assert [one.user_id for one in list_blocks(ann, 2, others[1])] == others[2:]
    assert list_blocks(others[0], 2) == []
    assert Block.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_a_block_waits_for_the_send_that_did_not_see_it():
    """Whoever sends holds the lock from before its look at the blocks: ok(block) comes after that commit."""
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(ann, bob)
    holds, go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            conversation_lock(cursor, conversation_id)
            holds.set()
            assert go.wait(10)

    with ThreadPoolExecutor(2) as threads:
        sending = threads.submit(database.call, hold)
        assert holds.wait(10)
        blocking = threads.submit(database.call, block_set, ann, bob, LIMIT)
        with pytest.raises(TimeoutError):
            blocking.result(0.3)
        go.set()
        sending.result(10)
        assert blocking.result(10) is True


@pytest.mark.django_db(transaction=True)
def test_nothing_committed_after_the_block_is_delivered():
    """A sender that never pauses, against a block: all entries after ok(block) are blanks to the blocker."""
    for _ in range(10):
        ann, bob = uuid4(), uuid4()
        conversation_id = direct_of(ann, bob)
        stop = threading.Event()

        def run(conversation_id: UUID = conversation_id, bob: UUID = bob, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                database.call(send, conversation_id, bob)

        with ThreadPoolExecutor(1) as threads:
            sending = threads.submit(run)
            while not Message.objects.filter(conversation=conversation_id, sender_id=bob, seq__gt=3).exists():
                pass
            database.call(block_set, ann, bob, LIMIT)
            head = Message.objects.filter(conversation=conversation_id).order_by("-seq")[0].seq
            while not Message.objects.filter(conversation=conversation_id, seq__gt=head + 3).exists():
                pass
            stop.set()
            sending.result(10)
        entries = get_log_page(ann, [Position(conversation_id, 0)], 10_000, 2**30).entries
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        blanks = [isinstance(entry, BlankEntry) for entry in entries]
        assert blanks == sorted(blanks)  # none before, none but blanks after
        assert all(blanks[head:])
        assert len(entries) > head


# --- settings


def chosen_by(user: UUID, conversation_id: UUID, **change: Any) -> tuple[dict[str, Any], tuple[Any, ...]]:
    view, entries = conversation_update(user, conversation_id, change)
    return view.settings, entries


def test_settings_of_a_blocked_user_are_their_own_alone_to_see():
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(ann, bob)
    chosen_by(ann, conversation_id, color="red")
    block_set(ann, bob, LIMIT)
    settings, (entry,) = chosen_by(bob, conversation_id, ttl=60, color="blue")
    assert settings == {"color": "blue", "ttl": 60}  # as ever
    assert isinstance(entry, WithheldEntry)
    assert chosen_by(bob, conversation_id, ttl=60) == (settings, ())
    assert get_conversation(bob, conversation_id).settings == settings
    assert get_conversation(ann, conversation_id).settings == {"color": "red"}
    assert seen(ann, conversation_id)[-1] == (3, "system", b"", '{"event":"withheld"}')
    assert '"conversation_updated"' in seen(bob, conversation_id)[-1][3].replace(" ", "")


def test_the_timer_of_a_blocked_user_counts_for_what_they_send_alone():
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(ann, bob)
    chosen_by(ann, conversation_id, ttl=3_600)
    block_set(ann, bob, LIMIT)
    chosen_by(bob, conversation_id, ttl=60)
    sent = send(conversation_id, bob).outcome
    assert (sent.expires_at - sent.sent_at).total_seconds() == 60
    back = send(conversation_id, ann).outcome
    assert (back.expires_at - back.sent_at).total_seconds() == 3_600
    chosen_by(bob, conversation_id, ttl=None)
    assert send(conversation_id, bob).outcome.expires_at is None


def test_the_next_settings_that_nobody_withholds_replace_them():
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(ann, bob)
    block_set(ann, bob, LIMIT)
    chosen_by(bob, conversation_id, color="blue")
    # Between two that block nobody, the same choice again reaches the other.
    block_remove(ann, bob)
    settings, (entry,) = chosen_by(bob, conversation_id, color="blue")
    assert not isinstance(entry, WithheldEntry)
    assert get_conversation(ann, conversation_id).settings == settings == {"color": "blue"}
    block_set(ann, bob, LIMIT)
    chosen_by(bob, conversation_id, color="green")
    _, (entry,) = chosen_by(ann, conversation_id, color="red")
    assert not isinstance(entry, WithheldEntry)  # the blocker is not withheld
    assert get_conversation(bob, conversation_id).settings == {"color": "red"}


def test_who_chose_not_to_tell_while_blocked_does_not_tell_afterwards():
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(ann, bob)
    block_set(ann, bob, LIMIT)
    chosen_by(bob, conversation_id, readReceipts=False)
    block_remove(ann, bob)
    sent = send(conversation_id, ann).outcome
    assert receive(conversation_id, bob, sent.seq, read=True) == ["delivered other", "read self"]
    assert {one.user_id: one.read_seq for one in list_receipts(ann, conversation_id)}[bob] == 0
