"""The rates of one user, on a Redis that is also killed and frozen: the reliability catalogue §3 rows 56, 59, F18,
F20, F21."""

import asyncio
import dataclasses
import time
from uuid import UUID, uuid4

import pytest
from django.conf import settings as django_settings

from tests.own_redis import OwnRedis
from tests.redis_process import RedisProcess, until
from trust.services import quota
from trust.services.quota import Buckets, SendWindows, quota_take, quota_take_async
from whispr.kernel.errors import RateLimited
from whispr.kernel.limits import LIMITS


@pytest.fixture
def own_redis(settings):
    with OwnRedis() as server:
        settings.CACHES = {"default": {**django_settings.CACHES["default"], "LOCATION": server.url}}
        yield server


@pytest.fixture
def limits(monkeypatch):
    def change(**values: int) -> None:
        monkeypatch.setattr(quota, "LIMITS", dataclasses.replace(LIMITS, **values))

    return change


async def take(user_id: UUID, count: int) -> list[RateLimited]:
    """Take so many sends at once; the refusals."""
    outcomes = await asyncio.gather(*(quota_take_async(user_id, "send") for _ in range(count)), return_exceptions=True)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, RateLimited)]
    assert all(outcome is None or outcome in refusals for outcome in outcomes)
    return refusals


def forget_here(user_id: UUID) -> None:
    """As another process: what this one remembers of the user is gone."""
    quota._sends._times.pop(user_id, None)


async def test_the_101st_send_is_refused(own_redis):
    user = uuid4()
    assert await take(user, 100) == []
    [refusal] = await take(user, 1)
    assert (refusal.code, refusal.status) == ("rate_limited", 429)
    assert refusal.retry_after is not None
    assert 0 < refusal.retry_after <= 60
    assert await take(uuid4(), 1) == []


async def test_a_burst_of_one_batch_gets_exactly_the_limit_in_order(own_redis):
    user = uuid4()
    outcomes = await asyncio.gather(*(quota_take_async(user, "send") for _ in range(250)), return_exceptions=True)
    assert [outcome is None for outcome in outcomes] == [True] * 100 + [False] * 150


async def test_one_count_for_all_processes(own_redis):
    user = uuid4()
    with RedisProcess(own_redis.url) as one, RedisProcess(own_redis.url) as two:
        assert await take(user, 10) == []
        for process in (one, two):
            process.tell(do="take", user=user, count=60)
        answers = [one.answer(), two.answer()]
        assert sum(answer["granted"] for answer in answers) == 90
        assert len(await take(user, 1)) == 1
        assert 0 < one.ask(do="take", user=user, count=1)["retryAfter"] <= 60


async def test_refused_is_not_counted_and_waiting_retry_after_is_enough(own_redis, limits, monkeypatch):
    monkeypatch.setattr("trust.store.quota.WINDOW_SECONDS", 1)
    monkeypatch.setattr(quota, "WINDOW_SECONDS", 1)
    limits(sends_per_minute=5)
    user = uuid4()
    assert await take(user, 5) == []
    for _ in range(3):
        forget_here(user)  # so that Redis refuses, not this process
        refusals = await take(user, 20)
        assert len(refusals) == 20
    await asyncio.sleep(refusals[0].retry_after or 0)
    forget_here(user)
    assert len(await take(user, 6)) == 1


async def test_any_window_holds_the_limit_not_only_aligned_ones(own_redis, limits, monkeypatch):
    monkeypatch.setattr("trust.store.quota.WINDOW_SECONDS", 1)
    monkeypatch.setattr(quota, "WINDOW_SECONDS", 1)
    limits(sends_per_minute=10)
    user = uuid4()
    granted: list[tuple[float, float]] = []
    end = time.monotonic() + 3
    while time.monotonic() < end:
        before = time.monotonic()
        forget_here(user)  # so that Redis decides
        if await take(user, 1) == []:
            granted.append((before, time.monotonic()))
        await asyncio.sleep(0.01)
    assert len(granted) >= 20
    # Redis granted each between `before` and `after`: the 11th of any run is a whole window after the first.
    assert all(after - before >= 1 for (before, _), (_, after) in zip(granted, granted[10:], strict=False))


async def test_zero_lifts_a_rate(own_redis, limits):
    limits(sends_per_minute=0, acks_per_minute=0, typing_per_minute=0)
    user = uuid4()
    assert [quota_take(user, kind) for kind in ("send", "ack", "typing") for _ in range(300)] == [None] * 900


async def test_a_known_flood_is_refused_without_redis(own_redis):
    user = uuid4()
    await take(user, 100)
    own_redis.freeze()
    with pytest.raises(RateLimited):
        quota_take(user, "send")


async def test_redis_killed_in_the_middle_falls_back_and_comes_back(own_redis):
    user, other = uuid4(), uuid4()
    assert await take(user, 60) == []
    own_redis.kill()
    # What this process granted before still counts: 40 are left of the 100.
    assert len(await take(user, 50)) == 10
    assert quota._shared.get().link.is_up is False
    assert [quota_take(other, "send") for _ in range(100)] == [None] * 100
    with pytest.raises(RateLimited):
        quota_take(other, "send")
    own_redis.start()
    await quota._shared.get().link.wait_up(10)
    third = uuid4()
    assert await take(third, 100) == []
    assert own_redis.client.llen(f"whispr:sends:{third.hex}") == 100
    # Redis came back empty, and yet this process holds its users to their limit.
    assert len(await take(user, 1)) == 1


async def test_redis_frozen_delays_only_the_first_and_then_nobody(own_redis):
    user = uuid4()
    assert await take(user, 1) == []
    own_redis.freeze()
    try:
        async with asyncio.timeout(5):
            assert await take(user, 50) == []
        link = quota._shared.get().link
        assert link.is_up is False
        assert [quota_take(uuid4(), "send") for _ in range(200)] == [None] * 200
        assert len(await take(user, 50)) == 1
    finally:
        own_redis.thaw()
    await link.wait_up(10)
    assert await take(uuid4(), 100) == []


async def test_redis_full_refuses_and_sends_go_on(own_redis):
    user = uuid4()
    own_redis.client.config_set("maxmemory", "1")
    own_redis.client.config_set("maxmemory-policy", "noeviction")
    assert len(await take(user, 101)) == 1
    assert own_redis.client.exists(f"whispr:sends:{user.hex}") == 0
    own_redis.client.config_set("maxmemory", "0")
    assert await take(uuid4(), 1) == []


async def test_a_connection_closed_while_idle_is_not_an_outage(own_redis):
    user = uuid4()
    await take(user, 1)
    own_redis.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await asyncio.sleep(0.05)
    await take(user, 1)
    assert quota._shared.get().link.is_up
    assert own_redis.client.llen(f"whispr:sends:{user.hex}") == 2


async def test_a_clock_of_redis_set_back_locks_nobody_out(own_redis):
    user = uuid4()
    ahead = int((time.time() + 3600) * 1_000_000)
    own_redis.client.lpush(f"whispr:sends:{user.hex}", *[ahead] * 100)
    assert await take(user, 1) == []


async def test_keys_expire(own_redis):
    user = uuid4()
    await take(user, 1)
    assert 0 < own_redis.client.pttl(f"whispr:sends:{user.hex}") <= 60_000


async def test_typing_and_acks_have_rates_of_their_own_and_starve_no_send(own_redis, limits):
    limits(typing_per_minute=60, acks_per_minute=600)
    user = uuid4()
    assert [quota_take(user, "typing") for _ in range(60)] == [None] * 60
    with pytest.raises(RateLimited) as refusal:
        quota_take(user, "typing")
    assert 0 < (refusal.value.retry_after or 0) <= 1
    assert [quota_take(user, "ack") for _ in range(600)] == [None] * 600
    with pytest.raises(RateLimited):
        quota_take(user, "ack")
    assert await take(user, 1) == []


def test_a_bucket_fills_again(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("trust.services.quota.time.monotonic", lambda: clock[0])
    buckets = Buckets()
    user = uuid4()
    assert [buckets.take(user, 60) for _ in range(60)] == [0.0] * 60
    assert buckets.take(user, 60) == pytest.approx(1.0)
    clock[0] += 10
    assert [buckets.take(user, 60) for _ in range(10)] == [0.0] * 10
    assert buckets.take(user, 60) == pytest.approx(1.0)
    clock[0] += 3600
    assert [buckets.take(user, 60) == 0 for _ in range(61)] == [True] * 60 + [False]


def test_windows_slide(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("trust.services.quota.time.monotonic", lambda: clock[0])
    windows = SendWindows()
    user = uuid4()
    for _ in range(100):
        assert windows.take(user, 100) == 0
        clock[0] += 0.1
    assert windows.take(user, 100) == pytest.approx(50.0)
    clock[0] += 50
    assert windows.take(user, 100) == 0
    assert windows.take(user, 100) == pytest.approx(0.1)


def test_the_memory_of_users_is_bounded():
    windows, buckets = SendWindows(users_max=3), Buckets(users_max=3)
    users = [uuid4() for _ in range(4)]
    for user in users:
        assert (windows.take(user, 1), buckets.take(user, 1)) == (0, 0)
    assert (windows.take(users[0], 1), buckets.take(users[0], 1)) == (0, 0)
    assert windows.take(users[3], 1) > 0
    assert buckets.take(users[3], 1) > 0


def test_two_loops_of_one_process_share_the_count(own_redis):
    user = uuid4()
    granted = [100 - len(asyncio.run(take(user, 100))), 50 - len(asyncio.run(take(user, 50)))]
    assert granted == [100, 0]
    until(lambda: own_redis.client.info("clients")["connected_clients"] == 1)  # each loop closed its connections
