"""Who learns what somebody read: the reader's, the conversation's and the asking one's setting (docs/protocol.md
§8.5)."""

from itertools import product
from uuid import UUID, uuid4

import pytest

from delivery.models import DeliveryStatus
from delivery.store.status import list_delivery
from messaging.models import Conversation
from messaging.store.devices import user_settings_update
from messaging.store.members import list_receipts, list_receipts_of, member_remove, members_add
from tests.delivery.store.test_receipts import Chat

pytestmark = pytest.mark.django_db
OWN = (None, True, False)  # a user's setting: never set, on, off
OVERRIDES = (None, True, False)  # the conversation's


def set_own(user: UUID, value: bool | None) -> None:
    if value is not None:
        user_settings_update(user, value, None)


def override(chat: Chat, value: bool | None) -> None:
    Conversation.objects.filter(id=chat.id).update(settings={} if value is None else {"readReceipts": value})


def delivery(chat: Chat, message_id: UUID, user: UUID) -> tuple[str, bool]:
    """(status, whether there is a time of the reading) as the sender sees it."""
    found = list_delivery(chat.ann, message_id)
    assert found is not None
    (one,) = [one for one in found if one.user_id == user]
    assert one.delivered_at is not None or one.status == "pending"
    return one.status, one.read_at is not None


def seen_read_seq(chat: Chat, viewer: UUID, user: UUID) -> int:
    """What the viewer is told of another on both routes that tell watermarks."""
    (one,) = [one for one in list_receipts(viewer, chat.id) if one.user_id == user]
    (page,) = [one for one in list_receipts_of(viewer, [chat.id])[chat.id] if one.user_id == user]
    assert one == page
    return one.read_seq


@pytest.mark.parametrize(("reader", "sender", "conversation"), list(product(OWN, OWN, OVERRIDES)))
def test_every_combination_of_the_three_settings(reader, sender, conversation):
    """A no of anybody wins; the conversation's yes overrides nobody's own."""
    bob = uuid4()
    chat = Chat(bob)
    set_own(bob, reader)
    set_own(chat.ann, sender)
    override(chat, conversation)
    (message,) = chat.send(chat.ann)
    told = chat.record(bob, 2, read=True)
    tells = False not in (reader, sender, conversation)
    assert (chat.ann, "delivered", (2,), 2) in told
    assert [one for one in told if one[:2] == (chat.ann, "read")] == ([(chat.ann, "read", (2,), 2)] if tells else [])
    assert [one[1:2] + one[3:] for one in told if one[0] == bob] == [("read", 2)]  # bob's own other devices
    assert delivery(chat, message, bob) == (("read", True) if tells else ("delivered", False))
    assert seen_read_seq(chat, chat.ann, bob) == (2 if tells else 0)
    assert seen_read_seq(chat, bob, bob) == 2
    assert DeliveryStatus.objects.get(user_id=bob).delivered_at is not None


@pytest.mark.parametrize("off", ["reader", "sender", "conversation"])
def test_switched_on_later_nothing_of_before_is_revealed(off):
    bob = uuid4()
    chat = Chat(bob)
    messages = chat.send(chat.ann, 3)

    def switch(on: bool) -> None:
        if off == "conversation":
            override(chat, on)
        else:
            set_own(bob if off == "reader" else chat.ann, on)

    switch(False)
    chat.record(bob, 3, read=True)
    switch(True)
    assert [delivery(chat, one, bob) for one in messages] == [("delivered", False)] * 2 + [("pending", False)]
    told = chat.record(bob, 4, read=True)
    assert [one for one in told if one[:2] == (chat.ann, "read")] == [(chat.ann, "read", (4,), 4)]
    assert [delivery(chat, one, bob) for one in messages] == [("delivered", False)] * 2 + [("read", True)]


def test_switched_off_later_the_sender_sees_no_readings_of_others_either():
    bob = uuid4()
    chat = Chat(bob)
    (message,) = chat.send(chat.ann)
    chat.record(bob, 2, read=True)
    assert (delivery(chat, message, bob), seen_read_seq(chat, chat.ann, bob)) == (("read", True), 2)
    set_own(chat.ann, False)
    assert (delivery(chat, message, bob), seen_read_seq(chat, chat.ann, bob)) == (("delivered", False), 0)
    set_own(chat.ann, True)
    assert (delivery(chat, message, bob), seen_read_seq(chat, chat.ann, bob)) == (("read", True), 2)


def test_a_group_without_status_rows_answers_from_watermarks_and_keeps_what_was_not_told():
    bob, cid = uuid4(), uuid4()
    chat = Chat(bob, cid)
    messages = chat.send(chat.ann, 4)
    DeliveryStatus.objects.all().delete()
    statuses = []
    for up_to, on in ((2, True), (3, False), (4, True)):
        set_own(bob, on)
        told = chat.record(bob, up_to, read=True)
        assert [one for one in told if one[0] != bob] == []  # nobody is pushed an update for each recipient
        rows = [row for message in messages for row in list_delivery(chat.ann, message)]
        statuses.append([(row.status, row.read_at) for row in rows if row.user_id == bob])
    assert statuses[-1] == [("read", None), ("delivered", None), ("read", None), ("pending", None)]
    assert [row.status for row in list_delivery(chat.ann, messages[0]) if row.user_id == cid] == ["pending"]
    set_own(chat.ann, False)
    assert {row.status for m in messages for row in list_delivery(chat.ann, m)} == {"delivered", "pending"}


def test_a_member_who_was_given_the_history_is_no_recipient_of_it():
    bob, cid = uuid4(), uuid4()
    chat = Chat(bob)
    Conversation.objects.filter(id=chat.id).update(settings={"sharedHistory": True})
    (message,) = chat.send(chat.ann)
    members_add(chat.ann, chat.id, [cid])
    chat.devices[cid] = chat.device(cid)
    chat.record(cid, 3, read=True)
    assert [one.user_id for one in list_delivery(chat.ann, message)] == [bob]
    DeliveryStatus.objects.all().delete()
    assert [one.user_id for one in list_delivery(chat.ann, message)] == [bob]


def test_a_removed_member_is_told_nothing():
    bob = uuid4()
    chat = Chat(bob)
    (message,) = chat.send(bob)
    chat.record(chat.ann, 2, read=True)
    assert list_delivery(bob, message) is not None
    member_remove(chat.ann, chat.id, bob)
    assert list_delivery(bob, message) is None
    assert list_receipts_of(bob, [chat.id]) == {}
