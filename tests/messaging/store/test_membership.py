"""Membership as a whole: who may do what, what is seen of before and after, and races with sends (docs/protocol.md
§8.6)."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from random import Random
from typing import TypeVar
from uuid import UUID, uuid4

import msgspec
import pytest

from messaging.events import Entry
from messaging.models import Conversation, Member, Message
from messaging.store import members as store
from messaging.store.conversations import (
    conversation_create,
    conversation_delete,
    conversation_update,
    get_conversation,
    list_conversations,
)
from messaging.store.entries import (
    Position,
    get_entry,
    get_log_page,
    list_history,
    list_joined_since,
    list_standings,
)
from messaging.store.log import Appended, NewEntry, entries_append
from whispr.kernel import database
from whispr.kernel.errors import Forbidden, NotFound, StaleMembership, WhisprError
from whispr.kernel.ids import new_id

Outcome = type[WhisprError] | None
T = TypeVar("T")


def group_of(creator: UUID, *others: UUID, settings: bytes = b"{}") -> UUID:
    return conversation_create(creator, "group", [creator, *others], settings, None).view.id


def entry_of(conversation_id: UUID, sender: UUID, **fields: object) -> NewEntry:
    return NewEntry(
        new_id(), conversation_id, sender, uuid4(), "text", b"x", b"{}", new_id().int % 2**53, uuid4().bytes, **fields
    )


def send(conversation_id: UUID, sender: UUID) -> Entry:
    (outcome,) = entries_append([entry_of(conversation_id, sender)])
    assert isinstance(outcome, Appended), outcome
    assert outcome.entry is not None
    return outcome.entry


def visible(user: UUID, conversation_id: UUID) -> list[int]:
    """The seqs that the user sees, the same on every route that reads the log."""
    caught_up = [entry.seq for entry in get_log_page(user, [Position(conversation_id, 0)], 1_000, 2**30).entries]
    backwards = list_history(user, conversation_id, None, None, 1_000, 2**30)[0]
    forwards = list_history(user, conversation_id, None, 0, 1_000, 2**30)[0]
    ids = Message.objects.filter(conversation=conversation_id).order_by("seq").values_list("id", "seq")
    one_by_one = [seq for message_id, seq in ids if get_entry(user, message_id) is not None]
    assert caught_up == [one.seq for one in backwards] == [one.seq for one in forwards] == one_by_one
    return caught_up


# --- who may do what

ROLES: list[store.Role] = ["owner", "admin", "member"]
CALLERS = (*ROLES, "removed", "stranger")
MANAGES = {"owner", "admin"}


class Cast:
    """A group with one of each role twice (but one owner), who was removed, and who never was in it."""

    def __init__(self) -> None:
        self.users = {
            name: uuid4() for name in ("owner", "admin", "admin2", "member", "member2", "removed", "stranger")
        }
        owner = self.users["owner"]
        inside = [user for name, user in self.users.items() if name != "stranger"]
        self.id = group_of(owner, *(user for user in inside if user != owner))
        for name in ("admin", "admin2"):
            store.member_update(owner, self.id, self.users[name], "admin")
        store.member_remove(owner, self.id, self.users["removed"])

    def try_(self, action: Callable[..., object], *args: object, expected: Outcome) -> None:
        before = self.state()
        if expected is None:
            action(*args)
            assert self.state() != before
        else:
            with pytest.raises(WhisprError) as refused:
                action(*args)
            assert refused.type is expected
            assert self.state() == before

    def state(self) -> object:
        rows = Member.objects.filter(conversation=self.id).values_list("user_id", "role", "joined_seq", "left_seq")
        facts = Conversation.objects.values_list("last_seq", "members_version", "settings", "deleted_at")
        return sorted(rows), facts.get(id=self.id)


@pytest.mark.django_db
@pytest.mark.parametrize("caller", CALLERS)
def test_who_adds(caller: str) -> None:
    cast = Cast()
    expected = None if caller in MANAGES else Forbidden if caller == "member" else NotFound
    cast.try_(store.members_add, cast.users[caller], cast.id, [uuid4()], expected=expected)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("caller", "target"), list(product(CALLERS, ["owner", "admin2", "member2", "removed", "stranger"]))
)
def test_who_removes_whom(caller: str, target: str) -> None:
    cast = Cast()
    if caller not in ROLES:
        expected: Outcome = NotFound
    elif caller == target:
        expected = None  # the owner leaves
    elif caller == "member":
        expected = Forbidden
    elif target in ("removed", "stranger"):
        expected = NotFound
    else:
        expected = None if caller == "owner" or target == "member2" else Forbidden
    cast.try_(store.member_remove, cast.users[caller], cast.id, cast.users[target], expected=expected)


@pytest.mark.django_db
@pytest.mark.parametrize("caller", CALLERS)
def test_who_leaves(caller: str) -> None:
    cast = Cast()
    user = cast.users[caller]
    cast.try_(store.member_remove, user, cast.id, user, expected=None if caller in ROLES else NotFound)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("caller", "target", "role"),
    list(product(CALLERS, ["owner", "admin2", "member2", "removed", "stranger"], ROLES)),
)
def test_who_gives_whom_which_role(caller: str, target: str, role: store.Role) -> None:
    cast = Cast()
    was = target.rstrip("2")
    if caller not in ROLES:
        expected: Outcome = NotFound
    elif caller != "owner":
        expected = Forbidden
    elif target in ("removed", "stranger"):
        expected = NotFound
    elif was == role:
        return  # nothing changes: tests/messaging/store/test_members.py
    else:
        expected = Forbidden if target == "owner" else None
    cast.try_(store.member_update, cast.users[caller], cast.id, cast.users[target], role, expected=expected)
    owners = Member.objects.filter(conversation=cast.id, left_seq=None, role="owner")
    assert owners.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(("caller", "key"), list(product(CALLERS, ["theme", "readReceipts", "sharedHistory"])))
def test_who_changes_settings(caller: str, key: str) -> None:
    cast = Cast()
    allowed = {"owner"} if key == "sharedHistory" else MANAGES
    expected = None if caller in allowed else Forbidden if caller in ROLES else NotFound
    cast.try_(conversation_update, cast.users[caller], cast.id, {key: True}, expected=expected)


@pytest.mark.django_db
@pytest.mark.parametrize("caller", CALLERS)
def test_who_deletes(caller: str) -> None:
    cast = Cast()
    expected = None if caller == "owner" else Forbidden if caller in ROLES else NotFound
    cast.try_(conversation_delete, cast.users[caller], cast.id, expected=expected)


@pytest.mark.django_db
@pytest.mark.parametrize("caller", CALLERS)
def test_who_reads_and_sends(caller: str) -> None:
    cast = Cast()
    user = cast.users[caller]
    (outcome,) = entries_append([entry_of(cast.id, user)])
    assert isinstance(outcome, Appended if caller in ROLES else NotFound)
    for read in (get_conversation, store.list_members, store.list_receipts):
        if caller in ROLES:
            assert read(user, cast.id)
        else:
            with pytest.raises(NotFound):
                read(user, cast.id)
    head = Conversation.objects.get(id=cast.id).last_seq
    seen = [] if caller == "stranger" else visible(user, cast.id)
    # The removed one sees up to the removal (seq 4: created, two roles, removed), and nothing after.
    assert seen == {"removed": [1, 2, 3, 4], "stranger": []}.get(caller, list(range(1, head + 1)))


@pytest.mark.django_db
@pytest.mark.parametrize("action", ["add", "remove", "leave", "role", "delete"])
def test_the_members_of_a_direct_conversation_are_who_they_are(action: str) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = conversation_create(ann, "direct", [ann, bob], b"{}", None).view.id
    with pytest.raises(Forbidden):
        {
            "add": lambda: store.members_add(ann, conversation_id, [uuid4()]),
            "remove": lambda: store.member_remove(ann, conversation_id, bob),
            "leave": lambda: store.member_remove(ann, conversation_id, ann),
            "role": lambda: store.member_update(ann, conversation_id, bob, "owner"),
            "delete": lambda: conversation_delete(ann, conversation_id),
        }[action]()
    assert visible(bob, conversation_id) == [1]


# --- what is seen


@pytest.mark.django_db
def test_with_shared_history_a_new_member_sees_everything() -> None:
    ann, bob, cid = uuid4(), uuid4(), uuid4()
    conversation_id = group_of(ann, settings=b'{"sharedHistory": true}')
    for _ in range(3):
        send(conversation_id, ann)
    (entry,), _ = store.members_add(ann, conversation_id, [bob])
    assert msgspec.json.decode(entry.metadata) == {
        "event": "member_added",
        "userIds": [str(bob)],
        "by": str(ann),
        "sharedHistory": True,
    }
    assert visible(bob, conversation_id) == [1, 2, 3, 4, 5]
    view = get_conversation(bob, conversation_id)
    assert (view.joined_seq, view.unread) == (5, 0)  # the past is there, and is not news
    (standing,) = list_standings(bob, uuid4(), 10)
    assert (standing.first_seq, standing.joined_seq) == (1, 5)
    assert (bob, conversation_id, 5, True) in list_joined_since(60)
    # The setting decides at the joining: who joins later, without it, sees from there on.
    conversation_update(ann, conversation_id, {"sharedHistory": None})
    send(conversation_id, bob)
    store.members_add(ann, conversation_id, [cid])
    assert visible(cid, conversation_id) == [8]
    assert (cid, conversation_id, 8, False) in list_joined_since(60)
    assert visible(bob, conversation_id) == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.django_db
def test_who_comes_back_sees_the_time_between_only_where_it_is_shared() -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob)
    for settings, expected in (
        ({}, [1, 2, 3, 5, 6]),  # removed at 3, back at 5
        ({"sharedHistory": True}, [*range(1, 13)]),  # removed at 9, back at 11
        ({"sharedHistory": False}, [*range(1, 16), 17, 18]),  # removed at 15, back at 17
    ):
        if settings:
            conversation_update(ann, conversation_id, settings)
        send(conversation_id, bob)
        store.member_remove(ann, conversation_id, bob)
        send(conversation_id, ann)
        store.members_add(ann, conversation_id, [bob])
        send(conversation_id, ann)
        assert visible(bob, conversation_id) == expected


# --- stale views


@pytest.mark.django_db
def test_a_stale_sender_is_told_who_came_and_who_went() -> None:
    ann, bob, cid, dan = sorted(uuid4() for _ in range(4))
    conversation_id = group_of(ann, bob)  # version 1
    store.members_add(ann, conversation_id, [cid, dan])  # 2
    store.member_remove(ann, conversation_id, bob)  # 3
    store.member_update(ann, conversation_id, cid, "admin")  # no change of who is in
    store.member_remove(ann, conversation_id, dan)  # 4
    store.members_add(ann, conversation_id, [bob])  # 5: back again

    def details(sender: UUID, version: int) -> dict | None:
        (outcome,) = entries_append([entry_of(conversation_id, sender, members_version=version)])
        return outcome.details if isinstance(outcome, StaleMembership) else None

    assert details(ann, 1) == {"membersVersion": 5, "added": [str(cid), str(bob)], "removed": [str(dan)]}
    assert details(ann, 3) == {"membersVersion": 5, "added": [str(bob)], "removed": [str(dan)]}
    assert details(ann, 4) == {"membersVersion": 5, "added": [str(bob)], "removed": []}
    assert details(ann, 5) is None
    assert details(ann, 9) == {"membersVersion": 5, "added": [], "removed": []}
    # Cid joined at version 2 and may not know of before; bob came back at 5.
    assert details(cid, 0) == {"membersVersion": 5, "added": [str(bob)], "removed": [str(dan)]}
    assert details(bob, 1) == {"membersVersion": 5, "added": [], "removed": []}


@pytest.mark.django_db
def test_a_change_of_many_is_told_without_their_names() -> None:
    ann = uuid4()
    conversation_id = group_of(ann)
    store.members_add(ann, conversation_id, [uuid4() for _ in range(101)])
    (outcome,) = entries_append([entry_of(conversation_id, ann, members_version=1)])
    assert isinstance(outcome, StaleMembership)
    assert outcome.details == {"membersVersion": 2}


# --- races, on connections of their own

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
