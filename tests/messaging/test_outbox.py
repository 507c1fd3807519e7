"""What waits for one socket: in order, whether or not its server takes frames without waiting."""

import asyncio
from typing import Any

from messaging.outbox import Outbox


class Server:
    """Takes frames at once until it is full; what waits for it goes on when there is room."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.room = asyncio.Event()
        self.room.set()

    def send_now(self, frame: str | bytes) -> bool:
        if not self.room.is_set():
            return False
        self.taken.append(frame)
        return True

    async def send(self, message: dict[str, Any]) -> None:
        await self.room.wait()
        self.taken.append(message.get("text") or message.get("bytes") or message["code"])


async def until(server: Server, count: int) -> None:
    async with asyncio.timeout(10):
        while len(server.taken) < count:
            await asyncio.sleep(0)


async def test_what_need_not_wait_is_taken_at_once():
    server = Server()
    outbox = Outbox(server.send)
    outbox.put("one")
    outbox.put(b"two")
    assert server.taken == ["one", b"two"]
    assert outbox.waiting_bytes == 0


async def test_what_waits_goes_before_what_comes_later():
    server = Server()
    outbox = Outbox(server.send)
    outbox.put("one")
    server.room.clear()
    outbox.put("two")
    outbox.put("three")
    await asyncio.sleep(0)
    assert server.taken == ["one"]
    assert outbox.waiting_bytes == 8
    server.room.set()
    outbox.put("four")  # there is room, and others wait
    outbox.close(4000, "")
    await until(server, 5)
    assert server.taken == ["one", "two", "three", "four", 4000]
    assert outbox.waiting_bytes == 0
    outbox.put("five")
    await asyncio.sleep(0)
    assert len(server.taken) == 5


async def test_a_server_that_only_waits_gets_them_in_order():
    taken: list[str] = []

    async def send(message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        taken.append(message["text"])

    outbox = Outbox(send)
    for word in ("one", "two", "three"):
        outbox.put(word)
    async with asyncio.timeout(10):
        while len(taken) < 3:
            await asyncio.sleep(0)
    assert taken == ["one", "two", "three"]
