"""The Python client (sdk/python) against real servers: what it promises, over restarts of both sides."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.live.client import token_of
from tests.live.server import Cluster, Scene
from whispr_client import Client, Receipt, Refused, SignedOut, SqliteStore

SECONDS = 40.0


async def receive(client: Client, count: int) -> list[bytes]:
    """The next texts; what the server writes is left out."""
    found: list[bytes] = []
    async with asyncio.timeout(SECONDS):
        async for message in client.messages():
            if message.type == "text":
                found.append(message.content)
            if len(found) == count:
                return found
    return found


async def test_two_clients_talk_and_learn_of_it(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    here = UUID(await scene.group(ann, bob))
    async with (
        Client(scene.url(0), token_of(ann, uuid4())) as sender,
        Client(scene.url(1), token_of(bob, uuid4())) as receiver,
    ):
        sendings = [sender.send(here, b"message %d" % number) for number in range(30)]
        reader = asyncio.create_task(receive(receiver, 30))
        outcomes = [await sending for sending in sendings]
        assert [one.seq for one in outcomes] == list(range(outcomes[0].seq, outcomes[0].seq + 30))
        assert await reader == [b"message %d" % number for number in range(30)]
        await receiver.read(here, outcomes[-1].seq)
        async with asyncio.timeout(SECONDS):
            async for event in sender.events():
                if isinstance(event, Receipt) and event.status == "read" and event.up_to == outcomes[-1].seq:
                    break
        assert (await receiver.rest.get_history(here, limit=5))[0][-1].content == b"message 29"
        with pytest.raises(Refused) as refused:
            await sender.send(uuid4(), b"to nowhere")
        assert refused.value.code == "not_found"


async def test_a_device_that_was_away_gets_what_it_lacks_once(scene: Scene, tmp_path: Path) -> None:
    ann, bob, device = uuid4(), uuid4(), uuid4()
    here = UUID(await scene.group(ann, bob))
    store = SqliteStore(tmp_path / "bob.sqlite")
    async with Client(scene.url(0), token_of(ann, uuid4())) as sender:
        await sender.send(here, b"one")
        async with Client(scene.url(1), token_of(bob, device), store=store) as receiver:
            assert await receive(receiver, 1) == [b"one"]
            # It stopped at the first one, so that one was not dealt with: it comes again.
        await sender.send(here, b"two")
        async with Client(scene.url(1), token_of(bob, device), store=store) as receiver:
            assert await receive(receiver, 2) == [b"one", b"two"]
            assert receiver.is_connected


async def stall(client: Client, content: bytes) -> None:
    """Take what comes, and be busy with `content` for as long as one lets us."""
    async for message in client.messages():
        if message.content == content:
            await asyncio.sleep(SECONDS)


async def test_what_was_not_dealt_with_comes_again(scene: Scene) -> None:
    """A loop that is left by a timeout or a break loses nothing, in the same process either."""
    ann, bob = uuid4(), uuid4()
    here = UUID(await scene.group(ann, bob))
    async with (
        Client(scene.url(0), token_of(ann, uuid4())) as sender,
        Client(scene.url(1), token_of(bob, uuid4())) as receiver,
    ):
        for content in (b"one", b"two"):
            await sender.send(here, content)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stall(receiver, b"one"), 1)
        assert await receive(receiver, 1) == [b"one"]
        assert await receive(receiver, 2) == [b"one", b"two"]


async def test_a_revoked_device_is_told(scene: Scene) -> None:
    bob, device, other = uuid4(), uuid4(), uuid4()
    async with Client(scene.url(0), token_of(bob, device)) as client:
        answer = await scene.rest(bob, "DELETE", f"devices/{device}", device=other)
        assert answer.status in (200, 204), answer
        with pytest.raises(SignedOut):
            await receive(client, 1)
    with pytest.raises(SignedOut):
        await Client(scene.url(0), token_of(bob, device)).start()


@pytest.fixture
def lonely(live_database: None) -> Iterator[Cluster]:
    with Cluster("uvicorn", workers=1) as servers:
        yield servers


async def test_sends_outlive_the_server_and_the_client(lonely: Cluster, tmp_path: Path) -> None:
    scene = Scene(lonely)
    ann, bob, device = uuid4(), uuid4(), uuid4()
    here = UUID(await scene.group(ann, bob))
    store = SqliteStore(tmp_path / "ann.sqlite")
    receiver = Client(scene.url(0), token_of(bob, uuid4()))
    await receiver.start()
    async with Client(scene.url(0), token_of(ann, device), store=store) as sender:
        sendings = [sender.send(here, b"message %d" % number) for number in range(20)]
        await sendings[3]
        await asyncio.to_thread(lonely.kill)
        later = [sender.send(here, b"message %d" % number) for number in range(20, 30)]
        assert not later[-1].outcome.done()
    # The client is gone too; what it did not send is in its file.
    await asyncio.to_thread(lonely.start)
    async with Client(scene.url(0), token_of(ann, device), store=store) as again:
        async with asyncio.timeout(SECONDS):
            for sending in again.sendings:
                await sending
        assert await receive(receiver, 30) == [b"message %d" % number for number in range(30)]
        assert store.list_outbox() == []
    await receiver.close()
    await scene.close()
