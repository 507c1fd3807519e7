"""What became of a message: from its rows, and from watermarks where it has none."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from delivery.models import DeliveryStatus
from delivery.store.status import list_delivery
from messaging.events import DeliveryView
from messaging.models import Conversation, Member, Message
from messaging.store.conversations import conversation_create
from messaging.store.members import member_remove, members_add

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 1, 1, tzinfo=UTC)


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
        DeliveryView(others[0], "sent", None, None),
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
    assert list_delivery(bob, sent.id) == [DeliveryView(ann, "sent", None, None)]
    assert list_delivery(ann, sent.id) is None
    assert list_delivery(bob, uuid4()) is None
    system = Message.objects.get(conversation=conversation_id, seq=1)
    assert list_delivery(ann, system.id) is None
    member_remove(ann, conversation_id, bob)
    assert list_delivery(bob, sent.id) is None
