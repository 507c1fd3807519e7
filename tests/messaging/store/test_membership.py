"""Membership as a whole: who may do what, what is seen of before and after (docs/protocol.md §8.6)."""

from collections.abc import Callable
from itertools import product
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
from whispr.kernel.errors import Forbidden, NotFound, StaleMembership, WhisprError
from whispr.kernel.ids import new_id

Outcome = type[WhisprError] | None


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
