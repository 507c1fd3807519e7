"""An answer in time for each request of a topic, also for those that waited behind others (docs/protocol.md §8.8)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from messaging import channels, deadlines
from messaging.channels import Channel
from messaging.fanout.hub import hub
from messaging.phoenix import Event
from tests.messaging.test_subscriptions import Opened
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db(transaction=True)
SECONDS = 1


@pytest.fixture
async def inbox(monkeypatch) -> AsyncIterator[tuple[Opened, Channel]]:
    """An inbox with two events of its own: `slow` never ends, `queued` waits for what never comes."""
    user = uuid4()
    opened = Opened(user)
    channel = await opened.join(f"user:{user}")

    def slow(self: Channel, event: Event) -> Any:
        return asyncio.Event().wait()

    def queued(self: Channel, event: Event) -> None:
        self.answer_when_done(event.ref, asyncio.get_running_loop().create_future(), bytes)

    monkeypatch.setattr(type(channel), "on_slow", slow, raising=False)
    monkeypatch.setattr(type(channel), "on_queued", queued, raising=False)
    for name in ("slow", "queued"):
        monkeypatch.setitem(type(channel).handlers, name, f"on_{name}")
    short = replace(LIMITS, request_seconds=SECONDS)
    monkeypatch.setattr(channels, "LIMITS", short)
    monkeypatch.setattr(deadlines, "LIMITS", short)
    monkeypatch.setattr(channels, "REFUSED_SECONDS", SECONDS / 5)
    yield opened, channel
    hub.unlisten(user, opened.socket)
    opened.socket.detach()
    await asyncio.sleep(0)


def ask(opened: Opened, channel: Channel, event: str, ref: str) -> None:
    frame = msgspec.json.encode(["1", ref, channel.join.topic, event, {}]).decode()
    opened.socket.perform(opened.socket.session.receive_text(frame, 0.0))


def replies(opened: Opened) -> dict[str, str]:
    """The code of each answer, by ref."""
    found = [frame for frame in opened.frames if isinstance(frame, list) and frame[3] == "phx_reply"]
    return {frame[1]: frame[4]["response"].get("reason") for frame in found if frame[1] != "1"}


async def test_what_waited_behind_slow_work_is_refused_in_time_for_sure(inbox):
    opened, channel = inbox
    for ref in ("2", "3", "4"):
        ask(opened, channel, "slow", ref)
    async with asyncio.timeout(2 * SECONDS - 0.1):  # each of them alone would take a second
        await opened.until(lambda: len(replies(opened)) == 3)
    assert replies(opened) == {"2": "timeout", "3": "temporary_unavailable", "4": "temporary_unavailable"}


async def test_what_is_begun_late_ends_by_its_own_time(inbox):
    opened, channel = inbox
    ask(opened, channel, "slow", "2")
    await asyncio.sleep(SECONDS / 2)
    ask(opened, channel, "queued", "3")
    ask(opened, channel, "slow", "4")
    async with asyncio.timeout(SECONDS + 0.4):  # half a second of its time was over when it began
        await opened.until(lambda: len(replies(opened)) == 3)
    assert replies(opened) == {"2": "timeout", "3": "timeout", "4": "timeout"}
    ask(opened, channel, "slow", "5")
    await opened.until(lambda: "5" in replies(opened))
    assert opened.socket.in_flight == opened.socket.backlog == 0
