"""Typing signs: coalesced, ended by time, by a send, by the socket's end; kept from who is blocked."""

import asyncio
from uuid import UUID, uuid4

import msgspec
import pytest

from messaging.models import Block
from messaging.services import typing
from messaging.store.conversations import conversation_create
from whispr.kernel import database


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[UUID, UUID, bool]]:
    """(conversation, by, active) of what was passed on."""
    found: list[tuple[UUID, UUID, bool]] = []

    def publish(conversation_id: UUID, event: str, payload: bytes, *, by: UUID) -> None:
        body = msgspec.json.decode(payload)
        assert (event, body.keys()) == ("typing", {"conversationId", "userId", "active"})
        assert (body["conversationId"], body["userId"]) == (str(conversation_id), str(by))
        found.append((conversation_id, by, body["active"]))

    monkeypatch.setattr(typing, "publish_conversation_push", publish)
    return found


class Clock:
    """The loop's own time, moved on by hand: timers that are due then run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loop = asyncio.get_running_loop()
        self._ahead = 0.0
        real = self._loop.time
        monkeypatch.setattr(self._loop, "time", lambda: real() + self._ahead)

    async def pass_(self, seconds: float) -> None:
        self._ahead += seconds
        for _ in range(3):
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def set_here(place: tuple[UUID, UUID], active: bool, origin: object = "socket") -> None:
    typing._typing.get().set(place, active, origin, True)


def states(told: list[tuple[UUID, UUID, bool]]) -> list[bool]:
    return [active for _, _, active in told]


async def test_the_same_state_told_again_soon_is_not_passed_on(told, clock: Clock) -> None:
    place = (uuid4(), uuid4())
    for _ in range(100):
        set_here(place, True)
    assert told == [(*place, True)]
    await clock.pass_(2.1)
    set_here(place, True)
    set_here(place, True)
    assert states(told) == [True, True]
    for _ in range(100):
        set_here(place, False)
    assert states(told) == [True, True, False]


async def test_a_sign_ends_by_itself_unless_it_is_renewed(told, clock: Clock) -> None:
    place = (uuid4(), uuid4())
    set_here(place, True)
    for _ in range(3):
        await clock.pass_(5)
        set_here(place, True)
    assert states(told) == [True] * 4
    await clock.pass_(5.5)
    assert states(told) == [True] * 4
    await clock.pass_(0.6)
    assert states(told) == [True] * 4 + [False]
    await clock.pass_(60)
    assert states(told) == [True] * 4 + [False]
    assert typing._typing.get()._signs == {}
    assert typing._typing.get()._of_origin == {}


async def test_a_send_ends_it_and_only_there(told, clock: Clock) -> None:
    user, here, there = uuid4(), uuid4(), uuid4()
    set_here((here, user), True)
    set_here((there, user), True)
    typing.typing_end(user, here)
    typing.typing_end(user, here)
    typing.typing_end(uuid4(), here)
    assert told[2:] == [(here, user, False)]
    set_here((here, user), True)  # who goes on writing is shown at once
    assert told[3:] == [(here, user, True)]


async def test_the_end_of_the_socket_ends_its_signs(told, clock: Clock) -> None:
    user, other, here, there = (uuid4() for _ in range(4))
    set_here((here, user), True, "phone")
    set_here((there, user), False, "phone")
    set_here((here, other), True, "laptop")
    typing.typing_end_of("phone")
    assert told[3:] == [(here, user, False)]
    typing.typing_end_of("phone")
    assert len(told) == 4
    # A sign that another socket took over is that one's.
    set_here((here, other), True, "tablet")
    typing.typing_end_of("laptop")
    assert len(told) == 4
    typing.typing_end_of("tablet")
    assert told[4:] == [(here, other, False)]


@pytest.mark.django_db(transaction=True)
async def test_a_block_keeps_it_from_the_other_and_the_answer_is_the_same(told) -> None:
    ann, bob = uuid4(), uuid4()

    def prepare() -> tuple[UUID, UUID]:
        direct = conversation_create(ann, "direct", [ann, bob], b"{}", None).view.id
        group = conversation_create(ann, "group", [ann, bob], b"{}", None).view.id
        Block.objects.create(user_id=ann, blocked_id=bob)
        return direct, group

    direct, group = await database.run(prepare)
    for user in (ann, bob):
        assert not typing.typing_renew(user, direct, True, "socket")
        await typing.typing_set(user, direct, True, "socket")
        assert typing.typing_renew(user, direct, True, "socket")
        typing.typing_end(user, direct)
    assert told == []
    await typing.typing_set(bob, group, True, "socket")
    typing.typing_end_of("socket")
    assert told == [(group, bob, True), (group, bob, False)]
