"""Who is online over all processes, and the cap of sockets a user; with Redis, without it, and when it comes back."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as django_settings

from messaging.presence import online as module
from messaging.presence.online import Online
from tests.own_redis import OwnRedis
from whispr.kernel.limits import LIMITS

MAX = LIMITS.sockets_per_user


@pytest.fixture
def own_redis(settings):
    with OwnRedis() as server:
        settings.CACHES = {"default": {**django_settings.CACHES["default"], "LOCATION": server.url}}
        yield server


async def eventually(condition: Any, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def key(user: Any) -> str:
    return f"whispr:online:{user.hex}"


async def test_online_is_who_has_a_socket_in_any_process(own_redis):
    here, there = Online(), Online()
    ann, bob, cid = uuid4(), uuid4(), uuid4()
    assert await here.enter("a", ann, uuid4())
    assert await there.enter("b", bob, uuid4())
    assert await here.among([ann, bob, cid]) == await there.among([ann, bob, cid]) == {ann, bob}
    assert await here.among([]) == set()
    here.leave("a")
    here.leave("a")
    here.leave("unknown")
    await eventually(lambda: not own_redis.client.exists(key(ann)))
    assert await there.among([ann, bob, cid]) == {bob}


async def test_the_cap_counts_the_sockets_of_all_processes(own_redis):
    processes = [Online(), Online(), Online()]
    user = uuid4()
    for number in range(MAX):
        assert await processes[number % 3].enter(number, user, uuid4())
    for process in processes:
        assert not await process.enter("more", user, uuid4())
        assert await process.enter("another's", uuid4(), uuid4())
    assert own_redis.client.zcard(key(user)) == MAX
    processes[0].leave(0)
    await eventually(lambda: own_redis.client.zcard(key(user)) == MAX - 1)
    assert await processes[1].enter("more", user, uuid4())
    assert not await processes[2].enter("still more", user, uuid4())


async def test_many_at_once_are_not_one_too_many(own_redis):
    processes = [Online() for _ in range(4)]
    user = uuid4()
    tries = [process.enter(number, user, uuid4()) for process in processes for number in range(MAX)]
    assert sum(await asyncio.gather(*tries)) == MAX
    await eventually(lambda: own_redis.client.zcard(key(user)) == MAX)


async def test_a_newer_socket_of_a_device_takes_the_place_of_the_older(own_redis):
    """A device that comes back before its old socket was given up is not one too many, on whichever process."""
    here, there = Online(), Online()
    user = uuid4()
    devices = [uuid4() for _ in range(MAX)]
    for number, device in enumerate(devices):
        assert await here.enter(number, user, device)
    assert await here.enter("again here", user, devices[0])
    assert await there.enter("again there", user, devices[1])
    assert own_redis.client.zcard(key(user)) == MAX
    here.leave(0)
    here.leave(1)  # the old sockets go at last: the new ones stay
    await here.among([user])
    await eventually(lambda: own_redis.client.zcard(key(user)) == MAX)
    assert not await there.enter("more", user, uuid4())


async def test_the_sockets_of_a_dead_process_are_forgotten(own_redis, monkeypatch):
    monkeypatch.setattr(module, "LIFETIME_SECONDS", 0.6)
    alive, dead = Online(0.2), Online(600)
    ann, bob = uuid4(), uuid4()
    await alive.enter("a", ann, uuid4())
    await dead.enter("b", bob, uuid4())
    await eventually(lambda: own_redis.client.exists(key(bob)) == 0)
    assert await alive.among([ann, bob]) == {ann}
    assert own_redis.client.exists(key(ann)) == 1


async def test_without_redis_a_process_knows_its_own_and_keeps_its_own_cap(own_redis):
    online = Online()
    ann, bob = uuid4(), uuid4()
    await online.enter("b", bob, uuid4())
    own_redis.kill()
    for number in range(MAX):
        assert await online.enter(number, ann, uuid4())
    assert not await online.enter("more", ann, uuid4())
    assert await online.among([ann, bob, uuid4()]) == {ann, bob}
    own_redis.start()
    await eventually(lambda: online.link.is_up)
    await online.renew()
    assert own_redis.client.zcard(key(ann)) == MAX
    assert await Online().among([ann, bob]) == {ann, bob}


async def test_a_hung_redis_holds_up_one_socket_for_its_deadline_and_none_after(own_redis):
    online = Online()
    await online.enter("a", uuid4(), uuid4())
    own_redis.freeze()
    try:
        assert await online.enter("b", uuid4(), uuid4())
        assert not online.link.is_up
        assert await online.enter("c", uuid4(), uuid4())
    finally:
        own_redis.thaw()
