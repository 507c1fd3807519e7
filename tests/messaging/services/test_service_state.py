"""What the sockets of a process are told of outages: each change once, and all of them."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import msgspec
import pytest

from messaging.events import NOBODY
from messaging.fanout.hub import hub
from messaging.fanout.news import UserChange, UserPush
from messaging.services.service_state import LOST, Announcer, announcers
from whispr.kernel.breaker import DEPENDENCIES, breaker

SECONDS = 10.0


class Socket:
    """A listener that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[str, ...]]] = []

    def on_user_push(self, push: UserPush) -> None:
        assert push.event == "service_state"
        said = msgspec.json.decode(push.payload)
        self.told.append((said["state"], tuple(said["lost"])))

    def on_user_change(self, change: UserChange) -> None:
        """Nothing."""

    def on_joined_conversation(self, conversation_id: object, seq: int, shared: bool = False) -> None:
        """Nothing."""

    async def until(self, *told: tuple[str, tuple[str, ...]]) -> None:
        async with asyncio.timeout(SECONDS):
            while self.told != list(told):
                await asyncio.sleep(0.01)


@pytest.fixture
async def socket() -> AsyncIterator[Socket]:
    listener, user = Socket(), uuid4()
    hub.listen(user, listener)
    announcers.get()
    yield listener
    hub.unlisten(user, listener)


def test_everything_that_can_be_away_is_named():
    assert set(DEPENDENCIES) <= set(LOST)


async def test_each_change_is_told_once(socket: Socket):
    assert announcers.get().payload() is None
    breaker("media_service").hold("open")
    await socket.until(("degraded", ("media",)))
    breaker("redis").hold("open")
    both = ("degraded", ("presence", "typing", "media"))
    await socket.until(("degraded", ("media",)), both)
    assert msgspec.json.decode(announcers.get().payload())["lost"] == list(both[1])
    breaker("media_service").hold(None)  # half open: not there again yet
    await asyncio.sleep(0.05)
    assert len(socket.told) == 2
    breaker("media_service").reset()
    breaker("redis").reset()
    async with asyncio.timeout(SECONDS):
        while socket.told[-1] != ("normal", ()):
            await asyncio.sleep(0.01)
    assert len(socket.told) <= 4  # one of the two may be told of before the other


async def test_a_mode_that_no_circuit_tells_of(socket: Socket):
    announcers.get().mode("writes", True)
    announcers.get().mode("writes", True)
    announcers.get().mode("writes", False)
    await asyncio.sleep(0.05)
    assert socket.told == []  # it was over before anybody was told
    announcers.get().mode("writes", True)
    await socket.until(("degraded", LOST["writes"]))
    announcers.get().mode("writes", False)
    await socket.until(("degraded", LOST["writes"]), ("normal", ()))


def hear(name: str, process: str, away: bool) -> None:
    said = msgspec.json.encode({"service": name, "process": process, "away": away})
    hub.take([UserChange(NOBODY, "service", said)])


async def test_what_another_process_found_away_counts_for_services_alone(socket: Socket):
    hear("notification_service", "worker", True)
    hear("database", "worker", True)
    hear("notification_service", "another", True)
    await socket.until(("degraded", ("push",)))
    hear("notification_service", "worker", False)
    await asyncio.sleep(0.05)
    assert len(socket.told) == 1
    hear("notification_service", "another", False)
    await socket.until(("degraded", ("push",)), ("normal", ()))


async def test_a_process_tells_the_others_of_services(socket: Socket, monkeypatch):
    told: list[dict[str, object]] = []
    monkeypatch.setattr(
        "messaging.services.service_state.publish_user_event", lambda user, kind, said: told.append(said)
    )
    breaker("notification_service").hold("open")
    await socket.until(("degraded", ("push",)))
    breaker("notification_service").reset()
    async with asyncio.timeout(SECONDS):
        while [one["away"] for one in told] != [True, False]:
            await asyncio.sleep(0.02)
    assert {one["service"] for one in told} == {"notification_service"}


async def test_an_outage_of_the_database_is_probed_without_traffic(socket: Socket, monkeypatch):
    probes: list[object] = []

    async def run(function: object) -> None:
        probes.append(function)
        breaker("database").reset()

    monkeypatch.setattr("messaging.services.service_state.database.run", run)
    breaker("database").hold("open")
    await socket.until(("degraded", LOST["database"]))
    await socket.until(("degraded", LOST["database"]), ("normal", ()))
    assert len(probes) == 1


async def test_an_announcer_of_an_ended_loop_is_forgotten():
    announcer = Announcer()
    announcer._loop = asyncio.new_event_loop()
    announcer._loop.close()
    breaker("media_service").hold("open")
    breaker("media_service").reset()
