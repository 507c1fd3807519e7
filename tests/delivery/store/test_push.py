"""The outbox and the states of pushes, when several are at them at once; on a real PostgreSQL."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction

from delivery.events import Push
from delivery.models import DeadLetter, PushLog, PushOutbox, PushState
from delivery.store import push as store
from delivery.store.push_log import push_log_insert
from delivery.store.push_settle import Settlement, pushes_arm, pushes_key, pushes_settle
from messaging.models import Message
from tests.delivery.pushing import acknowledge, direct, group, later, send

pytestmark = pytest.mark.django_db(transaction=True)
ANN = UUID(int=1)
SECONDS = 10.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def in_thread(pool: ThreadPoolExecutor, function, *args):
    def run():
        try:
            return function(*args)
        finally:
            connection.close()

    return pool.submit(run)


@contextmanager
def holding(pool: ThreadPoolExecutor, function, *args) -> Iterator[Any]:
    """What `function` answers in another transaction, which is open meanwhile."""
    done, answers = threading.Event(), []
    began = threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                answers.append(function(*args))
                began.set()
                assert done.wait(SECONDS)
        finally:
            connection.close()

    work = pool.submit(hold)
    assert began.wait(SECONDS)
    try:
        yield answers[0]
    finally:
        done.set()
        work.result(SECONDS)


def test_a_batch_is_one_row_whatever_is_in_it() -> None:
    chat = direct(ANN, uuid4())
    first = send(chat, ANN)
    send(chat, ANN)
    rows = PushOutbox.objects.order_by("id")
    assert [(row.conversation_ids, row.from_seqs) for row in rows] == [
        ([chat], [first.seq]),
        ([chat], [first.seq + 1]),
    ]


def test_no_send_waits_for_who_decides_and_nothing_that_it_adds_is_missed(pool) -> None:
    bob = uuid4()
    chat = direct(ANN, bob)
    send(chat, ANN)
    with holding(pool, store.outbox_take, 0, 15) as taken:
        assert taken == 1
        in_thread(pool, send, chat, ANN).result(SECONDS)
    while store.outbox_take(0, 15):
        pass
    (telling,) = store.pushes_claim(10, 30, 0, 15)
    assert (telling.user_id, telling.waiting) == (bob, 2)


def test_two_claim_different_states(pool) -> None:
    for _ in range(4):
        send(direct(ANN, uuid4()), ANN)
    store.outbox_take(0, 15)
    with holding(pool, store.pushes_claim, 3, 30, 0, 15) as first:
        second = store.pushes_claim(10, 30, 0, 15)
    assert len(first) == 3
    assert len(second) == 1
    assert not {one.id for one in first} & {one.id for one in second}
    assert store.pushes_claim(10, 30, 0, 15) == []


def test_what_is_younger_than_the_grace_stays() -> None:
    send(direct(ANN, uuid4()), ANN)
    assert store.outbox_take(60, 15) == 0
    assert PushOutbox.objects.count() == 1
    later(61)
    assert store.outbox_take(60, 15) == 1


def test_a_young_message_does_not_arm_whom_an_older_one_did_not() -> None:
    bob = uuid4()
    chat = direct(ANN, bob)
    old = send(chat, ANN)
    later(10)
    Message.objects.filter(id=old.message_id).update(sent_at=old.sent_at.replace(year=2020))
    acknowledge(bob, chat, old.seq)
    send(chat, ANN)
    assert store.outbox_take(5, 15) == 1
    assert not PushState.objects.exists()


def test_a_row_that_cannot_be_read_holds_up_no_other_and_is_told_of() -> None:
    spoiled, plain = direct(ANN, uuid4()), direct(ANN, uuid4())
    send(spoiled, ANN)
    PushOutbox.objects.update(from_seqs=[])
    row = PushOutbox.objects.get()
    send(plain, ANN)
    assert store.outbox_take(0, 15) == 2
    assert not PushOutbox.objects.exists()
    assert set(PushState.objects.values_list("conversation_id", flat=True)) == {spoiled, plain}
    assert list(DeadLetter.objects.values_list("kind", "key")) == [("push_outbox", str(row.id))]


def test_large_groups_are_armed_in_parts(monkeypatch) -> None:
    monkeypatch.setattr(store, "MEMBERS_MAX", 3)
    groups = [group(ANN, *(uuid4() for _ in range(4))) for _ in range(3)]
    for chat in groups:
        send(chat, ANN)
    rounds = 0
    while store.outbox_take(0, 15):
        rounds += 1
    assert rounds == 3
    assert PushState.objects.count() == 12
    assert not PushOutbox.objects.exists()


def test_who_is_late_to_settle_settles_nothing() -> None:
    send(direct(ANN, uuid4()), ANN)
    store.outbox_take(0, 15)
    (slow,) = store.pushes_claim(10, 30, 0, 15)
    assert pushes_key([(slow.id, slow.claimed_until, 2)]) == {slow.id}
    later(31)
    (other,) = store.pushes_claim(10, 30, 0, 15)
    assert pushes_key([(slow.id, slow.claimed_until, 2)]) == set()
    done = Settlement(id=slow.id, claimed_until=slow.claimed_until, pushed_seq=2, pushed=True, shown=True)
    assert pushes_settle([done], 15) == 0
    assert PushState.objects.get().claimed_until == other.claimed_until


def test_a_message_during_the_push_is_told_after_the_window() -> None:
    bob = uuid4()
    chat = direct(ANN, bob)
    send(chat, ANN)
    store.outbox_take(0, 15)
    (one,) = store.pushes_claim(10, 30, 0, 15)
    send(chat, ANN)
    store.outbox_take(0, 15)
    assert store.pushes_claim(10, 30, 0, 15) == []
    told = Settlement(id=one.id, claimed_until=one.claimed_until, pushed_seq=one.up_to, pushed=True, shown=True)
    assert pushes_settle([told], 15) == 1
    assert store.pushes_claim(10, 30, 0, 15) == []
    later(16)
    (again,) = store.pushes_claim(10, 30, 0, 15)
    assert (again.told, again.waiting) == (1, 2)


def test_a_socket_that_closes_makes_what_waits_due_and_nothing_else() -> None:
    bob, eve = uuid4(), uuid4()
    for user in (bob, eve):
        send(direct(ANN, user), ANN)
    store.outbox_take(0, 15)
    for one in store.pushes_claim(10, 30, 0, 15):
        pushes_settle([Settlement(id=one.id, claimed_until=one.claimed_until, delay=3600.0)], 15)
    assert pushes_arm([bob, uuid4()], 0) == 1
    assert [one.user_id for one in store.pushes_claim(10, 30, 0, 15)] == [bob]
    assert pushes_arm([bob], 60) == 0


def test_the_log_keeps_so_many_and_each_key_once() -> None:
    for key in ("0", "1", "1", "2", "3", "4"):
        push_log_insert([Push(key=key, kind="clear", user_id=ANN, conversation_id=ANN)], 3)
    assert list(PushLog.objects.order_by("id").values_list("key", flat=True)) == ["2", "3", "4"]
