"""What a handshake hears whose server ends before it was answered."""

import asyncio
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from whispr.uvicorn_server import GatheringProtocol, settings

HANDSHAKE = (
    b"GET /socket/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def test_a_handshake_is_refused_for_now_when_the_server_ends():
    asked = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    options = settings() | {"log_config": None}
    config = Config(application, **options)
    config.load()
    state = ServerState()
    protocol, wire = GatheringProtocol(config, state, {}), Wire()
    protocol.connection_made(wire)
    protocol.data_received(HANDSHAKE)
    await asked.wait()
    protocol.shutdown()
    head = wire.written.split(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in head
    assert wire.closed
    for task in state.tasks:
        task.cancel()
    await asyncio.gather(*state.tasks, return_exceptions=True)
