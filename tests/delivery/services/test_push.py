"""Who is pushed to, when, how often and with what; on a real PostgreSQL and a real Redis."""

import asyncio
import dataclasses
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from asgiref.sync import async_to_sync
from django.db.models import F

from delivery.events import PushOutcome, PushPreference
from delivery.models import PushLog, PushOutbox, PushState
from delivery.models import PushPreference as PushPreferenceRow
from delivery.services import push as service
from delivery.store.push_settle import pushes_arm
from messaging.models import Block, Device, HiddenMessage, Member, Message
from messaging.presence.online import Online
from messaging.store.members import member_remove
from tests.delivery.pushing import LIMITS_NOW, acknowledge, direct, dispatch, group, later, phone, send
from whispr.kernel import database
from whispr.kernel.breaker import breaker
from whispr.kernel.errors import TemporaryUnavailable

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("at_once")]
ANN, BOB, EVE = UUID(int=1), UUID(int=2), UUID(int=3)


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


@pytest.mark.parametrize("early", ["in the window", "in its grace"])
def test_what_came_before_a_reading_elsewhere_is_told_in_its_time(notifications, monkeypatch, early) -> None:
    chat, old, new = direct(ANN, BOB), phone(BOB), phone(BOB)
    first = send(chat, ANN)
    dispatch()
    if early == "in its grace":
        later(16)
        monkeypatch.setattr(service, "LIMITS", dataclasses.replace(LIMITS_NOW, push_grace_seconds=60))
    second = send(chat, ANN)
    acknowledge(BOB, chat, first.seq, read=True, device=new.id)
    dispatch()
    assert [push.kind for push in notifications.pushes] == ["message", "clear"]
    assert [device.device_id for device in notifications.pushes[-1].devices] == [old.id]
    assert PushState.objects.get().due_at is not None
    monkeypatch.setattr(service, "LIMITS", LIMITS_NOW)
    later(61)
    dispatch()
    assert [push.kind for push in notifications.pushes] == ["message", "clear", "message"]
    assert notifications.pushes[-1].message_ids == (second.message_id,)


def test_a_socket_that_closes_does_not_cut_the_window_short(notifications) -> None:
    chat = direct(ANN, BOB)
    send(chat, ANN)
    dispatch()
    send(chat, ANN)
    dispatch()
    assert pushes_arm([BOB], 0) == 1
    dispatch()
    assert [push.count for push in notifications.pushes] == [1]
    later(16)
    dispatch()
    assert [push.count for push in notifications.pushes] == [1, 2]


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
