"""Who is pushed to, when, how often and with what; on a real PostgreSQL and a real Redis."""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from asgiref.sync import async_to_sync
from django.db.models import F

from delivery.events import PushOutcome, PushPreference
from delivery.models import DeadLetter, PushLog, PushOutbox, PushState, PushStatistic
from delivery.models import PushPreference as PushPreferenceRow
from delivery.services import push as service
from delivery.services import push_hand_over
from delivery.services.dead_letters import dead_letters_requeue
from messaging.models import Block, Device, HiddenMessage, Member, Message
from messaging.presence.online import Online
from messaging.store.members import member_remove
from tests.delivery.pushing import LIMITS_NOW, Service, acknowledge, direct, group, later, phone, send
from whispr.kernel import database
from whispr.kernel.breaker import breaker
from whispr.kernel.errors import BadRequest, TemporaryUnavailable, Timeout

pytestmark = pytest.mark.django_db(transaction=True)
ANN, BOB, EVE = UUID(int=1), UUID(int=2), UUID(int=3)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch) -> None:
    monkeypatch.setattr(service, "LIMITS", LIMITS_NOW)


@pytest.fixture
def notifications(monkeypatch) -> Service:
    fake = Service()
    monkeypatch.setattr(push_hand_over, "notification_service", lambda: fake)
    return fake


def dispatch() -> int:
    return async_to_sync(service.pushes_send)()


def test_who_does_not_acknowledge_is_told_once(notifications) -> None:
    chat, device = direct(ANN, BOB), phone(BOB)
    phone(ANN)
    first, second = send(chat, ANN), send(chat, ANN)
    assert PushOutbox.objects.count() == 2
    dispatch()
    (push,) = notifications.pushes
    assert (push.kind, push.user_id, push.conversation_id, push.count, push.badge) == ("message", BOB, chat, 2, 2)
    assert push.message_ids == (first.message_id, second.message_id)
    assert [(one.device_id, one.platform, one.token) for one in push.devices] == [
        (device.id, "android", device.push_token)
    ]
    assert push.preview == ""
    later(3600)
    dispatch()
    assert len(notifications.pushes) == 1
    assert not PushOutbox.objects.exists()


def test_nothing_of_a_message_or_a_name_is_in_a_push(notifications) -> None:
    chat = group(ANN, BOB)
    Device.objects.filter(user_id=ANN).update(name="Ann's phone")
    send(chat, ANN, content=b"a secret word", metadata=b'{"title": "a secret title"}')
    dispatch()
    (push,) = notifications.pushes
    assert set(push.__struct_fields__) == {
        *("key", "kind", "user_id", "conversation_id", "message_ids", "count", "badge", "devices", "expires_at")
    }
    assert "secret" not in repr(push)
    assert re.fullmatch("[0-9a-f]{32}", push.key)
    assert str(ANN) not in repr(push)


def test_the_tokens_are_in_no_repr_and_no_log(notifications, caplog) -> None:
    chat, device = direct(ANN, BOB), phone(BOB, "a-token-to-keep")
    notifications.error = RuntimeError(f"cannot reach {device.push_token}")
    send(chat, ANN)
    with caplog.at_level("DEBUG"):
        dispatch()
    assert "a-token-to-keep" not in repr(notifications.pushes)
    assert "RuntimeError" in caplog.text
    assert "a-token-to-keep" not in caplog.text
    assert not PushLog.objects.exists()


@pytest.mark.parametrize("read", [False, True])
def test_who_acknowledged_meanwhile_is_not_told(notifications, read) -> None:
    chat = direct(ANN, BOB)
    entry = send(chat, ANN)
    acknowledge(BOB, chat, entry.seq, read=read)
    dispatch()
    assert notifications.pushes == []
    assert not PushState.objects.exists()


def test_who_acknowledges_between_the_outbox_and_the_claim_is_not_told(notifications, monkeypatch) -> None:
    chat = direct(ANN, BOB)
    entry = send(chat, ANN)
    monkeypatch.setattr(breaker("notification_service"), "_hold", "open")
    dispatch()
    assert PushState.objects.get().user_id == BOB
    acknowledge(BOB, chat, entry.seq)
    monkeypatch.setattr(breaker("notification_service"), "_hold", None)
    dispatch()
    assert notifications.pushes == []
    assert not PushState.objects.exists()


def _expire(message: Message) -> None:
    Message.objects.filter(id=message.id).update(expires_at=datetime.now(UTC))


def _delete(message: Message) -> None:
    Message.objects.filter(id=message.id).update(is_deleted=True, delete_for_everyone=True)


def _hide(message: Message) -> None:
    HiddenMessage.objects.create(user_id=BOB, message=message)


def _remove(message: Message) -> None:
    member_remove(ANN, message.conversation_id, BOB)


def _mute(message: Message) -> None:
    PushPreferenceRow.objects.create(
        user_id=BOB, conversation_id=message.conversation_id, muted_until=datetime.now(UTC) + timedelta(hours=1)
    )


def _switch_off(message: Message) -> None:
    PushPreferenceRow.objects.create(user_id=BOB, enabled=False)


@pytest.mark.parametrize("change", [_expire, _delete, _hide, _remove, _mute, _switch_off])
@pytest.mark.parametrize("armed", [False, True])
def test_nobody_is_told_of_what_is_gone_or_unwanted(notifications, monkeypatch, change, armed) -> None:
    chat = group(ANN, BOB)
    entry = send(chat, ANN)
    if armed:
        monkeypatch.setattr(breaker("notification_service"), "_hold", "open")
        dispatch()
        assert PushState.objects.count() == 1
        monkeypatch.setattr(breaker("notification_service"), "_hold", None)
    change(Message.objects.get(id=entry.message_id))
    dispatch()
    later(3600)
    dispatch()
    assert notifications.pushes == []
    assert not PushState.objects.filter(due_at__isnull=False).exists()


def test_nobody_is_told_of_what_a_block_withholds_nor_of_changes(notifications) -> None:
    chat = direct(ANN, BOB)
    acknowledge(BOB, chat, 1)
    Block.objects.create(user_id=BOB, blocked_id=ANN)
    send(chat, ANN)
    assert not PushOutbox.objects.exists()
    Block.objects.all().delete()
    entry = send(chat, ANN)
    acknowledge(BOB, chat, entry.seq)
    send(chat, ANN, type="reaction", target=entry.message_id, emoji="👍", metadata=b'{"emoji":"\xf0\x9f\x91\x8d"}')
    dispatch()
    assert notifications.pushes == []


def test_a_mute_that_is_over_mutes_nothing(notifications) -> None:
    chat = group(ANN, BOB)
    PushPreferenceRow.objects.create(user_id=BOB, conversation_id=chat, muted_until=datetime.now(UTC))
    send(chat, ANN)
    dispatch()
    assert len(notifications.pushes) == 1


class _Users:
    """A user service that answers as it is told."""

    def __init__(self, *answers: PushPreference, error: Exception | None = None) -> None:
        self.answers, self.error = list(answers), error

    async def get_offline_recipients(self, candidates, *, seconds: float = 5.0) -> list[PushPreference]:
        if self.error is not None:
            raise self.error
        return self.answers


def test_the_user_service_decides_about_those_whom_it_was_asked_about(notifications, monkeypatch) -> None:
    chat, nobody = group(ANN, BOB, EVE), uuid4()
    answers = [PushPreference(BOB, chat, True), PushPreference(nobody, chat, True), PushPreference(ANN, chat, True)]
    monkeypatch.setattr(service, "user_service", lambda: _Users(*answers))
    send(chat, ANN)
    dispatch()
    assert [push.user_id for push in notifications.pushes] == [BOB]


def test_while_the_user_service_is_away_the_preferences_known_here_count(notifications, monkeypatch) -> None:
    chat = group(ANN, BOB, EVE)
    monkeypatch.setattr(service, "user_service", lambda: _Users(error=TemporaryUnavailable()))
    PushPreferenceRow.objects.create(user_id=EVE, conversation_id=chat, enabled=False)
    send(chat, ANN)
    dispatch()
    assert [push.user_id for push in notifications.pushes] == [BOB]


def test_within_the_window_one_push_then_one_with_the_count(notifications) -> None:
    chat = direct(ANN, BOB)
    send(chat, ANN)
    dispatch()
    for _ in range(3):
        send(chat, ANN)
        dispatch()
    assert [push.count for push in notifications.pushes] == [1]
    later(16)
    dispatch()
    assert [push.count for push in notifications.pushes] == [1, 4]
    assert len(notifications.shown) == 2


def test_of_a_group_everybody_who_is_away_but_the_sender(notifications) -> None:
    members = [uuid4() for _ in range(5)]
    chat = group(ANN, *members)
    entry = send(chat, ANN)
    acknowledge(members[0], chat, entry.seq)
    dispatch()
    assert {push.user_id for push in notifications.pushes} == set(members[1:])


def test_an_expiry_goes_with_the_push_where_all_of_it_expires(notifications) -> None:
    chat = direct(ANN, BOB)
    entry = send(chat, ANN, ttl=60)
    dispatch()
    assert notifications.pushes[0].expires_at == entry.expires_at
    send(chat, ANN)
    later(16)
    dispatch()
    assert notifications.pushes[1].expires_at is None


def test_who_is_online_has_time_until_the_socket_ends(notifications) -> None:
    user = uuid4()
    send(direct(ANN, user), ANN)

    async def while_online() -> None:
        there = Online()
        await there.enter("socket", user, uuid4())
        await service.pushes_send()
        there.leave("socket")
        while user in await there.among([user]):
            await asyncio.sleep(0.01)

    async_to_sync(while_online)()
    assert notifications.pushes == []
    assert PushState.objects.get().due_at is not None
    later(service.ONLINE_MIN_SECONDS + 1)
    dispatch()
    assert [push.count for push in notifications.pushes] == [1]


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


def test_what_is_read_on_one_device_is_cleared_on_the_others_once(notifications) -> None:
    chat, old, new = direct(ANN, BOB), phone(BOB), phone(BOB)
    first = send(chat, ANN)
    dispatch()
    later(16)
    last = send(chat, ANN)
    dispatch()
    acknowledge(BOB, chat, first.seq, read=True, device=new.id)
    dispatch()
    assert [push.kind for push in notifications.pushes] == ["message", "message"]  # the second is unread
    acknowledge(BOB, chat, last.seq, read=True, device=new.id)
    dispatch()
    clear = notifications.pushes[-1]
    assert (clear.kind, clear.conversation_id, clear.count, clear.badge) == ("clear", chat, 0, 0)
    assert [device.device_id for device in clear.devices] == [old.id]
    acknowledge(BOB, chat, last.seq, read=True, device=old.id)
    later(60)
    dispatch()
    assert len(notifications.pushes) == 3
    assert not PushState.objects.exists()


@pytest.mark.parametrize("noted", [True, False])
def test_what_is_read_while_it_is_pushed_is_cleared(notifications, noted) -> None:
    chat, old, new = direct(ANN, BOB), phone(BOB), phone(BOB)
    entry = send(chat, ANN)
    take = notifications.send_push_notifications

    async def read_meanwhile(pushes, *, seconds: float = 5.0) -> list[PushOutcome]:
        if pushes[0].kind == "message":
            await database.run(acknowledge, BOB, chat, entry.seq, read=True, device=new.id)
            if not noted:  # as by a reading that began before the claim
                await PushState.objects.aupdate(read_device_id=None, due_at=F("claimed_until"))
        return await take(pushes)

    notifications.send_push_notifications = read_meanwhile
    dispatch()
    dispatch()
    assert [push.kind for push in notifications.pushes] == ["message", "clear"]
    told = {device.device_id for device in notifications.pushes[-1].devices}
    assert told == ({old.id} if noted else {old.id, new.id})
    assert not PushState.objects.exists()


def test_what_was_read_on_the_only_device_needs_no_clearing(notifications) -> None:
    chat, device = direct(ANN, BOB), phone(BOB)
    entry = send(chat, ANN)
    dispatch()
    acknowledge(BOB, chat, entry.seq, read=True, device=device.id)
    dispatch()
    assert [push.kind for push in notifications.pushes] == ["message"]
    assert not PushState.objects.exists()


def test_a_badge_is_the_unread_of_all_conversations(notifications) -> None:
    chats = [direct(ANN, BOB), direct(EVE, BOB)]
    for sender, chat in zip((ANN, EVE), chats, strict=True):
        for _ in range(3):
            entry = send(chat, sender)
        acknowledge(BOB, chat, entry.seq)
    Message.objects.filter(conversation_id=chats[1], seq=2).update(is_deleted=True)
    send(chats[0], ANN)
    dispatch()
    assert [(push.count, push.badge) for push in notifications.pushes] == [(1, 6)]


def test_the_local_service_logs_each_push_once_and_forgets_old_ones(monkeypatch) -> None:
    chat, device = direct(ANN, BOB), phone(BOB)
    entry = send(chat, ANN)
    dispatch()
    row = PushLog.objects.get()
    assert (row.kind, row.user_id, row.conversation_id, row.count, row.badge, row.platforms, row.devices) == (
        *("message", BOB, chat, 1, 1, "android", 1),
    )
    assert device.push_token not in repr(vars(row))
    acknowledge(BOB, chat, entry.seq)
    assert Member.objects.get(conversation_id=chat, user_id=BOB).delivered_seq == entry.seq


def test_what_says_nothing_any_more_is_purged(notifications) -> None:
    chat = direct(ANN, BOB)
    entry = send(chat, ANN)
    dispatch()
    assert async_to_sync(service.pushes_purge)() == 0
    acknowledge(BOB, chat, entry.seq)
    assert async_to_sync(service.pushes_purge)() == 0  # still shown, to be cleared when it is read
    later(31 * 24 * 3600)
    assert async_to_sync(service.pushes_purge)() == 1
