"""Sends that the database does not take: queued, held and drained by one process (tests/live/test_degraded.py has the
same over real servers)."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction

from delivery.models import DeadLetter
from delivery.services.dead_letters import dead_letters_requeue
from messaging.events import Actor, SendOutcome
from messaging.models import Conversation, Message
from messaging.requests import SendMessage
from messaging.services import recovery_drain, send
from messaging.services.recent import _recorders as recents
from messaging.services.send import entries_commit, message_send, pending_recover
from messaging.services.service_state import announcers
from messaging.store import recent
from messaging.store import recovery as queue
from messaging.store.conversations import conversation_create
from messaging.store.members import member_remove
from tests.messaging.store.test_log import entry_of, randoms
from tests.own_redis import OwnRedis
from whispr.kernel import database
from whispr.kernel.breaker import breaker
from whispr.kernel.errors import TemporaryUnavailable
from whispr.kernel.redis import redis_close

pytestmark = pytest.mark.django_db(transaction=True)
SECONDS = 20.0


@pytest.fixture(scope="module")
def own_redis() -> Iterator[OwnRedis]:
    with OwnRedis(durable=True) as redis:
        yield redis


@pytest.fixture(autouse=True)
async def redis(own_redis: OwnRedis, settings) -> AsyncIterator[OwnRedis]:
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": own_redis.url}}
    settings.WHISPR_SIGNATURES = "off"
    own_redis.client.flushall()
    yield own_redis
    await redis_close()


@pytest.fixture
async def ann() -> Actor:
    return Actor(uuid4(), uuid4())


async def group(*users: UUID) -> UUID:
    """A group whose members the cache knows, as it does a second after a send."""
    made = await database.run(conversation_create, users[0], "group", list(users), b"{}", None)
    link = recents.get().link
    await recent.members_note(link, await database.run(recent.list_snapshots, [made.view.id]))
    return made.view.id


async def sent(actor: Actor, conversation_id: UUID, content: str = "Y2lwaGVy") -> SendOutcome:
    request = SendMessage(conversation_id=conversation_id, type="text", content=content, client_random=next(randoms))
    return await asyncio.wait_for(message_send(actor, request), SECONDS)


def log_of(conversation_id: UUID) -> list[UUID]:
    return list(
        Message.objects.filter(conversation=conversation_id, seq__gt=1).order_by("seq").values_list("id", flat=True)
    )


async def until_released(conversation_id: UUID) -> None:
    async with asyncio.timeout(SECONDS):
        while conversation_id in send._detours.get():
            await asyncio.sleep(0.02)


async def test_sends_wait_and_those_after_them_are_held_until_they_are_in_the_log(ann):
    conversation_id = await group(ann.user_id)
    breaker("database").hold("open")
    pending = [await sent(ann, conversation_id) for _ in range(3)]
    assert {one.status for one in pending} == {"pending"}
    assert {one.seq for one in pending} == {None}
    breaker("database").hold(None)
    later = await sent(ann, conversation_id)
    assert later.status in ("sent", "pending")
    await until_released(conversation_id)
    after = await sent(ann, conversation_id)
    assert (after.status, after.seq) == ("sent", 6)
    expected = [one.message_id for one in (*pending, later, after)]
    assert await database.run(log_of, conversation_id) == expected


async def test_who_is_not_known_as_a_member_is_refused(ann):
    conversation_id = await group(uuid4())
    breaker("database").hold("open")
    with pytest.raises(TemporaryUnavailable) as refused:
        await sent(ann, conversation_id)
    assert refused.value.retry_after > 0
    with pytest.raises(TemporaryUnavailable):
        await sent(ann, uuid4())
    assert await queue.count_pending() == {"high": 0, "normal": 0, "low": 0}


async def test_after_nothing_but_refusals_clients_are_told_that_it_is_over(ann):
    conversation_id = await group(uuid4())
    breaker("database").hold("open")
    with pytest.raises(TemporaryUnavailable):
        await sent(ann, conversation_id)
    assert announcers.get().state.state == "degraded"
    breaker("database").hold(None)
    async with asyncio.timeout(SECONDS):
        while announcers.get().state.state != "normal":
            await asyncio.sleep(0.02)
    assert not send._detours.get()


async def test_another_conversation_goes_on_while_one_waits(ann):
    one, other = await group(ann.user_id), await group(ann.user_id)
    breaker("database").hold("open")
    assert (await sent(ann, one)).status == "pending"
    token = await queue.lease_take()  # somebody else drains, slowly
    breaker("database").hold(None)
    assert (await sent(ann, other)).status == "sent"
    async with asyncio.timeout(SECONDS):
        while send._detours.get()._away:
            await asyncio.sleep(0.02)
    held = asyncio.ensure_future(sent(ann, one))
    await asyncio.sleep(0.3)
    assert not held.done()
    await queue.lease_release(token)
    assert (await held).status == "sent"
    assert len(await database.run(log_of, one)) == 2


async def test_a_drainer_that_dies_after_the_commit_doubles_nothing(ann):
    conversation_id = await group(ann.user_id)
    entries = [entry_of(conversation_id, ann.user_id) for _ in range(3)]
    await queue.pending_enqueue(entries)
    outcomes = await entries_commit(entries[:2])  # and was killed before it settled them
    assert [one.outcome.status for one in outcomes] == ["sent", "sent"]
    assert await pending_recover() == 3
    assert await database.run(log_of, conversation_id) == [one.message_id for one in entries]
    assert await pending_recover() == 0


async def test_two_drainers_at_once_append_once_and_in_order(ann):
    conversation_id = await group(ann.user_id)
    entries = [entry_of(conversation_id, ann.user_id) for _ in range(150)]
    await queue.pending_enqueue(entries)
    assert sum(await asyncio.gather(*(pending_recover() for _ in range(4)))) == 150
    assert await database.run(log_of, conversation_id) == [one.message_id for one in entries]


async def test_a_conversation_that_is_held_holds_up_no_other(ann, monkeypatch):
    held, other = await group(ann.user_id), await group(ann.user_id)
    stuck = [entry_of(held, ann.user_id, type="ephemeral", ttl=600) for _ in range(recovery_drain.BATCH + 2)]
    free = [entry_of(other, ann.user_id) for _ in range(3)]  # of a lower priority, and later
    await queue.pending_enqueue([*stuck, *free])
    monkeypatch.setattr(recovery_drain, "BUSY_ROUNDS", 1)

    def hold(until: threading.Event, began: threading.Event) -> None:
        with transaction.atomic():
            Conversation.objects.select_for_update().get(id=held)
            began.set()
            until.wait(20)
        connection.close()

    until, began = threading.Event(), threading.Event()
    holder = asyncio.create_task(asyncio.to_thread(hold, until, began))
    try:
        assert await asyncio.to_thread(began.wait, 20)
        assert await pending_recover() == 3
        assert await database.run(log_of, other) == [one.message_id for one in free]
    finally:
        until.set()
        await holder
    monkeypatch.undo()
    assert await pending_recover() == len(stuck)
    assert await database.run(log_of, held) == [one.message_id for one in stuck]


async def test_what_was_sent_otherwise_meanwhile_is_a_duplicate(ann):
    conversation_id = await group(ann.user_id)
    entry = entry_of(conversation_id, ann.user_id)
    again = entry_of(conversation_id, ann.user_id, client_random=entry.client_random, fingerprint=entry.fingerprint)
    await queue.pending_enqueue([entry])
    await entries_commit([again])
    assert await pending_recover() == 1
    assert await database.run(log_of, conversation_id) == [again.message_id]
    assert await database.run(DeadLetter.objects.count) == 0


async def test_what_is_refused_is_told_and_holds_nothing_up(ann, monkeypatch):
    told: list[tuple[object, ...]] = []
    monkeypatch.setattr(recovery_drain, "publish_user_push", lambda *args, **kwargs: told.append(args))
    bob = uuid4()
    conversation_id = await group(ann.user_id, bob)
    entries = [
        entry_of(conversation_id, bob),
        entry_of(conversation_id, ann.user_id, reply_to=uuid4()),
        entry_of(conversation_id, ann.user_id, b"soon gone", type="ephemeral", ttl=1),
        entry_of(conversation_id, ann.user_id, b"stays"),
    ]
    await queue.pending_enqueue(entries)
    await database.run(member_remove, ann.user_id, conversation_id, bob)
    await asyncio.sleep(1.1)
    assert await pending_recover() == 4
    assert (await database.run(log_of, conversation_id))[1:] == [entries[3].message_id]  # after the removal's
    reasons = {args[0]: [] for args in told}
    for args in told:
        reasons[args[0]].append(json.loads(args[2])["reason"])
    assert {user: sorted(these) for user, these in reasons.items()} == {
        bob: ["not_found"],
        ann.user_id: ["expired", "invalid_target"],
    }
    letters = await database.run(lambda: sorted(DeadLetter.objects.values_list("kind", "code")))
    assert letters == [("pending", "invalid_target"), ("pending", "not_found")]


async def test_a_poisoned_entry_costs_only_itself_and_staff_may_try_it_again(ann):
    conversation_id = await group(ann.user_id)
    poison = entry_of(conversation_id, ann.user_id, metadata=b'"\\u0000"')  # jsonb refuses it
    others = [entry_of(conversation_id, ann.user_id) for _ in range(2)]
    await queue.pending_enqueue([others[0], poison, others[1]])
    assert await pending_recover() == 3
    assert await database.run(log_of, conversation_id) == [one.message_id for one in others]
    letter = await database.run(lambda: DeadLetter.objects.get())
    assert (letter.kind, letter.key, letter.code) == ("pending", str(poison.message_id), "internal_error")
    assert await queue.count_pending() == {"high": 0, "normal": 0, "low": 0}
    assert await dead_letters_requeue([letter.id], "staff") == 1
    assert await queue.count_waiting([conversation_id]) == [1]
    assert await pending_recover() == 1
    letter = await database.run(lambda: DeadLetter.objects.get())
    assert (letter.state, letter.failures) == ("waiting", 2)


async def test_without_redis_nothing_is_promised_and_it_heals(ann, redis):
    conversation_id = await group(ann.user_id)
    redis.kill()
    breaker("database").hold("open")
    try:
        with pytest.raises(TemporaryUnavailable):
            await sent(ann, conversation_id)
    finally:
        redis.start()
        breaker("database").hold(None)
    assert (await sent(ann, conversation_id)).status == "sent"
    assert await pending_recover() == 0
