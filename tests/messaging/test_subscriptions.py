"""The seam between the log and the feed, at moments that a running server meets by chance only.

A real socket object on a real database; what it writes is kept in a list instead of a connection.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from messaging.channels import Channel
from messaging.connection import Socket
from messaging.events import Actor
from messaging.fanout import publish_entries
from messaging.fanout.hub import hub
from messaging.phoenix import Version
from messaging.services.standing import get_standings
from messaging.store.conversations import conversation_create
from messaging.store.entries import Standing
from messaging.store.log import Appended, NewEntry, entries_append
from messaging.store.members import member_remove, members_add
from messaging.subscriptions import Subscription
from whispr.kernel import database
from whispr.kernel.auth import Claims
from whispr.kernel.errors import TemporaryUnavailable
from whispr.kernel.ids import new_id

pytestmark = pytest.mark.django_db(transaction=True)
SECONDS = 10.0


class Opened:
    """A socket of a user with a joined inbox, and what was written to it."""

    def __init__(self, user: UUID) -> None:
        self.frames: list[Any] = []
        self.socket = Socket(Actor(user, uuid4()), claims_of(user), Version.V2, self._send)
        hub.listen(user, self.socket)

    async def _send(self, message: dict[str, Any]) -> None:
        self.frames.append(json.loads(message["text"]) if "text" in message else message)

    async def join(self, topic: str) -> Channel:
        """Join, and wait until nothing is left to catch up with."""
        frame = msgspec.json.encode(["1", "1", topic, "phx_join", {}]).decode()
        self.socket.perform(self.socket.session.receive_text(frame, 0.0))
        await self.until(lambda: self.events("sync_complete"))
        (channel,) = self.socket.channels.values()
        return channel

    def events(self, name: str) -> list[Any]:
        return [frame[4] for frame in self.frames if isinstance(frame, list) and frame[3] == name]

    @property
    def seqs(self) -> list[int]:
        return [entry["seq"] for entry in self.events("new_message")]

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(SECONDS):
            while not condition():
                await asyncio.sleep(0.005)


def claims_of(user: UUID) -> Claims:
    return Claims(user_id=user, device_id=uuid4(), issued_at=0, expires_at=2**40, jti="t")


@pytest.fixture
async def opened() -> AsyncIterator[Any]:
    sockets: list[Opened] = []

    def open_socket(user: UUID) -> Opened:
        sockets.append(Opened(user))
        return sockets[-1]

    yield open_socket
    for one in sockets:
        hub.unlisten(one.socket.actor.user_id, one.socket)
        one.socket.detach()
    await asyncio.sleep(0)


def _group(*users: UUID) -> UUID:
    return conversation_create(users[0], "group", list(users), b"{}", None).view.id


async def group_of(*users: UUID) -> UUID:
    return await database.run(_group, *users)


async def send(conversation_id: UUID, sender: UUID, count: int = 1, *, told: bool = True) -> list[int]:
    """Append entries and tell of them; with `told` false their doorbell is lost."""
    items = [
        NewEntry(new_id(), conversation_id, sender, uuid4(), "text", b"x", b"{}", uuid4().int % 2**53, uuid4().bytes)
        for _ in range(count)
    ]
    outcomes = await database.run(entries_append, items)
    entries = [one.entry for one in outcomes if isinstance(one, Appended) and one.entry is not None]
    if told:
        publish_entries(entries)
    return [entry.seq for entry in entries]


async def remove(owner: UUID, conversation_id: UUID, user: UUID) -> int:
    entries = await database.run(member_remove, owner, conversation_id, user)
    publish_entries(entries)
    return entries[-1].seq


async def add(owner: UUID, conversation_id: UUID, user: UUID) -> int:
    entries, _ = await database.run(members_add, owner, conversation_id, [user])
    publish_entries(entries)
    return entries[-1].seq


async def standing_of(one: Opened, conversation_id: UUID) -> Standing:
    return (await get_standings(one.socket.actor, conversation_id)).conversations[0]


async def subscribe(channel: Channel, standing: Standing, cursor: int | None = None) -> Subscription:
    subscription = channel.subscribe(standing, cursor)
    assert subscription is not None
    channel.catch_up.wake(subscription)
    return subscription


async def test_whoever_was_removed_between_the_look_and_the_subscription_sees_nothing_after(opened) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await group_of(ann, bob)
    watcher = opened(ann)
    await watcher.join(f"user:{ann}")  # so that this process has a feed of the conversation already
    bobs = opened(bob)
    channel = await bobs.join(f"user:{bob}")
    for subscription in tuple(channel.catch_up.by_conversation.values()):
        subscription.close()
    standing = await standing_of(bobs, conversation_id)
    await send(conversation_id, ann)  # 2
    removed_at = await remove(ann, conversation_id, bob)  # 3: the feed has passed it on
    await subscribe(channel, standing, 1)
    await bobs.until(lambda: removed_at in bobs.seqs)
    await send(conversation_id, ann, 3)
    await watcher.until(lambda: 6 in watcher.seqs)
    await asyncio.sleep(0.05)
    assert bobs.seqs == [1, 2, 3]
    assert conversation_id not in channel.catch_up.by_conversation


async def test_a_stale_list_of_new_members_does_not_bring_a_removed_one_back(opened) -> None:
    """The head check reads who joined of late; a removal can overtake what it read."""
    ann, bob = uuid4(), uuid4()
    conversation_id = await group_of(ann)
    watcher, bobs = opened(ann), opened(bob)
    await watcher.join(f"user:{ann}")
    channel = await bobs.join(f"user:{bob}")
    joined_at = await add(ann, conversation_id, bob)
    await bobs.until(lambda: joined_at in bobs.seqs)
    removed_at = await remove(ann, conversation_id, bob)
    await bobs.until(lambda: removed_at in bobs.seqs)
    channel.on_joined_conversation(conversation_id, joined_at)
    await send(conversation_id, ann, 2)
    await watcher.until(lambda: removed_at + 2 in watcher.seqs)
    await asyncio.sleep(0.05)
    assert set(bobs.seqs) == {joined_at, removed_at}


async def test_catching_up_over_an_earlier_removal_goes_on(opened) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await group_of(ann, bob)  # 1
    await send(conversation_id, ann)  # 2
    await remove(ann, conversation_id, bob)  # 3
    await send(conversation_id, ann)  # 4
    await add(ann, conversation_id, bob)  # 5
    await send(conversation_id, ann)  # 6
    bobs = opened(bob)
    await bobs.join(f"user:{bob}")
    assert bobs.seqs == [1, 2, 3, 5, 6]
    await send(conversation_id, ann)
    await bobs.until(lambda: 7 in bobs.seqs)
    assert bobs.seqs == [1, 2, 3, 5, 6, 7]


async def test_a_removed_member_who_returns_gets_what_was_missed_and_no_more(opened) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await group_of(ann, bob)
    await remove(ann, conversation_id, bob)  # 2
    await send(conversation_id, ann)  # 3
    bobs = opened(bob)
    await bobs.join(f"user:{bob}")
    await send(conversation_id, ann)
    await asyncio.sleep(0.05)
    assert bobs.seqs == [1, 2]


async def test_entries_in_any_order_and_any_number_come_out_once_in_order(opened) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await group_of(ann, bob)
    bobs = opened(bob)
    await bobs.join(f"user:{bob}")
    items = [
        NewEntry(new_id(), conversation_id, ann, uuid4(), "text", b"x", b"{}", number, uuid4().bytes)
        for number in range(20)
    ]
    outcomes = await database.run(entries_append, items)
    entries = [one.entry for one in outcomes if isinstance(one, Appended) and one.entry is not None]
    # Two processes' doorbells: the second half first, repeats, and three that never ring.
    for seq in (12, 11, 21, 2, 2, 4, 3, 12, 6, 5, 8, 16, 10, 14, 13, 20, 17, 18):
        publish_entries([entries[seq - 2]])
        await asyncio.sleep(0)
    await bobs.until(lambda: 21 in bobs.seqs)
    assert bobs.seqs == list(range(1, 22))


async def test_the_head_check_finds_what_no_doorbell_told(opened) -> None:
    from messaging.fanout.bus import buses

    ann, bob = uuid4(), uuid4()
    conversation_id = await group_of(ann, bob)
    bobs = opened(bob)
    await bobs.join(f"user:{bob}")
    await send(conversation_id, ann, 3, told=False)
    await database.run(members_add, ann, (other := await group_of(ann)), [bob])  # nobody tells of this either
    await send(other, ann, 2, told=False)
    await asyncio.sleep(0.05)
    assert bobs.seqs == [1]
    await buses.get().check_heads()
    await bobs.until(lambda: bobs.events("new_message")[-1]["seq"] == 4 or len(bobs.seqs) == 7)
    await bobs.until(lambda: len(bobs.seqs) == 7)
    by_conversation = {str(conversation_id): [], str(other): []}
    for entry in bobs.events("new_message"):
        by_conversation[entry["conversationId"]].append(entry["seq"])
    assert by_conversation == {str(conversation_id): [1, 2, 3, 4], str(other): [2, 3, 4]}


@pytest.mark.parametrize("followed_before", [True, False])
async def test_a_stay_that_nobody_was_told_of_comes_before_the_next_one(opened, followed_before: bool) -> None:
    """Added and removed while the doorbell is away, and then added again: the stay in between is the user's too."""
    from messaging.fanout.bus import buses

    ann, bob = uuid4(), uuid4()
    conversation_id = await group_of(ann)
    bobs = opened(bob)
    await bobs.join(f"user:{bob}")
    seen: list[int] = []
    if followed_before:
        seen = [await add(ann, conversation_id, bob), await remove(ann, conversation_id, bob)]
        await bobs.until(lambda: bobs.seqs == seen)
    await database.run(members_add, ann, conversation_id, [bob])
    await send(conversation_id, ann, told=False)
    await database.run(member_remove, ann, conversation_id, bob)
    await send(conversation_id, ann, told=False)
    await database.run(members_add, ann, conversation_id, [bob])
    await buses.get().check_heads()
    first = (seen[-1] if seen else 1) + 1
    expected = [*seen, first, first + 1, first + 2, first + 4]
    await bobs.until(lambda: len(bobs.seqs) >= len(expected))
    await asyncio.sleep(0.05)
    assert bobs.seqs == expected


@pytest.mark.parametrize("followed_before", [True, False])
async def test_a_stay_that_nobody_was_told_of_is_found_after_its_end(opened, followed_before: bool) -> None:
    """Added and removed while the doorbell is away, and not added again; and the head check says it once only."""
    from messaging.fanout.bus import buses

    ann, bob = uuid4(), uuid4()
    conversation_id = await group_of(ann)
    bobs = opened(bob)
    channel = await bobs.join(f"user:{bob}")
    seen: list[int] = []
    if followed_before:
        seen = [await add(ann, conversation_id, bob), await remove(ann, conversation_id, bob)]
        await bobs.until(lambda: bobs.seqs == seen)
    await database.run(members_add, ann, conversation_id, [bob])
    await send(conversation_id, ann, told=False)
    await database.run(member_remove, ann, conversation_id, bob)
    await send(conversation_id, ann, told=False)
    first = (seen[-1] if seen else 1) + 1
    for _ in range(3):
        await buses.get().check_heads()
        await bobs.until(lambda: len(bobs.seqs) >= len(seen) + 3)
        await asyncio.sleep(0.05)
    assert bobs.seqs == [*seen, first, first + 1, first + 2]
    assert conversation_id not in channel.catch_up.by_conversation


@pytest.mark.parametrize("answered", [True, False])
async def test_what_the_log_gives_back_before_its_outcome_is_told_once(opened, answered: bool) -> None:
    user = uuid4()
    conversation_id = await group_of(user)
    one = opened(user)
    channel = await one.join(f"user:{user}")
    (subscription,) = channel.catch_up.by_conversation.values()
    # A commit of this socket's is through, and its outcome still on the way; meanwhile the log is read.
    outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    mine = NewEntry(
        new_id(), conversation_id, user, one.socket.actor.device_id, "text", b"x", b"{}", 7, b"f", origin=one.socket
    )
    one.socket.on_submitted(mine.message_id, outcome)
    (appended,) = await database.run(entries_append, [mine])
    assert isinstance(appended, Appended)
    (later,) = await send(conversation_id, user, told=False)
    subscription.is_live = False
    channel.catch_up.wake(subscription)
    await one.until(lambda: later in one.seqs)
    assert one.seqs == [1, later]
    if answered:
        one.socket.on_sent(conversation_id, later - 1)
        outcome.set_result(None)
        publish_entries([appended.entry] if appended.entry else [])
        (last,) = await send(conversation_id, user)
        await one.until(lambda: last in one.seqs)
        assert one.seqs == [1, later, last]
    else:  # its reply cannot tell what became of it
        outcome.set_exception(TemporaryUnavailable())
        await one.until(lambda: one.seqs[-2:] == [later - 1, later])
        assert one.seqs == [1, later, later - 1, later]
    assert one.socket.unanswered == {}
