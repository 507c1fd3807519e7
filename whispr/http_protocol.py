"""uvicorn's HTTP protocol, with a bound in time and in bytes on what a request says before its body.

uvicorn itself waits for ever for the end of a head, and keeps whatever comes of it: a few clients that send a byte now
and then would hold all connections of a process, and one that sends headers without an end would fill its memory. The
body is bounded by the API (messaging/api/gate.py), a WebSocket's handshake is a head like any other.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from whispr.kernel.limits import LIMITS

# From a connection, or the first byte of a further request on it, to the end of the head.
HEAD_SECONDS = float(LIMITS.handshake_seconds)
# Tokens and cookies take some kilobytes; servers before this one take 8 to 64 KiB.
HEAD_BYTES_MAX = 64 * 1024


class PunctualHttpProtocol(HttpToolsProtocol):
    """Ends a connection whose head does not come in time (408), or never ends (431)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: asyncio.TimerHandle | None = None  # while one is awaited
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client is there; it has something to ask."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._head_is_over()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in: those of a head are counted, but for its beginning behind another request."""
        awaited = self._head
        super().data_received(data)
        if awaited is not None and awaited is self._head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        if self._head is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """The head is there; what follows is the application's."""
        self._head_is_over()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head = self.loop.call_later(HEAD_SECONDS, self._refuse, b"408 Request Timeout")

    def _head_is_over(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _refuse(self, status: bytes) -> None:
        self._head_is_over()
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.transport.close()
