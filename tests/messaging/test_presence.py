"""Presence of conversation topics, over processes and without Redis: docs/protocol.md §2, the reliability catalogue
F18 and F20-F22."""

import asyncio
import json
import time
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings as django_settings

from messaging.fanout.hub import hub
from messaging.fanout.news import PresenceChange, pack, unpack
from messaging.presence import Presence
from messaging.store import presence as store
from messaging.store.presence import MEMBER_BYTES, PresentSocket
from tests.own_redis import OwnRedis
from tests.redis_process import RedisProcess, refs_of, until
from whispr.kernel.limits import LIMITS

# How often the processes of these tests renew; sockets of a dead process are gone after three times as long.
PERIOD = 0.4


@pytest.fixture
def own_redis(settings):
    with OwnRedis() as server:
        settings.CACHES = {"default": {**django_settings.CACHES["default"], "LOCATION": server.url}}
        yield server


class Told:
    """A watcher that shows what a Phoenix client would show."""

    def __init__(self) -> None:
        self.diffs: list[dict[str, Any]] = []
        self.state: dict[str, Any] = {}

    def on_presence(self, payload: bytes) -> None:
        self.diffs.append(json.loads(payload))

    async def track(self, presence: Presence, conversation: UUID, user: UUID, device: UUID | None = None) -> None:
        self.state = json.loads(await presence.track(conversation, user, device or uuid4(), self))

    @property
    def refs(self) -> set[str]:
        refs = refs_of(self.state)
        for diff in self.diffs:
            refs |= refs_of(diff["joins"])
            refs -= refs_of(diff["leaves"])
        return refs


async def eventually(condition: Any, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def key(conversation: UUID) -> str:
    return f"whispr:presence:{conversation.hex}"


def process_on(server: OwnRedis) -> RedisProcess:
    return RedisProcess(server.url, WHISPR_PRESENCE_SECONDS=str(PERIOD))


def track(process: RedisProcess, watcher: str, conversation: UUID, user: UUID | None = None) -> dict[str, Any]:
    state: dict[str, Any] = process.ask(
        do="track", watcher=watcher, conversation=conversation, user=user or uuid4(), device=uuid4()
    )["state"]
    return state


# --- One process ---


async def test_the_state_has_phoenix_form_and_this_socket(own_redis):
    presence, told = Presence(PERIOD), Told()
    user, device = uuid4(), uuid4()
    await told.track(presence, uuid4(), user, device)
    [(shown_user, metas)] = told.state.items()
    [meta] = metas["metas"]
    assert shown_user == str(user)
    assert meta.keys() == {"phx_ref", "deviceId", "onlineAt"}
    assert meta["deviceId"] == str(device)
    assert datetime.fromisoformat(meta["onlineAt"]).utcoffset() is not None
    await asyncio.sleep(0.1)
    assert told.diffs == []


async def test_a_join_and_a_leave_are_told_to_the_others(own_redis):
    presence, first, second = Presence(PERIOD), Told(), Told()
    conversation, user = uuid4(), uuid4()
    await first.track(presence, conversation, uuid4())
    await second.track(presence, conversation, user)
    await eventually(lambda: first.diffs)
    assert first.diffs == [{"joins": {str(user): second.state[str(user)]}, "leaves": {}}]
    presence.untrack(conversation, second)
    await eventually(lambda: len(first.diffs) == 2)
    assert first.diffs[1] == {"joins": {}, "leaves": {str(user): second.state[str(user)]}}
    await eventually(lambda: own_redis.client.zcard(key(conversation)) == 1)
    assert second.diffs == []


async def test_two_devices_of_a_user_are_two_metas_and_leave_one_by_one(own_redis):
    presence, other, phone, laptop = Presence(PERIOD), Told(), Told(), Told()
    conversation, user = uuid4(), uuid4()
    await other.track(presence, conversation, uuid4())
    await phone.track(presence, conversation, user)
    await laptop.track(presence, conversation, user)
    assert len(laptop.state[str(user)]["metas"]) == 2
    await eventually(lambda: other.refs == laptop.refs)
    presence.untrack(conversation, phone)
    await eventually(lambda: other.diffs[-1]["leaves"])
    assert other.diffs[-1]["leaves"] == {str(user): phone.state[str(user)]}
    assert other.refs == laptop.refs


async def test_a_join_taken_back_at_once_is_not_told(own_redis):
    presence, other, brief, last = Presence(PERIOD), Told(), Told(), Told()
    conversation, user = uuid4(), uuid4()
    await other.track(presence, conversation, uuid4())
    joining = asyncio.create_task(presence.track(conversation, uuid4(), uuid4(), brief))
    await asyncio.sleep(0)
    presence.untrack(conversation, brief)
    await joining
    await last.track(presence, conversation, user)
    await eventually(lambda: other.diffs)
    assert [diff["joins"].keys() for diff in other.diffs] == [{str(user)}]
    assert own_redis.client.zcard(key(conversation)) == 2
    assert brief.diffs == []


async def test_a_cancelled_join_leaves_nothing(own_redis):
    presence, told = Presence(PERIOD), Told()
    conversation = uuid4()
    joining = asyncio.create_task(presence.track(conversation, uuid4(), uuid4(), told))
    await asyncio.sleep(0)
    joining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joining
    await asyncio.sleep(0.1)
    assert own_redis.client.zcard(key(conversation)) == 0
    assert presence._rooms == {}


async def test_tracking_again_is_one_presence(own_redis):
    presence, told = Presence(PERIOD), Told()
    conversation, user = uuid4(), uuid4()
    await told.track(presence, conversation, user)
    await told.track(presence, conversation, user)
    assert len(told.state[str(user)]["metas"]) == 1
    await eventually(lambda: own_redis.client.zcard(key(conversation)) == 1)


async def test_untrack_of_the_unknown_does_nothing(own_redis):
    presence, told = Presence(PERIOD), Told()
    presence.untrack(uuid4(), told)
    conversation = uuid4()
    await told.track(presence, conversation, uuid4())
    presence.untrack(conversation, Told())
    assert len(presence._rooms) == 1


async def test_a_failing_watcher_costs_no_other(own_redis):
    class Broken(Told):
        def on_presence(self, payload: bytes) -> None:
            raise ValueError

    presence, broken, told = Presence(PERIOD), Broken(), Told()
    conversation = uuid4()
    await broken.track(presence, conversation, uuid4())
    await told.track(presence, conversation, uuid4())
    third = Told()
    await third.track(presence, conversation, uuid4())
    await eventually(lambda: told.refs == third.refs)


async def test_the_sockets_shown_of_a_user_and_of_a_conversation_are_bounded(own_redis, monkeypatch):
    presence, conversation, user = Presence(PERIOD), uuid4(), uuid4()
    sockets = [Told() for _ in range(LIMITS.sockets_per_user + 5)]
    for one in sockets:
        await one.track(presence, conversation, user)
    assert len(refs_of(sockets[-1].state)) == LIMITS.sockets_per_user
    assert own_redis.client.zcard(key(conversation)) == LIMITS.sockets_per_user
    monkeypatch.setattr(store, "SOCKETS_MAX", 3)
    other = uuid4()
    full = [PresentSocket(uuid4(), uuid4(), bytes([n]) * 9, 0, b"otherone").pack() for n in range(5)]
    await store.presences_exchange(presence.link, [store.Exchange(other, joins=full)], 10)
    assert own_redis.client.zcard(key(other)) == 3


async def test_no_work_is_left_when_nobody_watches(own_redis):
    presence, told = Presence(0.05), Told()
    conversation = uuid4()
    await told.track(presence, conversation, uuid4())
    assert presence._take in hub.watchers
    presence.untrack(conversation, told)
    await eventually(lambda: presence._take not in hub.watchers)
    await told.track(presence, conversation, uuid4())
    assert presence._take in hub.watchers


# --- Several processes ---


def test_two_processes_tell_each_other_at_once(own_redis):
    # Renewed so rarely that only the bus can be what tells.
    conversation = uuid4()
    with RedisProcess(own_redis.url) as one, RedisProcess(own_redis.url) as two:
        first = track(one, "first", conversation)
        second = track(two, "second", conversation)
        assert refs_of(first) < refs_of(second)
        until(lambda: one.present("first", first) == refs_of(second), 10)
        two.ask(do="untrack", watcher="second", conversation=conversation)
        until(lambda: one.present("first", first) == refs_of(first), 10)


def test_a_killed_process_vanishes(own_redis):
    conversation = uuid4()
    with process_on(own_redis) as one, process_on(own_redis) as two:
        first = track(one, "first", conversation)
        track(two, "second", conversation)
        until(lambda: len(one.present("first", first)) == 2)
        two.kill()
        until(lambda: one.present("first", first) == refs_of(first))
        assert own_redis.client.zcard(key(conversation)) == 1


def test_a_frozen_process_vanishes_and_returns(own_redis):
    conversation = uuid4()
    with process_on(own_redis) as one, process_on(own_redis) as two:
        first = track(one, "first", conversation)
        second = track(two, "second", conversation)
        two.freeze()
        until(lambda: one.present("first", first) == refs_of(first))
        two.thaw()
        until(lambda: one.present("first", first) == refs_of(second))


def test_what_the_bus_lost_is_made_good(own_redis):
    conversation = uuid4()
    with process_on(own_redis) as one, process_on(own_redis) as two:
        first = track(one, "first", conversation)
        # The bus's own connections are closed again and again: joins and leaves are lost on it.
        for n in range(5):
            own_redis.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            state = track(two, str(n), conversation)
        two.ask(do="untrack", watcher="0", conversation=conversation)
        until(lambda: len(one.present("first", first)) == 5)
        assert one.present("first", first) == refs_of(first) | two.present("4", state)


def test_an_emptied_redis_makes_nobody_leave(own_redis):
    conversation = uuid4()
    with process_on(own_redis) as one, process_on(own_redis) as two:
        first = track(one, "first", conversation)
        second = track(two, "second", conversation)
        until(lambda: one.present("first", first) == refs_of(second))
        time.sleep(3 * PERIOD)  # so that none is missing only because it has just come
        own_redis.client.flushall()
        until(lambda: own_redis.client.zcard(key(conversation)) == 2)
        time.sleep(4 * PERIOD)
        assert [diff for _, diff in one.told + two.told if diff["leaves"]] == []


# --- Without Redis ---


def test_redis_killed_local_presence_goes_on_and_it_heals(own_redis):
    conversation = uuid4()
    with process_on(own_redis) as one, process_on(own_redis) as two:
        first = track(one, "first", conversation)
        second = track(two, "second", conversation)
        until(lambda: one.present("first", first) == refs_of(second))
        own_redis.kill()
        third = track(one, "third", conversation)
        assert refs_of(third) > refs_of(second)
        until(lambda: one.present("first", first) == refs_of(third))
        one.ask(do="untrack", watcher="first", conversation=conversation)
        until(lambda: one.present("third", third) == refs_of(third) - refs_of(first))
        own_redis.start()
        until(lambda: two.present("second", second) == one.present("third", third))
        assert len(one.present("third", third)) == 2


def test_redis_frozen_joins_are_answered_and_it_heals(own_redis):
    conversation = uuid4()
    with process_on(own_redis) as one, process_on(own_redis) as two:
        first = track(one, "first", conversation)
        second = track(two, "second", conversation)
        own_redis.freeze()
        try:
            for n in range(20):
                third = track(one, f"third{n}", conversation)
        finally:
            own_redis.thaw()
        assert len(refs_of(third)) >= 21
        until(lambda: len(two.present("second", second)) == 22)
        assert two.present("second", second) == one.present("first", first)


async def test_redis_full_is_no_error_of_a_join(own_redis):
    own_redis.client.config_set("maxmemory", "1")
    presence, told, other = Presence(PERIOD), Told(), Told()
    conversation = uuid4()
    await told.track(presence, conversation, uuid4())
    await other.track(presence, conversation, uuid4())
    assert len(other.refs) == 2
    own_redis.client.config_set("maxmemory", "0")
    await eventually(lambda: own_redis.client.zcard(key(conversation)) == 2)


async def test_redis_away_from_the_start(own_redis):
    own_redis.kill()
    presence, told = Presence(PERIOD), Told()
    conversation = uuid4()
    await told.track(presence, conversation, uuid4())
    assert len(told.refs) == 1
    own_redis.start()
    await eventually(lambda: own_redis.client.zcard(key(conversation)) == 1)


async def test_a_ghost_of_this_process_is_removed(own_redis):
    presence, told = Presence(PERIOD), Told()
    conversation = uuid4()
    ghost = PresentSocket(uuid4(), uuid4(), b"123456789", 0, presence.origin)
    await store.presences_exchange(presence.link, [store.Exchange(conversation, joins=[ghost.pack()])], 60)
    await told.track(presence, conversation, uuid4())
    assert len(told.refs) == 1
    await eventually(lambda: own_redis.client.zcard(key(conversation)) == 1)


# --- What is carried ---


async def test_old_news_of_a_socket_that_left_brings_it_not_back(own_redis):
    presence, told = Presence(PERIOD), Told()
    conversation = uuid4()
    await told.track(presence, conversation, uuid4())
    member = PresentSocket(uuid4(), uuid4(), b"123456789", 0, b"otherone").pack()
    hub.take([PresenceChange(conversation, False, member)])
    hub.take([PresenceChange(conversation, True, member)])
    await store.presences_exchange(presence.link, [store.Exchange(conversation, joins=[member])], 60)
    await presence.compare()
    await asyncio.sleep(0.1)
    assert told.diffs == []


@pytest.mark.parametrize("payload", [b"", b"x", b"\x02" + bytes(MEMBER_BYTES - 1), bytes(MEMBER_BYTES * 3 + 1)])
async def test_unknown_forms_are_passed_over(own_redis, payload):
    presence, told = Presence(PERIOD), Told()
    conversation = uuid4()
    await told.track(presence, conversation, uuid4())
    hub.take([PresenceChange(conversation, joined, payload) for joined in (True, False)])
    await asyncio.sleep(0.1)
    assert told.diffs == []


def test_the_form_on_the_bus():
    change = PresenceChange(uuid4(), True, b"payload")
    assert unpack(pack([change])) == [change]
    assert unpack([["?", b"of a newer version"], *pack([change])]) == [change]


def test_a_socket_comes_back_from_its_packed_form():
    socket = PresentSocket(uuid4(), uuid4(), b"123456789", 1_700_000_000_123, b"12345678")
    assert PresentSocket.unpack(socket.pack()) == socket
    assert len(socket.pack()) == MEMBER_BYTES
