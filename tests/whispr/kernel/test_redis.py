"""The way to Redis: the client of a loop, the circuit, and calls that go together."""

import asyncio

import pytest
from django.conf import settings as django_settings

from tests.own_redis import OwnRedis
from whispr.kernel.errors import Overloaded
from whispr.kernel.redis import RedisAway, RedisBatch, RedisLink, Script, redis_client, redis_close

ECHO = Script("return {KEYS[1], ARGV[1]}")


@pytest.fixture
def own_redis(settings):
    with OwnRedis() as server:
        settings.CACHES = {"default": {**django_settings.CACHES["default"], "LOCATION": server.url}}
        yield server


async def test_a_loop_has_one_client_until_it_is_closed(own_redis):
    client = redis_client()
    assert redis_client() is client
    await redis_close()
    await redis_close()
    assert redis_client() is not client


async def test_a_script_is_loaded_where_it_is_missing(own_redis):
    link = RedisLink("test")
    for _ in range(2):
        assert await link.run(ECHO, ["key"], ["value"]) == [b"key", b"value"]
    own_redis.client.script_flush()
    assert await link.run(ECHO, ["key"], ["value"]) == [b"key", b"value"]


async def test_a_refusal_is_no_outage_and_a_lost_server_is_one(own_redis):
    link = RedisLink("test")
    with pytest.raises(RedisAway):
        await link.run(Script("return redis.call('NOSUCH')"), [], [])
    assert link.is_up
    own_redis.kill()
    with pytest.raises(RedisAway):
        await link.run(ECHO, ["key"], ["value"])
    assert not link.is_up
    own_redis.start()
    # Until a probe has succeeded, nobody is sent to a server that was away.
    with pytest.raises(RedisAway):
        await link.run(ECHO, ["key"], ["value"])
    await link.wait_up(10)
    assert await link.run(ECHO, ["key"], ["value"]) == [b"key", b"value"]


async def test_calls_go_together_in_order_while_one_batch_is_away():
    batches: list[list[int]] = []

    async def flush(items):
        batches.append(list(items))
        await asyncio.sleep(0.01)
        return [ValueError(item) if item == 3 else -item for item in items]

    batch: RedisBatch[int, int] = RedisBatch(flush, batch_max=4)
    first = batch.submit(0)
    await asyncio.sleep(0)
    others = [batch.submit(item) for item in range(1, 7)]
    others[1].cancel()
    outcomes = await asyncio.gather(first, *others, return_exceptions=True)
    assert batches == [[0], [1, 3, 4], [5, 6]]
    assert [outcomes[0], outcomes[1], *outcomes[4:]] == [0, -1, -4, -5, -6]
    assert isinstance(outcomes[3], ValueError)


async def test_a_failed_batch_is_told_to_all_and_the_next_one_goes_on():
    async def flush(items):
        if 0 in items:
            raise RedisAway
        return items

    batch: RedisBatch[int, int] = RedisBatch(flush)
    outcomes = await asyncio.gather(batch.submit(0), batch.submit(1), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RedisAway, RedisAway]
    assert await batch.submit(2) == 2


async def test_what_waits_is_bounded():
    async def flush(items):
        return items

    batch: RedisBatch[int, int] = RedisBatch(flush, waiting_max=2)
    waiting = [batch.submit(0), batch.submit(1)]
    with pytest.raises(Overloaded):
        batch.submit(2)
    assert await asyncio.gather(*waiting) == [0, 1]
