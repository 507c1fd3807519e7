"""Socket tickets, on a real Redis: the reliability catalogue §3 row 33."""

import asyncio
import time
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from redis.asyncio import Redis

from messaging.events import Actor
from messaging.services.tickets import ticket_create, ticket_redeem
from messaging.store.tickets import tickets_close
from whispr.kernel.auth import Claims
from whispr.kernel.errors import TemporaryUnavailable, Unauthenticated
from whispr.kernel.limits import LIMITS


@pytest.fixture(autouse=True)
async def _close():
    yield
    await tickets_close()


def who(expires_in: int = 600) -> tuple[Actor, Claims]:
    now = int(time.time())
    actor = Actor(uuid4(), uuid4())
    return actor, Claims(actor.user_id, actor.device_id, now + expires_in, now, "jti")


async def test_a_ticket_stands_for_its_token_once():
    actor, claims = who()
    ticket = await ticket_create(actor, claims)
    assert ticket.expires_in == LIMITS.ticket_seconds
    assert await ticket_redeem(ticket.ticket) == claims
    with pytest.raises(Unauthenticated):
        await ticket_redeem(ticket.ticket)


async def test_many_who_bring_one_ticket_at_once():
    ticket = await ticket_create(*who())
    results = await asyncio.gather(*(ticket_redeem(ticket.ticket) for _ in range(30)), return_exceptions=True)
    assert sum(isinstance(result, Claims) for result in results) == 1
    assert sum(isinstance(result, Unauthenticated) for result in results) == 29


@pytest.mark.parametrize(
    "text", ["", "x", "A" * 43, "A" * 100_000, "*" * 43, "é" * 43, "A" * 42 + "\n", "whispr:ticket:*"]
)
async def test_what_is_no_ticket(text):
    with pytest.raises(Unauthenticated):
        await ticket_redeem(text)


async def test_redis_holds_a_ticket_for_its_time_and_not_in_clear():
    before = {key async for key in Redis.from_url(django_settings.REDIS_URL).scan_iter("whispr:ticket:*")}
    ticket = await ticket_create(*who())
    async with Redis.from_url(django_settings.REDIS_URL) as redis:
        (key,) = {key async for key in redis.scan_iter("whispr:ticket:*")} - before
        assert 0 < await redis.ttl(key) <= LIMITS.ticket_seconds
        assert ticket.ticket.encode() not in key + await redis.get(key)
        await redis.expire(key, 0)
    with pytest.raises(Unauthenticated):
        await ticket_redeem(ticket.ticket)


async def test_a_ticket_ends_with_its_token():
    ticket = await ticket_create(*who(expires_in=3))
    assert ticket.expires_in <= 3
    with pytest.raises(Unauthenticated):
        await ticket_create(*who(expires_in=0))


@pytest.mark.parametrize(
    ("made", "used", "good"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::a", "2001:db8:1:2:ffff::b", True),
        ("2001:db8:1:2::a", "2001:db8:1:3::a", False),
        ("192.0.2.1", "2001:db8::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        (None, "192.0.2.1", True),
        ("192.0.2.1", None, True),
        ("testclient", "192.0.2.1", True),
    ],
)
async def test_a_ticket_is_used_where_it_was_made(made, used, good):
    actor, claims = who()
    ticket = await ticket_create(actor, claims, made)
    if good:
        assert await ticket_redeem(ticket.ticket, used) == claims
        return
    with pytest.raises(Unauthenticated):
        await ticket_redeem(ticket.ticket, used)
    with pytest.raises(Unauthenticated):  # it is spent all the same
        await ticket_redeem(ticket.ticket, made)


async def test_redis_away_is_said_and_nothing_hangs(settings):
    # Nothing listens on port 1.
    settings.CACHES = {"default": {**django_settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
    with pytest.raises(TemporaryUnavailable):
        await ticket_create(*who())
    with pytest.raises(TemporaryUnavailable):
        await ticket_redeem("A" * 43)


async def test_redis_hung_is_said_within_seconds(settings):
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass
        writer.close()

    # A server that accepts and never answers: what a stopped Redis looks like.
    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings.CACHES = {"default": {**django_settings.CACHES["default"], "LOCATION": f"redis://127.0.0.1:{port}/0"}}
    try:
        async with asyncio.timeout(8):
            with pytest.raises(TemporaryUnavailable):
                await ticket_redeem("A" * 43)
    finally:
        await tickets_close()
        server.close()
        await server.wait_closed()
