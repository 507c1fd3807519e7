"""Pushes that fail, or whose outcome is not known: none is lost, and none is shown twice."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from asgiref.sync import async_to_sync

from delivery.events import PushOutcome
from delivery.models import DeadLetter, PushState, PushStatistic
from delivery.services import push as service
from delivery.services.dead_letters import dead_letters_requeue
from messaging.models import Device, Message
from tests.delivery.pushing import LIMITS_NOW, acknowledge, direct, dispatch, later, phone, send
from whispr.kernel.breaker import breaker
from whispr.kernel.errors import BadRequest, TemporaryUnavailable, Timeout

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("at_once")]
ANN, BOB, EVE = UUID(int=1), UUID(int=2), UUID(int=3)


def test_while_the_service_is_away_pushes_wait_and_become_one(notifications) -> None:
    chat, other = direct(ANN, BOB), direct(EVE, BOB)
    notifications.error = TemporaryUnavailable()
    for _ in range(4):
        send(chat, ANN)
        dispatch()
        later(60)
    read = send(other, EVE)
    dispatch()
    acknowledge(BOB, other, read.seq, read=True)
    notifications.calls.clear()
    notifications.error = None
    later(60)
    dispatch()
    assert [(push.conversation_id, push.count) for push in notifications.pushes] == [(chat, 4)]
    assert len(notifications.shown) == 1
    assert not DeadLetter.objects.exists()


def test_an_open_circuit_is_not_asked(notifications, monkeypatch) -> None:
    chat = direct(ANN, BOB)
    send(chat, ANN)
    monkeypatch.setattr(breaker("notification_service"), "_hold", "open")
    dispatch()
    assert notifications.calls == []
    monkeypatch.setattr(breaker("notification_service"), "_hold", None)
    dispatch()
    assert len(notifications.pushes) == 1


@pytest.mark.parametrize("taken", [True, False])
def test_after_an_unknown_outcome_the_key_is_the_same_until_there_is_more(notifications, taken) -> None:
    chat = direct(ANN, BOB)
    first, second = send(chat, ANN), send(chat, ANN)
    notifications.error, notifications.takes_first = Timeout(), taken
    for _ in range(2):
        dispatch()
        later(60)
    Message.objects.filter(id=second.message_id).update(is_deleted=True)
    dispatch()
    later(60)
    assert [push.count for push in notifications.pushes] == [2, 2, 1]
    assert len({push.key for push in notifications.pushes}) == 1
    notifications.error = None
    third = send(chat, ANN)
    dispatch()
    last = notifications.pushes[-1]
    assert last.message_ids == (first.message_id, third.message_id)
    assert len(notifications.shown) == 1 + taken
    later(60)
    dispatch()
    assert len(notifications.pushes) == 4


def test_a_worker_that_dies_in_between_loses_nothing_and_doubles_nothing(notifications, monkeypatch) -> None:
    class Killed(BaseException):
        pass

    def die_at(place: str) -> Callable[[str], None]:
        def die(name: str) -> None:
            if name == place:
                raise Killed

        return die

    chat = direct(ANN, BOB)
    for place in ("push.after_claim", "push.before_send", "push.after_send"):
        send(chat, ANN)
        monkeypatch.setattr(service, "hit", die_at(place))
        later(60)
        with pytest.raises(Killed):
            dispatch()
        monkeypatch.setattr(service, "hit", lambda name: None)
        before = len(notifications.shown)
        dispatch()
        assert len(notifications.shown) == before  # the claim still holds
        later(60)
        dispatch()
    assert [push.count for push in notifications.shown.values()] == [1, 2, 3]
    assert len(notifications.pushes) == 4


def test_a_refused_push_is_a_dead_letter_in_the_end_and_costs_the_others_nothing(notifications) -> None:
    chat, other = direct(ANN, BOB), direct(ANN, EVE)
    notifications.answer = lambda push: PushOutcome(
        key=push.key, accepted=push.user_id == EVE, reason="" if push.user_id == EVE else "not_today"
    )
    send(chat, ANN)
    send(other, ANN)
    for _ in range(LIMITS_NOW.push_attempts + 2):
        dispatch()
        later(600)
    assert [push.user_id for push in notifications.pushes].count(EVE) == 1
    assert [push.user_id for push in notifications.pushes].count(BOB) == LIMITS_NOW.push_attempts
    assert len({push.key for push in notifications.pushes}) == 2
    letter = DeadLetter.objects.get()
    assert (letter.kind, letter.code, letter.state) == ("push", "not_today", "waiting")
    notifications.answer = lambda push: PushOutcome(key=push.key, accepted=True)
    async_to_sync(dead_letters_requeue)([letter.id])
    dispatch()
    assert notifications.pushes[-1].user_id == BOB
    assert PushState.objects.get(user_id=BOB).attempts == 0


def test_a_request_that_is_refused_as_a_whole_is_tried_push_by_push(notifications) -> None:
    chats = [direct(ANN, user) for user in (BOB, EVE, uuid4())]
    for chat in chats:
        send(chat, ANN)

    async def refuse(pushes, *, seconds: float = 5.0) -> list[PushOutcome]:
        notifications.calls.append(list(pushes))
        if any(push.user_id == EVE for push in pushes):
            raise BadRequest
        return [PushOutcome(key=push.key, accepted=True) for push in pushes]

    notifications.send_push_notifications = refuse
    dispatch()
    assert [len(call) for call in notifications.calls] == [3, 1, 1, 1]
    assert set(PushState.objects.filter(is_shown=False).values_list("user_id", flat=True)) == {EVE}


def test_a_dead_token_is_forgotten_and_a_newer_one_is_not(notifications) -> None:
    chat, gone, kept = direct(ANN, BOB), phone(BOB), phone(BOB)

    async def dead(pushes, *, seconds: float = 5.0) -> list[PushOutcome]:
        await Device.objects.filter(id=kept.id).aupdate(push_token="newer")
        return [PushOutcome(key=pushes[0].key, accepted=True, invalid_devices=(gone.id, kept.id))]

    notifications.send_push_notifications = dead
    send(chat, ANN)
    dispatch()
    assert dict(Device.objects.filter(user_id=BOB).values_list("id", "push_token")) == {gone.id: "", kept.id: "newer"}
    counts = {(row.platform, row.outcome): row.count for row in PushStatistic.objects.all()}
    assert counts == {("", "accepted"): 1, ("android", "invalid_token"): 2}


def test_a_revoked_device_gets_no_push(notifications) -> None:
    chat, device = direct(ANN, BOB), phone(BOB)
    Device.objects.filter(id=device.id).update(revoked_at=datetime.now(UTC))
    send(chat, ANN)
    dispatch()
    assert [push.devices for push in notifications.pushes] == [()]
