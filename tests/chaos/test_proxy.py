"""The links: what passes, passes whole and in order; what is cut, is cut as it says."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import Link, Shape

TEXT = bytes(range(256)) * 400


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """A link to a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    found = Link("test", ("127.0.0.1", server.sockets[0].getsockname()[1]))
    await found.start()
    yield found
    await found.close()
    server.close()


async def open_to(link: Link) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", link.port)


async def echoed(link: Link, text: bytes = TEXT) -> bytes:
    reader, writer = await open_to(link)
    writer.write(text)
    async with asyncio.timeout(20):
        found = await reader.readexactly(len(text))
    writer.close()
    return found


async def test_everything_passes(link):
    assert await echoed(link) == TEXT


async def test_slices_pass_whole(link):
    link.set(Shape(slice=1_000))
    assert await echoed(link) == TEXT


async def test_latency_delays_and_keeps_the_order(link):
    link.set(Shape(latency=0.05, jitter=0.05))
    began = time.monotonic()
    assert await echoed(link) == TEXT
    assert time.monotonic() - began >= 0.01


async def test_a_narrow_way_takes_its_time(link):
    link.set(Shape(rate=100_000))
    began = time.monotonic()
    assert await echoed(link, TEXT[:20_000]) == TEXT[:20_000]
    assert time.monotonic() - began >= 0.1  # 20 kB at 100 kB/s, in steps of a twentieth of a second


async def test_a_black_hole_keeps_what_it_was_given(link):
    reader, writer = await open_to(link)
    link.set(Shape(held=frozenset({"up", "down"})))
    writer.write(b"hello")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.readexactly(5)
    link.heal()
    async with asyncio.timeout(10):
        assert await reader.readexactly(5) == b"hello"
    writer.close()


async def test_what_is_dropped_never_comes_and_the_connection_ends_with_the_healing(link):
    reader, writer = await open_to(link)
    writer.write(b"before")
    assert await reader.readexactly(6) == b"before"
    link.set(Shape(dropped=frozenset({"down"})))
    writer.write(b"lost")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.read(1)
    link.heal()
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionError):
            await reader.readexactly(1)


async def test_reset_ends_every_connection(link):
    reader, writer = await open_to(link)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    link.reset()
    with pytest.raises(ConnectionError):
        await reader.readexactly(1)


async def test_refused_takes_no_new_connection(link):
    link.set(Shape(refused=True))
    reader, _ = await open_to(link)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    link.heal()
    assert await echoed(link, b"again") == b"again"
