"""What became of a message: from its rows, and from watermarks where it has none."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from delivery.models import DeliveryStatus
from delivery.store.receipts import NewReceipt, receipts_write
from delivery.store.status import list_delivery
from messaging.events import DeliveryCounts, DeliveryView
from messaging.models import Conversation, Device, Member, Message
from messaging.store.conversations import conversation_create
from messaging.store.members import member_remove, members_add
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime.now(UTC).replace(microsecond=0)


def message_of(conversation_id: UUID, sender: UUID, kind: str = "text") -> Message:
    conversation = Conversation.objects.get(id=conversation_id)
    conversation.last_seq += 1
    conversation.save()
    return Message.objects.create(
        conversation=conversation, seq=conversation.last_seq, sender_id=sender, message_type=kind, sent_at=NOW
    )


def group_of(creator: UUID, *others: UUID) -> UUID:
    return conversation_create(creator, "group", [creator, *others], b"{}", None).view.id


def test_from_rows():
    ann, *others = sorted(uuid4() for _ in range(4))
    ann, others = others[-1], [ann, *others[:-1]]
    sent = message_of(group_of(ann, *others), ann)
    times = [(None, None), (NOW, None), (NOW, NOW)]
    for user, (delivered, read) in zip(others, times, strict=True):
        DeliveryStatus.objects.create(message=sent, user_id=user, delivered_at=delivered, read_at=read)
    assert list_delivery(ann, sent.id) == [
        DeliveryView(others[0], "pending", None, None),
        DeliveryView(others[1], "delivered", NOW, None),
        DeliveryView(others[2], "read", NOW, NOW),
    ]


def test_from_watermarks_of_who_was_a_member_then():
    ann, bob, cid, dan, late = sorted(uuid4() for _ in range(5))
    conversation_id = group_of(ann, bob, cid, dan)
    member_remove(ann, conversation_id, dan)  # seq 2
    sent = message_of(conversation_id, ann)  # seq 3
    members_add(ann, conversation_id, [late, dan])
    Member.objects.filter(user_id=bob).update(delivered_seq=3, read_seq=3, public_read_seq=2)
    Member.objects.filter(user_id=cid).update(delivered_seq=9, read_seq=9, public_read_seq=9)
    Member.objects.filter(user_id__in=[late, dan]).update(delivered_seq=9)
    assert list_delivery(ann, sent.id) == [
        DeliveryView(bob, "delivered", None, None),
        DeliveryView(cid, "read", None, None),
    ]
    member_remove(ann, conversation_id, bob)
    members_add(ann, conversation_id, [bob])  # his earlier span holds the message
    assert [view.user_id for view in list_delivery(ann, sent.id) or []] == [bob, cid]


def test_the_sender_alone_and_while_a_member():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob)
    sent = message_of(conversation_id, bob)
    assert list_delivery(bob, sent.id) == [DeliveryView(ann, "pending", None, None)]
    assert list_delivery(ann, sent.id) is None
    assert list_delivery(bob, uuid4()) is None
    system = Message.objects.get(conversation=conversation_id, seq=1)
    assert list_delivery(ann, system.id) is None
    member_remove(ann, conversation_id, bob)
    assert list_delivery(bob, sent.id) is None


@pytest.mark.parametrize(
    ("age", "expires_in", "deleted", "status"),
    [
        (0, None, False, "pending"),
        (0, 36_000, False, "pending"),
        (60, -30, False, "expired"),
        (60, None, True, "expired"),
        (LIMITS.delivery_timeout_seconds - 3600, None, False, "pending"),
        (LIMITS.delivery_timeout_seconds + 3600, None, False, "expired"),
    ],
)
@pytest.mark.parametrize("with_rows", [True, False])
def test_what_did_not_arrive_is_pending_or_expired(age, expires_in, deleted, status, with_rows):
    ann, bob, cid = sorted(uuid4() for _ in range(3))
    conversation_id = group_of(ann, bob, cid)
    sent = message_of(conversation_id, ann)
    Message.objects.filter(id=sent.id).update(
        sent_at=NOW - timedelta(seconds=age),
        expires_at=None if expires_in is None else NOW + timedelta(seconds=expires_in),
        is_deleted=deleted,
    )
    if with_rows:
        DeliveryStatus.objects.create(message=sent, user_id=bob)
        DeliveryStatus.objects.create(message=sent, user_id=cid, delivered_at=NOW)
    Member.objects.filter(user_id=cid).update(delivered_seq=sent.seq)
    found = list_delivery(ann, sent.id)
    assert [(view.user_id, view.status) for view in found] == [(bob, status), (cid, "delivered")]
    assert DeliveryCounts.of(found) == DeliveryCounts(2, 1, 0, int(status == "expired"))


def test_who_comes_back_after_the_timeout_gets_it_all_the_same():
    ann, bob, device = uuid4(), uuid4(), uuid4()
    conversation_id = group_of(ann, bob)
    sent = message_of(conversation_id, ann)
    Device.objects.create(id=device, user_id=bob)
    Message.objects.filter(id=sent.id).update(sent_at=NOW - timedelta(seconds=LIMITS.delivery_timeout_seconds + 60))
    DeliveryStatus.objects.create(message=sent, user_id=bob)
    assert [view.status for view in list_delivery(ann, sent.id)] == ["expired"]
    receipts_write([NewReceipt(bob, device, conversation_id, sent.seq, False)])
    assert [view.status for view in list_delivery(ann, sent.id)] == ["delivered"]


@pytest.mark.parametrize("gone", ["expired", "deleted"])
def test_what_was_gone_before_it_came_is_delivered_to_nobody(gone):
    ann, bob, cid = uuid4(), uuid4(), uuid4()
    conversation_id = group_of(ann, bob, cid)
    sent = message_of(conversation_id, ann)
    for user in (bob, cid):
        Device.objects.create(id=user, user_id=user)
        DeliveryStatus.objects.create(message=sent, user_id=user)
    receipts_write([NewReceipt(cid, cid, conversation_id, sent.seq, False)])
    if gone == "expired":
        Message.objects.filter(id=sent.id).update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    else:
        Message.objects.filter(id=sent.id).update(is_deleted=True)
    (nothing,) = receipts_write([NewReceipt(bob, bob, conversation_id, sent.seq, True)])
    assert [update.to_user_id for update in nothing.updates] == [bob]  # the reader's own devices alone
    receipts_write([NewReceipt(cid, cid, conversation_id, sent.seq, True)])
    assert {view.user_id: view.status for view in list_delivery(ann, sent.id)} == {bob: "expired", cid: "read"}
