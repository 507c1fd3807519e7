"""Devices that were away for too long, and when devices were last there, on a real PostgreSQL."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from delivery.models import DeviceCursor
from messaging.models import Block, Device, UserSettings
from messaging.store.conversations import conversation_create
from messaging.store.devices import device_expiry_take, device_touch, devices_expire, devices_seen
from messaging.store.sharing import is_presence_shared, is_typing_passed_on, list_last_seen
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db


def device_away(days: float, user: UUID | None = None, **fields: object) -> Device:
    seen = datetime.now(UTC) - timedelta(days=days)
    return Device.objects.create(user_id=user or uuid4(), last_seen_at=seen, **fields)


def with_cursor(device: Device) -> Device:
    conversation_id = conversation_create(device.user_id, "group", [device.user_id], b"{}", None).view.id
    DeviceCursor.objects.create(device=device, conversation_id=conversation_id, acked_seq=1)
    return device


def cursors_of(device: Device) -> int:
    return DeviceCursor.objects.filter(device=device).count()


@pytest.mark.parametrize(("days", "expires"), [(0, False), (44.9, False), (45.1, True), (400, True)])
def test_a_device_that_was_away_for_too_long_begins_anew_once(days: float, expires: bool) -> None:
    assert LIMITS.device_retention_days == 45
    device = with_cursor(device_away(days))
    state = device_touch(device.user_id, device.id, 50)
    assert state is not None
    assert not state.revoked
    assert cursors_of(device) == (0 if expires else 1)
    assert device_expiry_take(device.id) is expires
    assert device_expiry_take(device.id) is False
    device_touch(device.user_id, device.id, 50)
    assert device_expiry_take(device.id) is False


def test_anothers_and_a_revoked_device_are_not_touched() -> None:
    device = with_cursor(device_away(100))
    device_touch(uuid4(), device.id, 50)
    revoked = with_cursor(device_away(100, revoked_at=datetime.now(UTC)))
    device_touch(revoked.user_id, revoked.id, 50)
    assert (cursors_of(device), cursors_of(revoked)) == (1, 1)
    assert not device_expiry_take(device.id)
    assert not device_expiry_take(revoked.id)


def test_the_task_expires_devices_that_do_not_come_back() -> None:
    gone = [with_cursor(device_away(46)) for _ in range(3)]
    there = with_cursor(device_away(1))
    assert devices_expire(2) == 2
    assert devices_expire(2) == 1
    assert devices_expire(2) == 0
    assert [cursors_of(device) for device in gone] == [0, 0, 0]
    assert cursors_of(there) == 1
    device_touch(gone[0].user_id, gone[0].id, 50)
    assert device_expiry_take(gone[0].id) is True
    assert device_expiry_take(there.id) is False


def test_when_devices_were_last_there_is_noted_and_never_goes_back() -> None:
    now = datetime.now(UTC)
    old, fresh, revoked = device_away(1), device_away(0), device_away(1, revoked_at=now)
    before = fresh.last_seen_at
    devices_seen({old.id: 60.0, fresh.id: 3600.0, revoked.id: 1.0, uuid4(): 1.0})
    for device in (old, fresh, revoked):
        device.refresh_from_db()
    assert abs((now - old.last_seen_at).total_seconds() - 60) < 30
    assert fresh.last_seen_at == before
    assert (now - revoked.last_seen_at).total_seconds() > 80_000


# --- who may know


def shares(user: UUID, on: bool) -> None:
    UserSettings.objects.update_or_create(user_id=user, defaults={"share_last_seen": on})


def test_last_seen_is_shown_to_who_shares_it_too() -> None:
    ann, bob, never = uuid4(), uuid4(), uuid4()
    device_away(3, ann)
    device_away(9, bob)
    last = device_away(2, bob)
    seen = list_last_seen(ann, [ann, bob, never])
    assert seen.keys() == {ann, bob, never}
    assert (seen[bob], seen[never]) == (last.last_seen_at, None)
    shares(bob, False)
    assert list_last_seen(ann, [ann, bob]).keys() == {ann}
    assert list_last_seen(bob, [ann, bob]).keys() == {bob}  # reciprocal
    shares(bob, True)
    assert list_last_seen(bob, [ann, bob]).keys() == {ann, bob}


@pytest.mark.parametrize("blocker", ["ann", "bob"])
def test_a_block_hides_each_from_the_other(blocker: str) -> None:
    users = {"ann": uuid4(), "bob": uuid4(), "cid": uuid4()}
    ann, bob, cid = users.values()
    direct = conversation_create(ann, "direct", [ann, bob], b"{}", None).view.id
    group = conversation_create(ann, "group", [ann, bob, cid], b"{}", None).view.id

    def state() -> tuple[object, ...]:
        return (
            list_last_seen(ann, [ann, bob, cid]).keys(),
            list_last_seen(bob, [ann, bob, cid]).keys(),
            [is_presence_shared(user, direct) for user in (ann, bob)],
            [is_presence_shared(user, group) for user in (ann, bob, cid)],
            [is_typing_passed_on(one) for one in (direct, group)],
        )

    open_ = ({ann, bob, cid}, {ann, bob, cid}, [True] * 2, [True] * 3, [True, True])
    assert state() == open_
    block = Block.objects.create(user_id=users[blocker], blocked_id=bob if blocker == "ann" else ann)
    assert state() == ({ann, cid}, {bob, cid}, [False] * 2, [True] * 3, [False, True])
    block.delete()
    assert state() == open_
    shares(ann, False)
    assert [is_presence_shared(user, direct) for user in (ann, bob)] == [False, True]
    assert not is_presence_shared(bob, uuid4())
    assert not is_typing_passed_on(uuid4())
