"""A receipt that was overtaken is not passed on; nothing else is held back."""

from uuid import uuid4

import msgspec

from messaging.fanout.news import UserPush
from messaging.fanout.receipts import ReceiptOrder

ANN, BOB, CLEO, HERE, THERE = (uuid4() for _ in range(5))


def receipt(up_to: int, *, to=ANN, of=BOB, status="delivery", conversation=HERE) -> UserPush:
    body = msgspec.json.encode({"conversationId": conversation, "recipientId": of, "upTo": up_to, "messageIds": []})
    return UserPush(to, f"{status}_status_update", body, conversation)


def test_what_says_less_than_was_told_is_late():
    order = ReceiptOrder()
    assert [order.is_late(receipt(up_to)) for up_to in (3, 7, 5, 7, 8)] == [False, False, True, False, False]


def test_others_receipts_are_not_compared():
    order = ReceiptOrder()
    assert not order.is_late(receipt(9))
    assert not order.is_late(receipt(1, to=CLEO))
    assert not order.is_late(receipt(1, of=CLEO))
    assert not order.is_late(receipt(1, status="read"))
    assert not order.is_late(receipt(1, conversation=THERE))


def test_other_pushes_are_never_late():
    order = ReceiptOrder()
    assert not order.is_late(UserPush(ANN, "typing", b"{}", HERE))


def test_what_is_kept_is_bounded_and_the_oldest_is_forgotten():
    order = ReceiptOrder(kept_max=2)
    for of in (BOB, CLEO, ANN):
        order.is_late(receipt(9, of=of))
    assert not order.is_late(receipt(1, of=BOB))
    assert order.is_late(receipt(1, of=ANN))
