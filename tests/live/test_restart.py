"""A rolling restart under load loses nothing (docs/operations.md "Graceful life"): server processes are told to end one
after the other, while clients that resend what was not answered go on at the others."""

import asyncio
import signal
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.live.client import Client, message_of
from tests.live.server import Cluster, Scene

# What docs/operations.md promises of a process that is told to end.
END_SECONDS = 10.0
WINDOW = 4
CODES = {"uvicorn": 1012, "daphne": 4500}


@pytest.fixture
def servers(cluster: Cluster) -> Iterator[Cluster]:
    """Those that all share: what a test ended is started again."""
    cluster.faults()
    yield cluster
    for worker in cluster.workers:
        if worker.process is None or worker.process.poll() is not None:
            worker.start()


class Sender:
    """A device that keeps WINDOW sends under way; what a lost connection leaves unanswered is sent again, in order."""

    def __init__(self, scene: Scene, user: UUID, conversation_id: str, first: int) -> None:
        self.scene, self.user, self.conversation_id, self.at = scene, user, conversation_id, first
        self.device = uuid4()
        self.answers: dict[int, dict[str, Any]] = {}
        self.sent: list[dict[str, Any]] = []
        self.refused: list[Any] = []
        self.codes: list[int | None] = []
        self.stop = False

    async def run(self) -> None:
        while not (self.stop and len(self.answers) == len(self.sent)):
            client = await self.connect()
            try:
                await self.serve(client)
            except (ConnectionClosed, ConnectionError):
                self.codes.append(await client.until_closed())

    async def connect(self) -> Client:
        """To whichever process takes it: the list of addresses, one after the other."""
        while True:
            self.at += 1
            try:
                client = await self.scene.client(self.user, self.device, worker=self.at)
                await client.join(client.inbox)
                return client
            except (OSError, InvalidHandshake, ConnectionClosed, ConnectionError, TimeoutError):
                await asyncio.sleep(0.05)

    async def serve(self, client: Client) -> None:
        waiting: dict[int, asyncio.Future[Any]] = {}
        again = [number for number in range(len(self.sent)) if number not in self.answers]
        try:
            await self.exchange(client, waiting, again)
        finally:
            await asyncio.gather(*waiting.values(), return_exceptions=True)

    async def exchange(self, client: Client, waiting: dict[int, asyncio.Future[Any]], again: list[int]) -> None:
        while again or waiting or not self.stop:
            while len(waiting) < WINDOW and (again or not self.stop):
                number = again.pop(0) if again else self.draw()
                waiting[number] = await client.asked(client.inbox, "send_message", self.sent[number])
            await asyncio.wait(waiting.values(), return_when=asyncio.FIRST_COMPLETED)
            for number in [number for number, future in waiting.items() if future.done()]:
                reply = waiting.pop(number).result()  # raises ConnectionError where the socket closed
                if reply.status == "ok":
                    self.answers[number] = reply.response
                else:
                    self.refused.append(reply)
                    again.append(number)
            await asyncio.sleep(0.005)

    def draw(self) -> int:
        self.sent.append(message_of(self.conversation_id, f"{self.user} {len(self.sent)}".encode()))
        return len(self.sent) - 1


async def test_a_rolling_restart_under_load_loses_no_send(servers: Cluster) -> None:
    scene = Scene(servers)
    users = [uuid4() for _ in range(4)]
    conversation_id = await scene.group(*users)
    senders = [Sender(scene, user, conversation_id, number) for number, user in enumerate(users)]
    running = [asyncio.create_task(sender.run()) for sender in senders]
    await asyncio.sleep(1)
    for worker in servers.workers:
        before = sum(len(sender.answers) for sender in senders)
        assert worker.process is not None
        began = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(worker.process.wait, 30)
        assert time.monotonic() - began <= END_SECONDS
        await asyncio.to_thread(worker.start)
        await asyncio.sleep(0.5)
        assert sum(len(sender.answers) for sender in senders) > before
    for sender in senders:
        sender.stop = True
    await asyncio.wait_for(asyncio.gather(*running), 60)

    assert [sender.refused for sender in senders] == [[], [], [], []]
    # Each was on both processes in its time, and was told to come back by each that ended.
    for sender in senders:
        assert sender.codes
        assert set(sender.codes) == {CODES[servers.asgi]}
    log = scene.rows(
        "SELECT seq, id::text, sender_id, client_random FROM messages WHERE conversation_id = %s ORDER BY seq",
        conversation_id,
    )
    assert [row[0] for row in log] == list(range(1, len(log) + 1))
    for sender in senders:
        own = [row for row in log if row[2] == sender.user and row[3] is not None]
        assert [row[3] for row in own] == [one["clientRandom"] for one in sender.sent]  # each once, in its order
        answered = [sender.answers[number] for number in range(len(sender.sent))]
        assert [(row[0], row[1]) for row in own] == [(one["seq"], one["messageId"]) for one in answered]
    await scene.close()
    assert servers.faults() == ""


async def test_what_is_under_way_is_answered_before_the_close(servers: Cluster) -> None:
    """Sends whose commit waits for a lock when the process is told to end."""
    import psycopg

    from tests.e2e.server import database_url

    scene = Scene(servers)
    ann = uuid4()
    conversation_id = await scene.group(ann)
    client = await scene.joined(ann)
    with psycopg.connect(database_url()) as session:
        session.execute("SELECT 1 FROM conversations WHERE id = %s FOR UPDATE", (conversation_id,))
        waiting = [await client.asked(client.inbox, "send_message", message_of(conversation_id)) for _ in range(3)]
        await asyncio.sleep(0.3)
        assert not any(future.done() for future in waiting)
        process = servers.workers[0].process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        session.rollback()
    assert [(await future).ok["status"] for future in waiting] == ["sent"] * 3
    assert await client.until_closed() == CODES[servers.asgi]
    await asyncio.to_thread(process.wait, 30)
    await scene.close()
    assert servers.faults() == ""


async def test_many_sockets_leave_one_after_the_other(servers: Cluster) -> None:
    scene = Scene(servers)
    clients = [await scene.joined(uuid4()) for _ in range(30)]
    process = servers.workers[0].process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    codes = await asyncio.gather(*(client.until_closed() for client in clients))
    assert set(codes) == {CODES[servers.asgi]}
    await asyncio.to_thread(process.wait, 30)
    await scene.close()
    assert servers.faults() == ""
