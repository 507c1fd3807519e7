"""The recovery queue on a real Valkey: order by priority, one place a send, bounds, and what it takes to be durable."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from messaging.store import recovery
from messaging.store.log import NewEntry
from messaging.store.recovery import QueueNotDurable
from tests.messaging.store.test_log import entry_of
from tests.own_redis import OwnRedis
from whispr.kernel.errors import ClientRandomReused, Overloaded
from whispr.kernel.ids import new_id
from whispr.kernel.limits import LIMITS
from whispr.kernel.redis import RedisAway, redis_close

CONVERSATION, OTHER = uuid4(), uuid4()


@pytest.fixture(scope="module")
def own_redis() -> Iterator[OwnRedis]:
    with OwnRedis(durable=True) as redis:
        yield redis


@pytest.fixture(autouse=True)
async def queue(own_redis: OwnRedis, settings) -> AsyncIterator[OwnRedis]:
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": own_redis.url}}
    own_redis.client.flushall()
    yield own_redis
    await redis_close()


async def ids() -> list[UUID]:
    """The ids of what waits, in the order in which it is drained."""
    token = await recovery.lease_take()
    assert token is not None
    found: list[UUID] = []
    while batch := await recovery.list_queued(token, 3):
        found += [one.place.message_id for one in batch]
        await recovery.pending_settle([one.place for one in batch])
    await recovery.lease_release(token)
    return found


async def test_what_is_queued_comes_back_as_it_was(queue):
    entry = entry_of(
        CONVERSATION,
        uuid4(),
        b"\x00\xff ciphertext",
        metadata=b'{"a":1}',
        fingerprint=bytes(range(32)),
        reply_to=uuid4(),
        signature=b"s" * 64,
        members_version=3,
        origin=None,
    )
    assert await recovery.pending_enqueue([entry]) == [entry.message_id]
    token = await recovery.lease_take()
    ((queued),) = await recovery.list_queued(token, 10)
    assert queued.entry == entry
    assert (queued.place.sender_id, queued.place.client_random) == (entry.sender_id, entry.client_random)
    assert await recovery.count_waiting([CONVERSATION, OTHER]) == [1, 0]
    await recovery.pending_settle([queued.place])
    await recovery.pending_settle([queued.place])  # again changes nothing
    assert await recovery.count_waiting([CONVERSATION]) == [0]
    assert queue.client.keys("retry:*") == [b"retry:lease"]


async def test_priorities_go_first_and_no_conversation_is_reordered():
    ann = uuid4()

    def of(conversation_id: UUID, **fields: object) -> NewEntry:
        return entry_of(conversation_id, ann, **fields)

    text, reaction = of(CONVERSATION), of(CONVERSATION, type="reaction", target=uuid4())
    after = [of(CONVERSATION), of(CONVERSATION, type="ephemeral", ttl=60)]  # neither passes the reaction
    others = [of(OTHER), of(uuid4(), type="ephemeral", ttl=60)]
    await recovery.pending_enqueue([text, reaction, *after, *others])
    expected = [others[1], text, others[0], reaction, *after]
    assert await ids() == [one.message_id for one in expected]
    # Nothing waits any more: the conversation's next text has its own priority again.
    await recovery.pending_enqueue([of(OTHER, type="edit", target=uuid4())])
    await recovery.pending_enqueue([of(CONVERSATION)])
    token = await recovery.lease_take()
    (first,) = await recovery.list_queued(token, 1)
    assert first.place.conversation_id == CONVERSATION
    await recovery.lease_release(token)


async def test_a_send_has_one_place():
    entry = entry_of(CONVERSATION, uuid4())
    again = entry_of(CONVERSATION, entry.sender_id, client_random=entry.client_random, message_id=new_id())
    other = entry_of(CONVERSATION, entry.sender_id, b"other", client_random=entry.client_random)
    answers = await recovery.pending_enqueue([entry, again, other])
    assert answers[:2] == [entry.message_id, entry.message_id]
    assert isinstance(answers[2], ClientRandomReused)
    assert await recovery.pending_enqueue([again]) == [entry.message_id]
    assert await ids() == [entry.message_id]


async def test_the_queue_is_bounded_in_number_and_in_bytes(monkeypatch, queue):
    limits = LIMITS
    monkeypatch.setattr(recovery, "LIMITS", replace(limits, recovery_waiting_max=2))
    answers = await recovery.pending_enqueue([entry_of(CONVERSATION, uuid4()) for _ in range(3)])
    assert [isinstance(one, Overloaded) for one in answers] == [False, False, True]
    monkeypatch.setattr(
        recovery, "LIMITS", replace(limits, recovery_waiting_bytes=int(queue.client.get("retry:bytes")))
    )
    (answer,) = await recovery.pending_enqueue([entry_of(CONVERSATION, uuid4())])
    assert isinstance(answer, Overloaded)
    assert len(await ids()) == 2
    assert queue.client.keys("retry:*") == []


async def test_what_expires_is_gone_by_itself(queue):
    entry = entry_of(CONVERSATION, uuid4(), b"canary of the queue", ttl=1)
    await recovery.pending_enqueue([entry])
    async with asyncio.timeout(10):
        while queue.client.exists(f"retry:message:{entry.message_id.hex}"):
            await asyncio.sleep(0.05)
    token = await recovery.lease_take()
    ((queued),) = await recovery.list_queued(token, 10)
    assert (queued.entry, queued.place.ttl_ms) == (None, 1000)


async def test_one_drains_at_a_time_and_a_lost_lease_is_noticed(queue):
    await recovery.pending_enqueue([entry_of(CONVERSATION, uuid4())])
    token = await recovery.lease_take()
    assert await recovery.lease_take() is None
    queue.client.delete("retry:lease")  # it ran out
    assert await recovery.list_queued(token, 1) is None
    other = await recovery.lease_take()
    await recovery.lease_release(token)  # not one's own any more
    assert await recovery.lease_take() is None
    await recovery.lease_release(other)
    assert await recovery.lease_take() is not None


async def test_what_is_put_aside_can_be_taken_back(queue):
    entry = entry_of(CONVERSATION, uuid4())
    await recovery.pending_enqueue([entry])
    token = await recovery.lease_take()
    ((queued),) = await recovery.list_queued(token, 1)
    await recovery.pending_settle([queued.place], keep_ms=60_000)
    assert await recovery.count_pending() == {"high": 0, "normal": 0, "low": 0}
    assert await recovery.dead_take(entry.message_id) == entry
    assert await recovery.dead_take(entry.message_id) is None


@pytest.mark.parametrize(
    ("name", "value", "back", "why"),
    [
        ("appendonly", "no", "yes", "append-only"),
        ("appendfsync", "no", "everysec", "appendfsync no"),
        ("maxmemory-policy", "allkeys-lru", "noeviction", "evict"),
    ],
)
async def test_a_redis_that_may_forget_is_not_used(queue, name, value, back, why):
    queue.client.config_set("maxmemory", "100mb")
    await recovery.pending_check()
    queue.client.config_set(name, value)
    try:
        with pytest.raises(QueueNotDurable, match=why):
            await recovery.pending_check()
    finally:
        queue.client.config_set(name, back)
        queue.client.config_set("maxmemory", "0")


async def test_a_replica_is_not_used(queue):
    queue.client.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(QueueNotDurable, match="replica"):
            await recovery.pending_check()
    finally:
        queue.client.replicaof("NO", "ONE")


async def test_what_was_answered_is_there_after_a_crash(own_redis):
    entries = [entry_of(CONVERSATION, uuid4()) for _ in range(5)]
    assert await recovery.pending_enqueue(entries) == [one.message_id for one in entries]
    own_redis.kill()
    with pytest.raises(RedisAway):
        await recovery.count_pending()
    own_redis.start()
    assert await ids() == [one.message_id for one in entries]
