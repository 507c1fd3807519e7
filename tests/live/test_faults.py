"""Processes that die and a doorbell that does not ring: nothing acknowledged is lost, doubled or reordered.

the reliability catalogue §2: F1 to F3, F5, F18, F21, F22.
"""

import asyncio
import signal
from typing import Any
from uuid import UUID, uuid4

from redis import Redis
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.e2e.server import Worker
from tests.live.client import Client, message_of
from tests.live.server import Cluster, Scene
from tests.own_redis import OwnRedis

HEALED_SECONDS = 30.0  # the reliability catalogue I22
PAUSE_SECONDS = 0.01  # after each answer: a few hundred messages show what thousands would


async def pair(stage: Scene) -> tuple[Client, Client, str]:
    """Ann on one process, Bob on the other."""
    ann, bob = uuid4(), uuid4()
    conversation_id = await stage.group(ann, bob)
    return await stage.joined(ann, acks=True), await stage.joined(bob, worker=1, acks=True), conversation_id


async def until_the_bell_rings(ann: Client, bob: Client, conversation_id: str) -> None:
    """A typing sign is not stored: it reaches another process by the bus or not at all."""
    before = len(bob.events("typing"))
    async with asyncio.timeout(HEALED_SECONDS):
        while len(bob.events("typing")) == before:
            (await ann.ask(ann.inbox, "typing", {"conversationId": conversation_id, "active": True})).ok
            await asyncio.sleep(0.3)


async def test_everything_arrives_while_the_doorbell_hangs(stage: Scene, own_redis: OwnRedis) -> None:
    ann, bob, conversation_id = await pair(stage)
    await until_the_bell_rings(ann, bob, conversation_id)
    own_redis.freeze()
    try:
        for _ in range(10):
            (await ann.send(conversation_id)).ok
        await bob.until_seq(conversation_id, 11)
        (await bob.send(conversation_id)).ok
        await ann.until_seq(conversation_id, 12)
        assert bob.seqs(conversation_id) == list(range(1, 12))
        assert (await bob.ack(conversation_id, 11, "message_read")).ok == {}
    finally:
        own_redis.thaw()
    await until_the_bell_rings(ann, bob, conversation_id)
    (await ann.send(conversation_id)).ok
    await bob.until_seq(conversation_id, 13)
    assert bob.seqs(conversation_id) == [*range(1, 12), 13]


async def test_everything_arrives_while_the_doorbell_is_gone(stage: Scene, own_redis: OwnRedis) -> None:
    ann, bob, conversation_id = await pair(stage)
    own_redis.kill()
    for _ in range(10):
        (await ann.send(conversation_id)).ok
    await bob.until_seq(conversation_id, 11)
    # Who joins now gets everything too, live and from the log.
    laptop = await stage.joined(bob.user, worker=1, acks=True)
    (await ann.send(conversation_id)).ok
    await laptop.until_seq(conversation_id, 12)
    await bob.until_seq(conversation_id, 12)
    own_redis.start()  # empty
    await until_the_bell_rings(ann, bob, conversation_id)
    (await ann.send(conversation_id)).ok
    await asyncio.gather(bob.until_seq(conversation_id, 13), laptop.until_seq(conversation_id, 13))
    assert bob.seqs(conversation_id) == laptop.seqs(conversation_id) == list(range(1, 14))


async def test_everything_arrives_while_subscriptions_are_cut(stage: Scene, own_redis: OwnRedis) -> None:
    ann, bob, conversation_id = await pair(stage)
    redis: Redis = own_redis.client
    for _ in range(15):
        redis.client_kill_filter(_type="pubsub")
        asked = [await ann.asked(ann.inbox, "send_message", message_of(conversation_id)) for _ in range(10)]
        for reply in asked:
            (await reply).ok
    await bob.until_seq(conversation_id, 151)
    assert bob.seqs(conversation_id) == list(range(1, 152))
    await until_the_bell_rings(ann, bob, conversation_id)


async def test_members_come_and_go_while_the_doorbell_hangs(stage: Scene, own_redis: OwnRedis) -> None:
    ann, bob, cid = uuid4(), uuid4(), uuid4()
    conversation_id = await stage.group(ann, bob)
    owner = await stage.joined(ann, acks=True)
    bobs, cids = [await stage.joined(user, worker=1, acks=True) for user in (bob, cid)]
    own_redis.freeze()
    try:
        await stage.add(ann, conversation_id, cid)  # 2
        (await owner.send(conversation_id)).ok  # 3
        await cids.until_seq(conversation_id, 3)
        await stage.remove(ann, conversation_id, bob)  # 4
        (await owner.send(conversation_id)).ok  # 5
        # Bob's own process commits the next one, before it has heard of the removal.
        (await cids.send(conversation_id)).ok  # 6
        (await owner.send(conversation_id)).ok  # 7
        await cids.until_seq(conversation_id, 7)
        await bobs.until_seq(conversation_id, 4)
        await bobs.heartbeat()
        assert bobs.seqs(conversation_id) == [1, 2, 3, 4]
        assert cids.seqs(conversation_id) == [2, 3, 4, 5, 7]
    finally:
        own_redis.thaw()


# --- processes that die ---


class Sender:
    """A device that behaves as a good client: it resends under the same key until it has an answer, and comes back."""

    def __init__(self, stage: Scene, user: UUID, worker: int, conversation_id: str) -> None:
        self.stage = stage
        self.user = user
        self.device = uuid4()
        self.worker = worker
        self.conversation_id = conversation_id
        self.acknowledged: dict[int, tuple[str, int, str]] = {}  # clientRandom to (messageId, seq, sentAt)
        self.statuses: list[str] = []
        self.held: dict[int, str] = {}  # seq to messageId, as pushed, in order
        self.client: Client | None = None
        self.reconnects = 0

    async def connected(self) -> Client:
        while True:
            try:
                client = await self.stage.client(self.user, self.device, worker=self.worker, acks=True)
                cursors = {self.conversation_id: max(self.held)} if self.held else {}
                await client.join_inbox(synced=False, cursors=cursors)
                self.client = client
                return client
            except TimeoutError:
                raise
            except (OSError, ConnectionClosed, InvalidHandshake, EOFError):
                await asyncio.sleep(0.1)

    def note(self) -> None:
        """Take over what was pushed; a repeat must be the same, a new one the next."""
        assert self.client is not None
        assert self.client.events("phx_error") == []
        for entry in self.client.entries.pop(self.conversation_id, []):
            seq, message_id = entry["seq"], entry["messageId"]
            assert self.held.setdefault(seq, message_id) == message_id

    async def send(self) -> None:
        message = message_of(self.conversation_id, b"%d" % len(self.acknowledged))
        while True:
            try:
                client = self.client or await self.connected()
                reply = await client.ask(client.inbox, "send_message", message)
                break
            except TimeoutError:
                raise AssertionError(f"an answer or a close, never silence: {client.pushes[-3:]}") from None
            except (OSError, ConnectionClosed):
                self.reconnects += 1
                if self.client is not None:
                    await self.client.until_closed()
                    self.note()
                self.client = None
        assert reply.status == "ok", (reply, client.pushes[-3:])
        sent = reply.ok
        self.statuses.append(sent["status"])
        self.acknowledged[message["clientRandom"]] = (sent["messageId"], sent["seq"], sent["sentAt"])

    async def run(self, stop: asyncio.Event) -> None:
        await self.connected()
        while not stop.is_set():
            await self.send()
            await asyncio.sleep(PAUSE_SECONDS)


async def under_load(stage: Scene, disturb: Any) -> list[Sender]:
    """Four senders on two processes, while `disturb` goes on; then everything acknowledged is there, once, in order."""
    users = [uuid4() for _ in range(4)]
    conversation_id = await stage.group(*users)
    senders = [Sender(stage, user, number, conversation_id) for number, user in enumerate(users)]
    stop = asyncio.Event()
    running = [asyncio.create_task(sender.run(stop)) for sender in senders]
    await disturb()
    stop.set()
    await asyncio.wait_for(asyncio.gather(*running), HEALED_SECONDS)
    fence = (await (await senders[0].connected()).send(conversation_id)).ok
    log = stage.log(conversation_id)
    assert [seq for seq, _ in log] == list(range(1, fence["seq"] + 1))
    acknowledged = [one for sender in senders for one in sender.acknowledged.values()]
    assert {(seq, message_id) for message_id, seq, _ in acknowledged} <= set(log)
    assert len({message_id for message_id, _, _ in acknowledged}) == len(acknowledged)
    sql = "SELECT count(*), count(DISTINCT (sender_id, client_random)) FROM messages"
    sql += " WHERE conversation_id = %s AND message_type = 'text'"
    assert stage.rows(sql, conversation_id) == [(len(log) - 1, len(log) - 1)]
    for sender in senders:
        own = {seq: message_id for message_id, seq, _ in sender.acknowledged.values()}
        client = await sender.connected()
        while len(sender.held | own) < len(log) - (sender is senders[0]):
            await client.until(lambda client=client: client.entries.get(conversation_id))
            sender.note()
        known = sender.held | own | ({fence["seq"]: fence["messageId"]} if sender is senders[0] else {})
        assert sorted(known.items()) == log
    fresh = await stage.joined(users[0], acks=True)
    assert [(entry["seq"], entry["messageId"]) for entry in fresh.entries[conversation_id]] == log
    return senders


async def end(worker: Worker, number: signal.Signals) -> None:
    await asyncio.to_thread(worker.end, number)


async def test_a_process_is_killed_under_load(stage: Scene, mortal: Cluster) -> None:
    async def kill() -> None:
        for worker in mortal.workers:
            await asyncio.sleep(0.7)
            await end(worker, signal.SIGKILL)
            await asyncio.to_thread(worker.start)

    senders = await under_load(stage, kill)
    assert all(sender.reconnects for sender in senders)
