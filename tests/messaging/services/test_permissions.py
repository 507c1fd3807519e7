"""The user service is asked before a send, and what it says holds; while it is away, what is known here does."""

import asyncio
import contextlib
from uuid import UUID, uuid4

import pytest

from integrations.development.modes import Mode
from messaging.events import Actor
from messaging.fanout.hub import hub
from messaging.fanout.news import UserChange
from messaging.models import Block, Message, SendKey
from messaging.requests import CreateConversation, EditMessage, React, SendMessage
from messaging.services import conversations, edits, members, permissions, reactions
from messaging.services.permissions import Kept, PermissionCache, kept_permissions
from messaging.services.send import message_send
from tests.own_services import services
from whispr.kernel.breaker import breaker
from whispr.kernel.errors import Forbidden, NotFound, TemporaryUnavailable

__all__ = ["services"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _unsigned(settings):
    settings.WHISPR_SIGNATURES = "off"


def actor() -> Actor:
    return Actor(uuid4(), uuid4())


async def group_of(*actors: Actor) -> UUID:
    request = CreateConversation(type="group", members=[one.user_id for one in actors])
    return (await conversations.conversation_create(actors[0], request))[0].id


async def direct_of(ann: Actor, bob: Actor) -> UUID:
    request = CreateConversation(type="direct", members=[bob.user_id])
    return (await conversations.conversation_create(ann, request))[0].id


async def send(who: Actor, conversation_id: UUID, random: int):
    request = SendMessage(conversation_id=conversation_id, type="text", content="YQ==", client_random=random)
    return await message_send(who, request)


async def withheld(message_id: UUID) -> bool:
    return (await Message.objects.aget(id=message_id)).withheld


# --- asked, and kept


async def test_without_a_service_nobody_is_asked(services, settings):
    settings.WHISPR_USER_SERVICE = ""
    ann = actor()
    assert (await send(ann, await group_of(ann), 1)).status == "sent"
    assert services["users"].behaviour.calls == 0


async def test_an_answer_is_kept_for_the_next_sends(services):
    ann, bob = actor(), actor()
    conversation_id = await group_of(ann, bob)
    for random in range(3):
        assert (await send(ann, conversation_id, random)).status == "sent"
    assert services["users"].behaviour.calls == 1
    await send(bob, conversation_id, 1)  # another sender is another question
    assert services["users"].behaviour.calls == 2


async def test_sends_at_once_ask_once(services):
    ann = actor()
    conversation_id = await group_of(ann)
    await services["users"].behave(Mode("slow", 0.1))
    await asyncio.gather(*(send(ann, conversation_id, random) for random in range(10)))
    assert services["users"].behaviour.calls == 1


async def test_a_change_of_members_asks_anew(services):
    ann, bob = actor(), actor()
    conversation_id = await group_of(ann)
    await send(ann, conversation_id, 1)
    await members.members_add(ann, conversation_id, [bob.user_id])
    await send(ann, conversation_id, 2)
    assert services["users"].behaviour.calls == 2


@pytest.mark.parametrize("kind", ["blocks", "permissions"])
async def test_news_of_the_sender_ask_anew(services, kind):
    ann = actor()
    conversation_id = await group_of(ann)
    await send(ann, conversation_id, 1)
    hub.take([UserChange(ann.user_id, kind, b"{}")])  # as the bus brings them
    await send(ann, conversation_id, 2)
    assert services["users"].behaviour.calls == 2


async def test_a_change_while_it_is_asked_is_not_lost(services):
    ann = actor()
    conversation_id = await group_of(ann)
    await services["users"].behave(Mode("slow", 0.2))
    sending = asyncio.create_task(send(ann, conversation_id, 1))
    async with asyncio.timeout(10):
        while not services["users"].behaviour.calls:
            await asyncio.sleep(0.01)
    hub.take([UserChange(ann.user_id, "permissions", b"{}")])
    await sending
    assert len(kept_permissions) == 0


def test_the_cache_is_bounded_and_forgets_by_sender_and_by_conversation():
    cache = PermissionCache(3)
    keys = [(UUID(int=number % 2), UUID(int=10 + number)) for number in range(5)]
    for key in keys:
        cache.put(key, Kept(None, float("inf")))
    assert [key for key in keys if cache.get(key)] == keys[2:]
    cache.drop_sender(keys[4][1])
    cache.drop_conversation(keys[3][0])
    assert [key for key in keys if cache.get(key)] == [keys[2]]
    cache.put(keys[2], Kept(None, 0.0))
    assert cache.get(keys[2]) is None  # over
    cache.clear()
    assert len(cache) == 0
    assert not cache._senders
    assert not cache._conversations


# --- refused


async def test_who_may_not_send_is_refused_on_every_way(services):
    ann, bob = actor(), actor()
    conversation_id = await group_of(ann, bob)
    sent = await send(ann, conversation_id, 1)
    services["users"].servicer.not_allowed.add(ann.user_id)
    kept_permissions.clear()
    for work in (
        lambda: send(ann, conversation_id, 2),
        lambda: edits.message_edit(ann, EditMessage(message_id=sent.message_id, content="Yg==", client_random=3)),
        lambda: reactions.message_react(ann, React(message_id=sent.message_id, emoji="👍", client_random=4)),
    ):
        with pytest.raises(Forbidden):
            await work()
    assert await SendKey.objects.filter(sender_id=ann.user_id).acount() == 1
    assert (await send(bob, conversation_id, 1)).status == "sent"


async def test_a_resend_is_answered_as_the_first_time(services):
    ann = actor()
    conversation_id = await group_of(ann)
    first = await send(ann, conversation_id, 1)
    services["users"].servicer.not_allowed.add(ann.user_id)
    kept_permissions.clear()
    again = await send(ann, conversation_id, 1)
    assert (again.status, again.message_id, again.seq) == ("duplicate", first.message_id, first.seq)


async def test_a_stranger_learns_nothing(services):
    ann, eve = actor(), actor()
    conversation_id = await group_of(ann)
    for target in (conversation_id, uuid4()):
        with pytest.raises(NotFound):
            await send(eve, target, 1)


# --- blocks


async def test_a_block_that_the_service_tells_of_withholds(services):
    ann, bob = actor(), actor()
    conversation_id = await direct_of(ann, bob)
    assert not await withheld((await send(ann, conversation_id, 1)).message_id)
    services["users"].servicer.unwilling.add(bob.user_id)
    kept_permissions.clear()
    sent = await send(ann, conversation_id, 2)
    assert sent.status == "sent"  # the sender is not told
    assert await withheld(sent.message_id)
    assert await Block.objects.filter(user_id=bob.user_id, blocked_id=ann.user_id).aexists()
    assert not await withheld((await send(bob, conversation_id, 1)).message_id)


async def test_a_block_that_ended_at_the_service_ends_here(services):
    ann, bob = actor(), actor()
    conversation_id = await direct_of(ann, bob)
    await Block.objects.acreate(user_id=bob.user_id, blocked_id=ann.user_id)
    await Block.objects.acreate(user_id=ann.user_id, blocked_id=bob.user_id)
    services["users"].servicer.willing.add(bob.user_id)
    assert not await withheld((await send(ann, conversation_id, 1)).message_id)
    assert await withheld((await send(bob, conversation_id, 1)).message_id)  # the other way is another block


async def test_in_a_group_everybody_gets_everything(services):
    ann, bob = actor(), actor()
    conversation_id = await group_of(ann, bob)
    services["users"].servicer.unwilling.add(bob.user_id)
    assert not await withheld((await send(ann, conversation_id, 1)).message_id)


# --- away


@pytest.mark.parametrize("mode", [Mode("gone"), Mode("slow", 3600), Mode("wrong"), Mode("error")])
async def test_while_it_is_away_what_is_known_here_decides(services, mode):
    ann, bob, eve = actor(), actor(), actor()
    conversation_id = await direct_of(ann, bob)
    await Block.objects.acreate(user_id=bob.user_id, blocked_id=ann.user_id)
    await services["users"].behave(mode)
    async with asyncio.timeout(60):
        for random in range(8):
            kept_permissions.clear()
            sent = await send(ann, conversation_id, random)
            assert sent.status == "sent"
            assert await withheld(sent.message_id)  # the block that was last known
        assert breaker("user_service").state != "closed"
        for target in (conversation_id, uuid4()):
            with pytest.raises(TemporaryUnavailable) as refusal:
                await send(eve, target, 1)
            assert refusal.value.retry_after > 0


async def test_an_unknown_conversation_is_refused_from_the_first_moment(services):
    await services["users"].behave(Mode("gone"))
    with pytest.raises(TemporaryUnavailable):
        await send(actor(), uuid4(), 1)


async def test_it_is_asked_again_when_it_is_back(services):
    ann = actor()
    conversation_id = await group_of(ann)
    await services["users"].behave(Mode("gone"))
    for random in range(6):
        kept_permissions.clear()
        await send(ann, conversation_id, random)
    await services["users"].behave(Mode())
    services["users"].servicer.not_allowed.add(ann.user_id)
    async with asyncio.timeout(30):
        random = 6
        with contextlib.suppress(Forbidden):
            while True:
                kept_permissions.clear()
                await send(ann, conversation_id, random)
                random += 1
                await asyncio.sleep(0.05)
    assert breaker("user_service").state == "closed"


@pytest.mark.parametrize("kept", [False, True])
async def test_while_the_database_is_away_a_refusal_is_told_at_once(services, kept):
    ann = actor()
    conversation_id = await group_of(ann)
    services["users"].servicer.not_allowed.add(ann.user_id)
    if kept:
        with pytest.raises(Forbidden):
            await send(ann, conversation_id, 1)
    breaker("database").hold("open")
    with pytest.raises(Forbidden):
        await send(ann, conversation_id, 2)
    assert services["users"].behaviour.calls == 1


async def test_members_whom_a_slow_database_did_not_name_in_time_are_not_refused(services, monkeypatch):
    ann = actor()
    conversation_id = await group_of(ann)
    monkeypatch.setattr(permissions, "FACTS_SECONDS", 0.0)
    assert (await send(ann, conversation_id, 1)).status == "sent"
    with pytest.raises(NotFound):  # by the log
        await send(ann, uuid4(), 2)
    assert services["users"].behaviour.calls == 2
    assert len(kept_permissions) == 0
