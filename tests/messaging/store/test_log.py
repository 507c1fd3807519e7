"""What `messaging/store/log.py` promises, on a real PostgreSQL: one order without gaps, one message a key."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connection, transaction

from delivery.models import DeliveryStatus
from messaging.events import Entry
from messaging.models import Conversation, Message, SendKey
from messaging.store.conversations import conversation_create
from messaging.store.locked import TICK, append_system, conversation_lock
from messaging.store.log import Appended, NewEntry, entries_append
from messaging.store.members import member_remove, members_add
from whispr.kernel.errors import ClientRandomReused, InvalidTarget, NotFound, StaleMembership
from whispr.kernel.ids import new_id

pytestmark = pytest.mark.django_db
SECONDS = 15.0
randoms = itertools.count(1)


def group_of(*users: UUID) -> UUID:
    """A group whose log holds one entry already: `conversation_created`."""
    return conversation_create(users[0], "group", list(users), b"{}", None).view.id


def entry_of(conversation_id: UUID, sender: UUID, content: bytes = b"ciphertext", **fields: Any) -> NewEntry:
    values = {
        "message_id": new_id(),
        "conversation_id": conversation_id,
        "sender_id": sender,
        "sender_device_id": uuid4(),
        "type": "text",
        "content": content,
        "metadata": b"{}",
        "client_random": next(randoms),
        "fingerprint": content + conversation_id.bytes,
    }
    return NewEntry(**(values | fields))


def appended(outcome: object) -> Appended:
    assert isinstance(outcome, Appended), outcome
    return outcome


def append(*items: NewEntry) -> list[Appended]:
    return [appended(outcome) for outcome in entries_append(items)]


def triple(outcome: object) -> tuple[UUID, int | None, datetime | None]:
    sent = appended(outcome).outcome
    return sent.message_id, sent.seq, sent.sent_at


def log_of(conversation_id: UUID) -> list[tuple[int, UUID]]:
    return list(Message.objects.filter(conversation=conversation_id).order_by("seq").values_list("seq", "id"))


def head_of(conversation_id: UUID) -> int:
    return Conversation.objects.values_list("last_seq", flat=True).get(id=conversation_id)


def statuses_of(message_id: UUID) -> set[UUID]:
    return set(DeliveryStatus.objects.filter(message=message_id).values_list("user_id", flat=True))


# --- seq and sent_at ---


def test_a_batch_over_many_conversations_is_one_order_in_each():
    ann, bob = uuid4(), uuid4()
    conversations = [group_of(ann, bob) for _ in range(3)]
    items = [entry_of(conversations[number % 3], (ann, bob)[number % 2]) for number in range(30)]
    outcomes = append(*items)
    assert [one.outcome.message_id for one in outcomes] == [item.message_id for item in items]
    assert {one.outcome.status for one in outcomes} == {"sent"}
    for conversation_id in conversations:
        mine = [item.message_id for item in items if item.conversation_id == conversation_id]
        created = log_of(conversation_id)[0]
        assert log_of(conversation_id) == [created, *zip(range(2, 12), mine, strict=True)]
        assert head_of(conversation_id) == 11


def test_what_is_stored_is_what_was_sent():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob)
    first = append(entry_of(conversation_id, bob))[0].outcome
    item = entry_of(
        conversation_id,
        ann,
        b"\x00\xff bytes",
        metadata=b'{"a":"\xc3\xa9","n":1}',
        reply_to=first.message_id,
        signature=b"s" * 64,
        client_random=2**53 - 1,
        ttl=60,
    )
    (one,) = append(item)
    assert isinstance(one.entry, Entry)
    stored = Message.objects.get(id=item.message_id)
    assert bytes(stored.content) == b"\x00\xff bytes" == one.entry.content
    assert stored.metadata == {"a": "é", "n": 1}
    assert (stored.sender_id, stored.sender_device_id) == (ann, item.sender_device_id)
    assert (stored.reply_to_id, stored.client_random) == (first.message_id, 2**53 - 1)
    assert bytes(stored.signature or b"") == b"s" * 64
    assert stored.sent_at == one.outcome.sent_at == one.entry.sent_at
    assert stored.expires_at == one.outcome.expires_at == stored.sent_at + timedelta(seconds=60)
    assert one.origin is None


def test_seq_has_no_gap_where_items_fail_or_repeat():
    ann, stranger = uuid4(), uuid4()
    conversation_id = group_of(ann)
    first = entry_of(conversation_id, ann)
    outcomes = entries_append(
        [
            first,
            entry_of(conversation_id, stranger),
            entry_of(conversation_id, ann, client_random=first.client_random, fingerprint=first.fingerprint),
            entry_of(conversation_id, ann, b"other", client_random=first.client_random),
            entry_of(conversation_id, ann, members_version=7),
            entry_of(conversation_id, ann, reply_to=uuid4()),
            entry_of(conversation_id, ann),
        ]
    )
    kinds = [one.outcome.status if isinstance(one, Appended) else type(one) for one in outcomes]
    assert kinds == ["sent", NotFound, "duplicate", ClientRandomReused, StaleMembership, InvalidTarget, "sent"]
    assert triple(outcomes[0]) == triple(outcomes[2])
    assert [seq for seq, _ in log_of(conversation_id)] == [1, 2, 3]
    assert triple(outcomes[6])[1] == 3 == head_of(conversation_id)


def test_seq_has_no_gap_after_a_batch_that_was_rolled_back():
    ann = uuid4()
    conversation_id = group_of(ann)
    taken = append(entry_of(conversation_id, ann))[0].outcome.message_id
    with pytest.raises(psycopg.errors.UniqueViolation):
        entries_append([entry_of(conversation_id, ann), entry_of(conversation_id, ann, message_id=taken)])
    assert head_of(conversation_id) == 2
    assert append(entry_of(conversation_id, ann))[0].outcome.seq == 3
    assert [seq for seq, _ in log_of(conversation_id)] == [1, 2, 3]
    assert SendKey.objects.filter(conversation_id=conversation_id).count() == 2


def test_sent_at_increases_where_the_clock_stands():
    ann = uuid4()
    conversation_id = group_of(ann)
    future = datetime(2100, 1, 1, tzinfo=UTC)
    Conversation.objects.filter(id=conversation_id).update(last_sent_at=future)
    batch = append(*(entry_of(conversation_id, ann) for _ in range(3)))
    (later,) = append(entry_of(conversation_id, ann))
    assert [one.outcome.sent_at for one in (*batch, later)] == [future + TICK * number for number in (1, 2, 3, 4)]
    with transaction.atomic(), connection.cursor() as cursor:
        locked = conversation_lock(cursor, conversation_id)
        assert locked is not None
        system = append_system(cursor, locked, by=ann, event="conversation_updated", details={})
    assert (system.seq, system.sent_at) == (6, future + TICK * 5)
    assert Conversation.objects.get(id=conversation_id).last_sent_at == future + TICK * 5


def test_sent_at_is_the_databases_clock():
    ann = uuid4()
    conversation_id = group_of(ann)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (before,) = cursor.fetchone()
        outcomes = append(*(entry_of(conversation_id, ann) for _ in range(5)))
        cursor.execute("SELECT clock_timestamp()")
        (after,) = cursor.fetchone()
    times = [one.outcome.sent_at for one in outcomes]
    assert times == sorted(set(times))
    assert before < times[0] < times[-1] < after


# --- one key, one message ---


def test_a_duplicate_is_answered_with_the_first_send():
    ann = uuid4()
    conversation_id = group_of(ann)
    first = entry_of(conversation_id, ann, ttl=30)
    again = [
        entry_of(conversation_id, ann, client_random=first.client_random, fingerprint=first.fingerprint, ttl=30)
        for _ in range(3)
    ]
    in_one_batch = append(first, again[0])
    in_another = append(again[1])
    after_others = append(entry_of(conversation_id, ann), again[2])[1:]
    repeats = [*in_one_batch[1:], *in_another, *after_others]
    assert [one.outcome.status for one in repeats] == ["duplicate"] * 3
    assert {triple(one) for one in repeats} == {triple(in_one_batch[0])}
    assert {one.outcome.expires_at for one in repeats} == {in_one_batch[0].outcome.expires_at}
    assert [one.entry for one in repeats] == [None] * 3
    assert len(log_of(conversation_id)) == 3


def test_a_key_with_another_message_is_refused_and_stores_nothing():
    ann = uuid4()
    one, other = group_of(ann), group_of(ann)
    first = entry_of(one, ann, b"first")
    append(first)
    reused = [
        entry_of(one, ann, b"second", client_random=first.client_random),
        entry_of(other, ann, b"first", client_random=first.client_random),
        entry_of(uuid4(), ann, b"first", client_random=first.client_random),
    ]
    assert [type(outcome) for outcome in entries_append(reused)] == [ClientRandomReused] * 3
    both_new = [entry_of(one, ann, b"x", client_random=9_999_999), entry_of(other, ann, b"x", client_random=9_999_999)]
    outcomes = entries_append(both_new)
    assert appended(outcomes[0]).outcome.status == "sent"
    assert isinstance(outcomes[1], ClientRandomReused)
    assert (len(log_of(one)), len(log_of(other))) == (3, 1)
    assert SendKey.objects.filter(sender_id=ann).count() == 2


def test_a_key_is_its_senders_own():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob)
    outcomes = append(*(entry_of(conversation_id, user, client_random=5) for user in (ann, bob)))
    assert [one.outcome.status for one in outcomes] == ["sent", "sent"]


def test_a_refused_send_leaves_its_key_free():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann)
    item = entry_of(conversation_id, bob)
    assert [type(one) for one in entries_append([item, item])] == [NotFound, NotFound]
    members_add(ann, conversation_id, [bob])
    assert append(item)[0].outcome.status == "sent"


# --- who and what is refused ---


def test_who_is_no_member_learns_nothing():
    ann, bob, stranger = uuid4(), uuid4(), uuid4()
    conversation_id, deleted = group_of(ann, bob), group_of(ann, bob)
    member_remove(ann, conversation_id, bob)
    Conversation.objects.filter(id=deleted).update(deleted_at=datetime.now(UTC))
    refused = entries_append(
        [
            entry_of(conversation_id, stranger),
            entry_of(conversation_id, bob),
            entry_of(uuid4(), ann),
            entry_of(deleted, ann),
        ]
    )
    assert [type(one) for one in refused] == [NotFound] * 4
    assert len({str(one) for one in refused}) == 1
    assert (head_of(conversation_id), head_of(deleted)) == (2, 1)
    assert not SendKey.objects.exists()


def test_an_old_view_of_the_members_is_refused_with_the_present_one():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann)
    members_add(ann, conversation_id, [bob])
    stale, current = entries_append(
        [entry_of(conversation_id, ann, members_version=1), entry_of(conversation_id, ann, members_version=2)]
    )
    assert isinstance(stale, StaleMembership)
    assert stale.details == {"membersVersion": 2, "added": [str(bob)], "removed": []}
    assert appended(current).outcome.seq == 3


def test_a_reply_needs_a_live_message_that_the_sender_may_see():
    ann, bob = uuid4(), uuid4()
    conversation_id, elsewhere = group_of(ann, bob), group_of(ann, bob)
    live, deleted, expired, foreign = (
        one.outcome.message_id
        for one in append(*(entry_of(where, ann) for where in (*[conversation_id] * 3, elsewhere)))
    )
    Message.objects.filter(id=deleted).update(is_deleted=True)
    Message.objects.filter(id=expired).update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    system = log_of(conversation_id)[0][1]
    outcomes = entries_append(
        [entry_of(conversation_id, bob, reply_to=to) for to in (live, deleted, expired, foreign, system, uuid4())]
    )
    assert appended(outcomes[0]).outcome.status == "sent"
    assert [type(one) for one in outcomes[1:]] == [InvalidTarget] * 5


def test_a_reply_to_what_one_was_not_there_for():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob)
    during, meanwhile = entry_of(conversation_id, ann), entry_of(conversation_id, ann)
    append(during)
    member_remove(ann, conversation_id, bob)
    append(meanwhile)
    members_add(ann, conversation_id, [bob])
    outcomes = entries_append(
        [entry_of(conversation_id, bob, reply_to=item.message_id) for item in (during, meanwhile)]
    )
    assert appended(outcomes[0]).outcome.status == "sent"
    assert isinstance(outcomes[1], InvalidTarget)


def test_every_recipient_has_a_status_row():
    ann, bob, cid, gone = uuid4(), uuid4(), uuid4(), uuid4()
    conversation_id, alone = group_of(ann, bob, cid, gone), group_of(ann)
    member_remove(ann, conversation_id, gone)
    sent = append(entry_of(conversation_id, ann), entry_of(conversation_id, bob), entry_of(alone, ann))
    assert [statuses_of(one.outcome.message_id) for one in sent] == [{bob, cid}, {ann, cid}, set()]
    assert DeliveryStatus.objects.count() == 4
