"""Changes of membership at once, with each other and with sends, on connections of their own (docs/protocol.md
§8.6)."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import TypeVar
from uuid import UUID, uuid4

import pytest

from messaging.models import Conversation, Member, Message
from messaging.store import members as store
from messaging.store.conversations import (
    conversation_create,
    list_conversations,
)
from messaging.store.entries import (
    Position,
    get_log_page,
)
from messaging.store.log import Appended, entries_append
from tests.messaging.store.test_membership import entry_of, group_of, visible
from whispr.kernel import database
from whispr.kernel.errors import Forbidden, NotFound

T = TypeVar("T")
THREADS = 8


@pytest.mark.django_db(transaction=True)
def test_a_pair_has_one_direct_conversation_however_often_both_create_it_at_once() -> None:
    ann, bob = uuid4(), uuid4()
    ready = threading.Barrier(10)

    def create(number: int) -> tuple[UUID, int]:
        creator, other = (ann, bob) if number % 2 else (bob, ann)
        if number < 10:
            ready.wait(10)
        chosen = uuid4() if number % 3 else None
        made = database.call(conversation_create, creator, "direct", [creator, other], b"{}", chosen)
        return made.view.id, len(made.entries)

    with ThreadPoolExecutor(10) as threads:
        made = list(threads.map(create, range(50)))
    assert len({conversation_id for conversation_id, _ in made}) == 1
    assert sum(entries for _, entries in made) == 1  # one `conversation_created`
    assert Conversation.objects.count() == 1
    (conversation_id,) = {conversation_id for conversation_id, _ in made}
    assert visible(ann, conversation_id) == visible(bob, conversation_id) == [1]
    assert len(list_conversations(ann, 10)) == len(list_conversations(bob, 10)) == 1
    assert Member.objects.filter(conversation=conversation_id).count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_removal_and_a_send_at_once_a_thousand_times() -> None:
    """No send of the removed user has a seq after the removal, and the user sees nothing beyond it (row 42)."""
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob)
    random = Random(42)
    rounds = 1_000
    refused = accepted = 0
    with ThreadPoolExecutor(THREADS) as threads:
        for number in range(rounds):
            together = threading.Barrier(3)

            def race(work: Callable[[], T], together: threading.Barrier = together) -> T:
                together.wait(10)
                return work()

            sends = [entry_of(conversation_id, bob) for _ in range(random.randint(1, 3))]
            others = entry_of(conversation_id, ann)
            removal = threads.submit(race, lambda: database.call(store.member_remove, ann, conversation_id, bob))
            sent = threads.submit(race, lambda sends=sends: database.call(entries_append, sends))
            told = threads.submit(race, lambda others=others: database.call(entries_append, [others]))
            (removed,) = removal.result()
            outcomes = sent.result()
            (others_outcome,) = told.result()
            for outcome in outcomes:
                if isinstance(outcome, Appended):
                    accepted += 1
                    assert outcome.outcome.seq < removed.seq
                else:
                    refused += 1
                    assert isinstance(outcome, NotFound)
            assert isinstance(others_outcome, Appended)
            if number % 50 == 0 or others_outcome.outcome.seq > removed.seq:
                last = get_log_page(bob, [Position(conversation_id, removed.seq - 3)], 100, 2**30).entries
                assert max(entry.seq for entry in last) == removed.seq
            ((_, _),) = [database.call(store.members_add, ann, conversation_id, [bob])]
    # Both orders came about, else nothing was raced.
    assert refused > 0, accepted
    assert accepted > 0, refused
    seqs = list(Message.objects.filter(conversation=conversation_id).order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.django_db(transaction=True)
def test_changes_of_membership_at_once_leave_one_history() -> None:
    """Adds and removals from all sides: the log alone says who is in, and the rows say the same."""
    owner, *others = (uuid4() for _ in range(7))
    conversation_id = group_of(owner, *others[:2])

    def change(seed: int) -> None:
        random = Random(seed)
        for _ in range(25):
            user = random.choice(others)
            try:
                if random.random() < 0.5:
                    database.call(store.members_add, owner, conversation_id, random.sample(others, 2))
                else:
                    database.call(store.member_remove, random.choice([owner, user]), conversation_id, user)
            except (NotFound, Forbidden):
                pass

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(change, range(4)))
    inside: set[str] = set()
    changes = 0
    log = Message.objects.filter(conversation=conversation_id).order_by("seq")
    for metadata in log.values_list("metadata", flat=True):
        users = set(metadata["userIds"])
        if metadata["event"] == "member_removed":
            assert users <= inside
            inside -= users
        else:
            assert not users & inside
            inside |= users
        changes += 1
    members = {str(one.user_id) for one in store.list_members(owner, conversation_id)}
    assert members == inside
    row = Conversation.objects.get(id=conversation_id)
    assert (row.member_count, row.members_version, row.last_seq) == (len(inside), changes, changes)
