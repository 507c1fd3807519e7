"""Several sessions and processes append to one log at once, on a real PostgreSQL."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connection

from messaging.models import Member, Message, SendKey
from messaging.services.send import _flush
from messaging.store.log import Appended, NewEntry, entries_append
from messaging.store.members import member_remove, members_add
from tests.messaging.store.test_log import SECONDS, appended, entry_of, group_of, head_of, log_of, statuses_of, triple
from whispr.kernel import database
from whispr.kernel.batch import BUSY, Busy, GroupCommit
from whispr.kernel.errors import ClientRandomReused, NotFound, TemporaryUnavailable

pytestmark = pytest.mark.django_db


@contextmanager
def holding(conversation_id: UUID) -> Iterator[psycopg.Connection]:
    """Another session that holds the conversation's row, as a stuck process does."""
    known = connection.settings_dict
    with psycopg.connect(
        host=known["HOST"], port=known["PORT"], user=known["USER"], password=known["PASSWORD"], dbname=known["NAME"]
    ) as session:
        session.execute("SELECT 1 FROM conversations WHERE id = %s FOR UPDATE", [conversation_id])
        yield session


def commits(count: int) -> list[GroupCommit[UUID, NewEntry, Appended]]:
    """The send path's commit, once for each of so many processes."""
    return [GroupCommit(f"send {number}", _flush) for number in range(count)]


async def gathered(futures: Sequence[asyncio.Future[Any]]) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), SECONDS)


@pytest.mark.django_db(transaction=True)
def test_fifty_sessions_send_one_key():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob)
    items = [entry_of(conversation_id, ann, client_random=77) for _ in range(50)]
    start = threading.Barrier(10, timeout=SECONDS)

    def send(share: list[NewEntry]) -> list[Appended | Exception | Busy]:
        start.wait()
        return [database.call(entries_append, [item])[0] for item in share]

    with ThreadPoolExecutor(10) as threads:
        outcomes = [one for found in threads.map(send, [items[n::10] for n in range(10)]) for one in found]
    statuses = [appended(one).outcome.status for one in outcomes]
    assert sorted(statuses) == ["duplicate"] * 49 + ["sent"]
    assert len({triple(one) for one in outcomes}) == 1
    assert log_of(conversation_id)[1:] == [(2, triple(outcomes[0])[0])]
    assert SendKey.objects.filter(sender_id=ann).count() == 1
    assert statuses_of(triple(outcomes[0])[0]) == {bob}


@pytest.mark.django_db(transaction=True)
async def test_one_key_in_two_conversations_at_once():
    """No lock is common to the two: the unique key decides, and the loser is told as if it had come later."""
    ann = uuid4()
    one, other = await asyncio.to_thread(lambda: (group_of(ann), group_of(ann)))
    for turn in range(10):
        futures = []
        for commit in commits(2):
            key = 1_000 + turn
            futures += [commit.submit(where, entry_of(where, ann, client_random=key)) for where in (one, other)]
        outcomes = await gathered(futures)
        kept = [outcome for outcome in outcomes if isinstance(outcome, Appended)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, ClientRandomReused)]
        assert (len(kept), len(refused)) == (2, 2), outcomes
        assert len({triple(outcome) for outcome in kept}) == 1
        assert sorted(outcome.outcome.status for outcome in kept) == ["duplicate", "sent"]

    def check() -> None:
        assert SendKey.objects.filter(sender_id=ann).count() == 10
        for conversation_id in (one, other):
            seqs = [seq for seq, _ in log_of(conversation_id)]
            assert seqs == list(range(1, len(seqs) + 1))
            assert head_of(conversation_id) == len(seqs)
        assert len(log_of(one)) + len(log_of(other)) == 12

    await asyncio.to_thread(check)


@pytest.mark.django_db(transaction=True)
async def test_several_processes_append_to_one_conversation():
    users = [uuid4() for _ in range(4)]
    conversation_id = await asyncio.to_thread(group_of, *users)
    sent: list[tuple[NewEntry, asyncio.Future[Appended]]] = []
    for turn, commit in enumerate(commits(3)):
        items = [entry_of(conversation_id, users[(turn + number) % 4]) for number in range(60)]
        sent += [(item, commit.submit(conversation_id, item)) for item in items]
    outcomes = await gathered([future for _, future in sent])
    places = {triple(outcome)[0]: triple(outcome)[1:] for outcome in outcomes}
    assert sorted(seq for seq, _ in places.values()) == list(range(2, 182))
    for process in range(3):  # what one process took in order is stored in order
        seqs = [places[item.message_id][0] for item, _ in sent[process * 60 : process * 60 + 60]]
        assert seqs == sorted(seqs)
    in_order = sorted(places.values())
    assert [at for _, at in in_order] == sorted({at for _, at in in_order})
    assert await asyncio.to_thread(head_of, conversation_id) == 181
    assert {one: seq for seq, one in await asyncio.to_thread(log_of, conversation_id) if seq > 1} == {
        one: seq for one, (seq, _) in places.items()
    }


@pytest.mark.django_db(transaction=True)
async def test_a_bad_item_in_a_batch_costs_only_itself():
    ann = uuid4()
    conversation_id = await asyncio.to_thread(group_of, ann)
    (commit,) = commits(1)
    first = await commit.submit(conversation_id, entry_of(conversation_id, ann))
    taken = first.outcome.message_id
    outcomes = await gathered(
        [
            commit.submit(conversation_id, entry_of(conversation_id, ann, **fields))
            for fields in ({}, {"message_id": taken}, {"metadata": b"not json"}, {})
        ]
    )
    assert [triple(outcomes[index])[1] for index in (0, 3)] == [3, 4]
    assert [isinstance(outcomes[index], Exception) for index in (1, 2)] == [True, True]
    assert [seq for seq, _ in await asyncio.to_thread(log_of, conversation_id)] == [1, 2, 3, 4]


@pytest.mark.django_db(transaction=True)
def test_a_locked_conversation_is_busy_and_its_neighbour_is_not():
    ann = uuid4()
    locked, free = group_of(ann), group_of(ann)
    with holding(locked):
        items = [entry_of(locked, ann), entry_of(free, ann), entry_of(uuid4(), ann), entry_of(locked, ann)]
        outcomes = database.call(entries_append, items, False)
        assert outcomes[0] is outcomes[3] is BUSY
        assert triple(outcomes[1])[1] == 2
        assert isinstance(outcomes[2], NotFound)
        with pytest.raises(TemporaryUnavailable):
            database.call(entries_append, items[:1], True)
        assert (head_of(locked), head_of(free)) == (1, 2)
    assert [triple(one)[1] for one in database.call(entries_append, [items[0], items[3]], False)] == [2, 3]


@pytest.mark.django_db(transaction=True)
async def test_a_locked_conversation_costs_only_its_own_senders():
    """the reliability catalogue F13."""
    ann = uuid4()
    locked, free = await asyncio.to_thread(lambda: (group_of(ann), group_of(ann)))
    (commit,) = commits(1)
    with holding(locked):
        stuck = [commit.submit(locked, entry_of(locked, ann)) for _ in range(3)]
        flowing = [commit.submit(free, entry_of(free, ann)) for _ in range(20)]
        assert [triple(one)[1] for one in await gathered(flowing)] == list(range(2, 22))
        refused = await gathered(stuck)
        assert [type(one) for one in refused] == [TemporaryUnavailable] * 3
        waiting = [commit.submit(locked, entry_of(locked, ann)) for _ in range(3)]
        assert [triple(one)[1] for one in await gathered([commit.submit(free, entry_of(free, ann))])] == [22]
    # Whoever waited when the lock went away is served, in order.
    assert [triple(one)[1] for one in await gathered(waiting)] == [2, 3, 4]
    assert await asyncio.to_thread(head_of, locked) == 4


@pytest.mark.django_db(transaction=True)
def test_a_removal_and_a_send_have_one_order():
    """the reliability catalogue row 42: membership is read inside the lock."""
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob)
    stop = threading.Event()
    outcomes: list[object] = []

    def send() -> None:
        while not stop.is_set():
            outcomes.append(database.call(entries_append, [entry_of(conversation_id, bob)])[0])

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for _ in range(25):
            database.call(member_remove, ann, conversation_id, bob)
            database.call(members_add, ann, conversation_id, [bob])
    finally:
        stop.set()
        sender.join(SECONDS)
    assert all(isinstance(one, Appended | NotFound) for one in outcomes)
    is_member = True
    for seq, kind, event in Message.objects.order_by("seq").values_list("seq", "message_type", "metadata__event"):
        if kind == "text":
            assert is_member, seq
        is_member = {"member_removed": False, "member_added": True}.get(event, is_member)
    assert [seq for seq, _ in log_of(conversation_id)] == list(range(1, head_of(conversation_id) + 1))
    assert Member.objects.filter(conversation=conversation_id, left_seq=None).count() == 2
