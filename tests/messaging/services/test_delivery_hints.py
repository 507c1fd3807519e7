"""What became of a message is known without the database exactly as long as nothing changed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from delivery.services.receipts import receipts_record
from messaging.devices import UpdateSettings
from messaging.events import Actor
from messaging.models import Message
from messaging.requests import Acks, CreateConversation, DeleteMessage, SendMessage
from messaging.services import delivery_hints, recent
from messaging.services.conversations import conversation_create, conversation_update
from messaging.services.deletions import message_delete
from messaging.services.delivery_hints import get_known_delivery
from messaging.services.devices import device_register_seen, user_settings_update
from messaging.services.members import member_remove
from messaging.services.send import message_send
from messaging.store import delivery_hints as store
from messaging.store import recent as recent_store
from tests.messaging.store.test_log import randoms
from whispr.kernel import database
from whispr.kernel.breaker import breaker
from whispr.kernel.errors import DatabaseAway
from whispr.kernel.redis import redis_close

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
async def _connections(settings, monkeypatch) -> AsyncIterator[None]:
    settings.WHISPR_SIGNATURES = "off"
    monkeypatch.setattr(delivery_hints, "REST_SECONDS", 0.01)
    monkeypatch.setattr(recent, "FLUSH_SECONDS", 0.02)
    yield
    await redis_close()


@dataclass
class Sent:
    """A message of Ann's to Bob and Cleo, whose delivery she asked for while the database was there."""

    ann: Actor
    bob: Actor
    cleo: Actor
    conversation_id: UUID
    message_id: UUID
    seq: int

    async def ask(self) -> None:
        """Ann asks, and what she was told is kept."""
        _, _, degraded = await get_known_delivery(self.ann, self.message_id)
        assert not degraded
        await delivery_hints._keepers.get().keeping

    async def without_database(self, actor: Actor | None = None) -> list[str] | None:
        """The statuses of Bob and Cleo, as they are told while the database is away; None where nothing is."""
        await self.know_members()
        breaker("database").hold("open")
        try:
            recipients, erasure, degraded = await get_known_delivery(actor or self.ann, self.message_id)
        except DatabaseAway:
            return None
        finally:
            breaker("database").hold(None)
        assert degraded
        assert erasure is None
        statuses = {one.user_id: one.status for one in recipients}
        return [statuses[one.user_id] for one in (self.bob, self.cleo)]

    async def know_members(self) -> None:
        """As the cache does a second after an entry."""
        snapshots = await database.run(recent_store.list_snapshots, [self.conversation_id])
        await recent_store.members_note(recent._recorders.get().link, snapshots)

    async def receipt(self, actor: Actor, *, read: bool = False) -> None:
        await receipts_record(actor, Acks(conversation_id=self.conversation_id, up_to=self.seq), read=read)


async def written() -> None:
    """What the round of the caches takes along is there."""
    while (flushing := recent._recorders.get()._flushing) is not None and not flushing.done():
        await flushing


@pytest.fixture
async def sent() -> Sent:
    ann, bob, cleo = [await device_register_seen(uuid4(), uuid4()) for _ in range(3)]
    group, _ = await conversation_create(ann, CreateConversation(type="group", members=[bob.user_id, cleo.user_id]))
    request = SendMessage(conversation_id=group.id, type="text", content="Y2lwaGVy", client_random=next(randoms))
    outcome = await message_send(ann, request)
    made = Sent(ann, bob, cleo, group.id, outcome.message_id, outcome.seq)
    await made.receipt(bob)
    await written()
    return made


async def test_what_was_told_is_told_again_while_the_database_is_away(sent):
    assert await sent.without_database() is None  # nobody asked before
    await sent.ask()
    assert await sent.without_database() == ["delivered", "pending"]
    assert await sent.without_database(sent.bob) is None
    assert await sent.without_database(Actor(uuid4(), uuid4())) is None
    assert await sent.without_database(Actor(sent.ann.user_id, uuid4())) == ["delivered", "pending"]


async def _read(sent: Sent) -> None:
    await sent.receipt(sent.cleo, read=True)


async def _deleted(sent: Sent) -> None:
    await message_delete(sent.ann, DeleteMessage(message_id=sent.message_id, for_everyone=True))


async def _ended_sharing(sent: Sent) -> None:
    await user_settings_update(sent.ann, UpdateSettings(read_receipts=False))


async def _muted_everybody(sent: Sent) -> None:
    await conversation_update(sent.ann, sent.conversation_id, {"readReceipts": False})


async def _left(sent: Sent) -> None:
    await member_remove(sent.ann, sent.conversation_id, sent.ann.user_id)


@pytest.mark.parametrize("change", [_read, _deleted, _ended_sharing, _muted_everybody, _left])
async def test_nothing_is_told_after_a_change(sent, change: Callable[[Sent], Awaitable[None]]):
    await sent.ask()
    assert await sent.without_database() is not None
    await change(sent)
    await written()
    assert await sent.without_database() is None


async def test_what_is_read_before_a_change_and_kept_after_it_does_not_hold(sent):
    link = delivery_hints._keepers.get().link
    stamps = await store.stamps_make(link, [sent.conversation_id, sent.ann.user_id])
    hint = await database.run(store.read_hint, sent.ann.user_id, sent.message_id)
    await sent.receipt(sent.cleo)
    await written()
    assert hint is not None
    await store.hints_put(link, [(sent.message_id, hint)], stamps)
    assert await sent.without_database() is None
    await sent.ask()
    assert await sent.without_database() == ["delivered", "delivered"]


async def test_another_conversation_and_other_entries_leave_it(sent):
    await sent.ask()
    for conversation_id in (sent.conversation_id, (await _other(sent)).id):
        request = SendMessage(conversation_id=conversation_id, type="text", content="eA==", client_random=next(randoms))
        await message_send(sent.ann, request)
    await written()
    assert await sent.without_database() == ["delivered", "pending"]


async def _other(sent: Sent):
    return (await conversation_create(sent.ann, CreateConversation(type="group", members=[sent.bob.user_id])))[0]


async def test_it_ends_with_the_message(sent):
    await database.run(
        Message.objects.filter(id=sent.message_id).update, expires_at=datetime.now(UTC) + timedelta(seconds=1)
    )
    await sent.ask()
    assert await sent.without_database() == ["delivered", "pending"]
    await asyncio.sleep(1.1)
    assert await sent.without_database() is None
    await sent.ask()  # of what is gone nothing is kept
    assert await sent.without_database() is None


async def test_who_is_not_known_as_a_member_is_told_nothing(sent):
    await sent.ask()
    await recent_store.members_forget(recent._recorders.get().link, {sent.conversation_id: 1_000})
    assert await sent.without_database() is None


async def test_when_too_much_changed_nothing_holds(sent, monkeypatch):
    await sent.ask()
    monkeypatch.setattr(recent, "CONVERSATIONS_MAX", 3)
    recent.delivery_forget([uuid4() for _ in range(4)])
    await written()
    assert await sent.without_database() is None


async def test_what_changed_while_redis_is_away_is_told_when_it_is_back(sent):
    await sent.ask()
    recorder = recent._recorders.get()
    recorder.link.is_up = False
    recorder.link._up.clear()
    await sent.receipt(sent.cleo)
    await asyncio.sleep(2 * recent.FLUSH_SECONDS)
    assert recorder._moved
    recorder.link.is_up = True
    recorder.link._up.set()
    await written()
    assert await sent.without_database() is None


async def test_the_setting_turns_it_off(sent, settings):
    await sent.ask()
    settings.WHISPR_CACHED_READS = False
    assert await sent.without_database() is None


async def test_a_hint_holds_no_content(sent):
    hint = await database.run(store.read_hint, sent.ann.user_id, sent.message_id)
    assert set(msgspec.to_builtins(hint)) == {"conversation_id", "user_id", "until", "recipients"}
