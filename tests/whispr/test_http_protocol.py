"""Heads of requests that do not come, do not end, or come behind one another."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from whispr import http_protocol
from whispr.http_protocol import HEAD_BYTES_MAX, PunctualHttpProtocol
from whispr.uvicorn_server import settings

Address = tuple[str, int]
SECONDS = 5.0  # longer than anything here takes


async def _application(scope: Any, receive: Any, send: Any) -> None:
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message["body"])
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(str(size)))]})
    await send({"type": "http.response.body", "body": str(size).encode()})


@pytest.fixture
async def address(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Address]:
    """A server whose patience is short."""
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)
    config = Config(_application, **settings() | {"log_config": None})
    config.load()
    assert config.http_protocol_class is PunctualHttpProtocol
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: PunctualHttpProtocol(config, state, {}), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()
    for connection in tuple(state.connections):
        connection.shutdown()


@contextlib.asynccontextmanager
async def client(address: Address) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.close()


async def until_end(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(SECONDS):
        return await reader.read()


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        return head.split(b"\r")[0] + b" " + await reader.readexactly(length)


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"GET /socket/websocket HTTP/1.1\r\nUpg"])
async def test_a_head_that_does_not_end_in_time_ends_its_connection(address: Address, first: bytes) -> None:
    async with client(address) as (reader, writer):
        writer.write(first)
        assert (await until_end(reader)).startswith(b"HTTP/1.1 408 ")


async def test_a_byte_now_and_then_is_no_reason_to_wait_on(address: Address) -> None:
    async with client(address) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        ended = asyncio.create_task(until_end(reader))
        while not ended.done():
            writer.write(b"a")
            await asyncio.sleep(0.05)
        assert ended.result().startswith(b"HTTP/1.1 408 ")


async def test_a_head_without_an_end_is_refused(address: Address) -> None:
    async with client(address) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: aaaaaaaa\r\n" * (HEAD_BYTES_MAX // 12))
        assert (await until_end(reader)).startswith(b"HTTP/1.1 431 ")


async def test_what_comes_in_time_is_served_and_a_body_may_take_longer(address: Address) -> None:
    async with client(address) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await answer(reader) == b"HTTP/1.1 200 OK 0"
        size = 2 * HEAD_BYTES_MAX
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        await asyncio.sleep(0.5)
        # The next request's head begins in the bytes that end this one's body.
        writer.write(b"a" * size + b"GET / HTTP/1.1\r\nHo")
        assert await answer(reader) == b"HTTP/1.1 200 OK %d" % size
        writer.write(b"st: a\r\n\r\n")
        assert await answer(reader) == b"HTTP/1.1 200 OK 0"
        writer.write(b"GET / HT")
        assert (await until_end(reader)).startswith(b"HTTP/1.1 408 ")
