"""Pages of the log that wait for room: they follow on what was pushed, whatever happens to positions meanwhile."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from messaging.catch_up import CatchUp
from tests.messaging.test_subscriptions import Opened, group_of, opened, send  # noqa: F401 - a fixture
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db(transaction=True)
WINDOW = LIMITS.window_entries
COUNT = 3 * WINDOW


async def begin(one: Opened, user: UUID) -> CatchUp:
    """Join, and wait for a full window, with a page in hand."""
    frame = msgspec.json.encode(["1", "1", f"user:{user}", "phx_join", {}]).decode()
    one.socket.perform(one.socket.session.receive_text(frame, 0.0))
    await one.until(lambda: len(one.seqs) == WINDOW)
    (channel,) = one.socket.channels.values()
    return channel.catch_up


def places(one: Opened, conversation_id: UUID) -> list[int]:
    return [entry["seq"] for entry in one.events("new_message") if entry["conversationId"] == str(conversation_id)]


async def finish(one: Opened, conversations: list[UUID]) -> None:
    """Acknowledge what comes until nothing is left."""
    async with asyncio.timeout(20):
        while not one.events("sync_complete"):
            for conversation_id in conversations:
                if held := places(one, conversation_id):
                    one.socket.acknowledge(conversation_id, held[-1])
            await asyncio.sleep(0.005)


async def test_pages_follow_on_each_other(opened: Any) -> None:  # noqa: F811
    ann, bob = uuid4(), uuid4()
    conversations = [await group_of(ann, bob) for _ in range(5)]
    counts = [WINDOW // 2, 1, COUNT, 40, WINDOW]
    for conversation_id, count in zip(conversations, counts, strict=True):
        await send(conversation_id, ann, count)
    one = opened(bob)
    await begin(one, bob)
    await finish(one, conversations)
    for conversation_id, count in zip(conversations, counts, strict=True):
        assert places(one, conversation_id) == list(range(1, count + 2))


@pytest.mark.parametrize("pause", [0.0, 0.6])  # longer than a page in hand is of now
async def test_a_position_that_goes_back_is_where_it_goes_on(opened: Any, pause: float) -> None:  # noqa: F811
    ann, bob = uuid4(), uuid4()
    conversation_id = await group_of(ann, bob)
    await send(conversation_id, ann, COUNT)
    one = opened(bob)
    catch_up = await begin(one, bob)
    held = places(one, conversation_id)
    assert held == list(range(1, WINDOW + 1))
    await asyncio.sleep(pause)
    one.socket.acknowledge(conversation_id, WINDOW // 2)
    catch_up.by_conversation[conversation_id].rewind(WINDOW // 2)
    await finish(one, [conversation_id])
    later = places(one, conversation_id)[len(held) :]
    # What was acknowledged made room, and the page in hand may have gone on before the position went back.
    back = later.index(WINDOW // 2)
    assert later[:back] == list(range(WINDOW + 1, WINDOW + 1 + back))
    assert later[back:] == list(range(WINDOW // 2, COUNT + 2))


async def test_a_page_that_waited_too_long_is_read_again(opened: Any) -> None:  # noqa: F811
    ann, bob = uuid4(), uuid4()
    conversation_id = await group_of(ann, bob)
    await send(conversation_id, ann, COUNT)
    one = opened(bob)
    await begin(one, bob)
    for upto in (10, WINDOW - 20):
        one.socket.acknowledge(conversation_id, upto)
        await one.until(lambda upto=upto: len(one.seqs) == WINDOW + upto)
        await asyncio.sleep(0.6)
    await finish(one, [conversation_id])
    assert places(one, conversation_id) == list(range(1, COUNT + 2))
