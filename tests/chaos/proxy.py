"""A TCP link that can be slowed, narrowed, sliced, frozen, cut in one direction, reset and refused.

It stands before PostgreSQL, Valkey, the services and each server process, in the harness's own event loop. `up` is from
who connects to what is connected to, `down` is the way back.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["up", "down"]
CHUNK = 64 * 1024
# What is read ahead of a slow way: the system's own socket buffers are about as large.
AHEAD_BYTES = 256 * 1024


@dataclass
class Shape:
    """How a link treats what passes. The default passes everything at once."""

    latency: float = 0.0  # s, each way
    jitter: float = 0.0  # s, more or less than that; order is kept
    rate: float = 0.0  # bytes a second and connection, 0: as fast as it goes
    slice: int = 0  # bytes that go at once, 0: as they come
    held: frozenset[Direction] = frozenset()  # a black hole: nothing passes, nothing is lost
    dropped: frozenset[Direction] = frozenset()  # swallowed; the connection is not good for anything afterwards
    refused: bool = False  # no new connection


@dataclass(eq=False)
class _Connection:
    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    damaged: bool = False  # bytes are missing
    left: float = 0.0  # the loop's time at which the server ended it
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def abort(self) -> None:
        """RST to both ends."""
        for writer in self.writers:
            reset(writer.transport)
        for task in self.tasks:
            task.cancel()


def reset(transport: asyncio.WriteTransport) -> None:
    """End a connection by RST."""
    with contextlib.suppress(OSError, ValueError):  # it is closed already
        found = transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Link:
    """One listening address that leads to another."""

    def __init__(self, name: str, target: tuple[str, int], seed: int = 0) -> None:
        self.name = name
        self.target = target
        self.shape = Shape()
        self.port = 0
        self.connections: set[_Connection] = set()
        self.cut_until = 0.0  # the loop's time until which it was not a plain link
        self._changed = asyncio.Event()
        self._random = random.Random(f"{seed}-{name}")
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more, and end what is open."""
        if self._server is not None:
            self._server.close()
        tasks = [task for one in self.connections for task in one.tasks]
        self.reset()
        await asyncio.gather(*tasks, return_exceptions=True)

    def set(self, shape: Shape) -> None:
        """Treat everything so from now on, what is under way too."""
        if self.shape != Shape():
            self.cut_until = asyncio.get_running_loop().time()
        self.shape = shape
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def was_cut(self, since: float) -> bool:
        """Whether it was anything but a plain link at any moment since that time of the loop."""
        return self.shape != Shape() or self.cut_until >= since

    def heal(self) -> None:
        """Pass everything again; connections that lost bytes end, as they would by a timeout."""
        self.set(Shape())
        for one in tuple(self.connections):
            if one.damaged:
                one.abort()

    def reset(self) -> None:
        """RST on every connection."""
        for one in tuple(self.connections):
            one.abort()

    def past(self) -> "Link":
        """No link at all, to where this one leads: for a crowd, whose frames would cost us as much again."""
        straight = Link(f"past {self.name}", self.target)
        straight.port = self.target[1]
        return straight

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.shape.refused:
            _Connection((writer, writer)).abort()
            return
        try:
            there, back = await asyncio.open_connection(*self.target)
        except OSError:
            _Connection((writer, writer)).abort()
            return
        for one in (writer, back):
            one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection((writer, back))
        self.connections.add(connection)
        connection.tasks = [
            asyncio.create_task(self._pump(reader, back, "up", connection)),
            asyncio.create_task(self._pump(there, writer, "down", connection)),
        ]
        try:
            await asyncio.gather(*connection.tasks, return_exceptions=True)
        finally:
            self.connections.discard(connection)
            for one in connection.writers:
                one.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction, connection: _Connection
    ) -> None:
        """Read ahead a little, and pass on when the shape says so."""
        loop = asyncio.get_running_loop()
        waiting: deque[tuple[float, bytes]] = deque()
        space, ready = asyncio.Event(), asyncio.Event()
        size = 0

        async def pass_on() -> None:
            nonlocal size
            while True:
                while not waiting:
                    ready.clear()
                    await ready.wait()
                due, data = waiting[0]
                if (left := due - loop.time()) > 0:
                    await asyncio.sleep(left)
                await self._open(direction)
                if not data:
                    with contextlib.suppress(OSError, RuntimeError):
                        writer.write_eof()
                    return
                if direction in self.shape.dropped:
                    connection.damaged = True
                else:
                    await self._write(writer, data, direction)
                waiting.popleft()
                size -= len(data)
                space.set()

        passing = asyncio.create_task(pass_on())
        connection.tasks.append(passing)
        try:
            last = 0.0
            while True:
                while size > AHEAD_BYTES:
                    space.clear()
                    await space.wait()
                data = await reader.read(CHUNK)
                delay = self.shape.latency
                if delay:
                    delay = max(0.0, delay + self._random.uniform(-self.shape.jitter, self.shape.jitter))
                last = max(last, loop.time() + delay)
                waiting.append((last, data))
                size += len(data)
                ready.set()
                if not data:
                    break
            if direction == "down":
                connection.left = loop.time()
            await passing
        except (OSError, asyncio.IncompleteReadError):
            if direction == "down":
                connection.left = loop.time()
            await self._open(direction)  # a black hole swallows a reset too
            for one in connection.writers:
                one.transport.abort()
        finally:
            passing.cancel()

    async def _open(self, direction: Direction) -> None:
        while direction in self.shape.held:
            await self._changed.wait()

    async def _write(self, writer: asyncio.StreamWriter, data: bytes, direction: Direction) -> None:
        while data:
            piece = data
            if self.shape.slice or self.shape.rate:
                # A narrow way is passed in steps of a twentieth of a second.
                size = self.shape.slice or max(1, int(self.shape.rate / 20))
                piece, data = data[:size], data[size:]
            else:
                data = b""
            await self._open(direction)
            writer.write(piece)
            await writer.drain()
            if self.shape.rate:
                await asyncio.sleep(len(piece) / self.shape.rate)
            elif self.shape.slice:
                await asyncio.sleep(0)
