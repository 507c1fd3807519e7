"""What waits to be written to one socket: in order, bounded, without a task while there is nothing to write."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from whispr.kernel.limits import LIMITS

# A client that was sent a close answers it within a round trip.
CLOSING_SECONDS = 5.0

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Outbox:
    """The frames of one socket on their way to the ASGI server, whose `send` waits while the client does not read."""

    __slots__ = (
        "_queue",
        "_resumed",
        "_send",
        "_send_now",
        "_task",
        "aborted",
        "closed",
        "waiting_bytes",
        "writing_since",
    )

    def __init__(self, send: Send) -> None:
        self._send = send
        # Our own server takes a frame without a task, where it need not wait (whispr/uvicorn_server.py).
        self._send_now: Callable[[str | bytes], bool] | None = getattr(
            getattr(send, "__self__", None), "send_now", None
        )
        self._queue: deque[str | bytes | dict[str, Any]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._resumed: asyncio.Future[None] | None = None
        self.waiting_bytes = 0
        self.writing_since: float | None = None  # loop time at which the write under way began
        self.closed = False
        self.aborted = False

    def put(self, frame: str | bytes) -> None:
        """Queue a text (str) or binary (bytes) frame. The caller looks at `is_full` before it produces more."""
        if self.closed:
            return
        if self._send_now is not None and self._task is None and not self._queue and self._send_now(frame):
            return
        self.waiting_bytes += len(frame)
        self._queue.append(frame)
        self._pump()

    def close(self, code: int, reason: str) -> None:
        """Queue the close; what is queued before it still goes out, nothing after it."""
        if self.closed:
            return
        self.closed = True
        self._queue.append({"type": "websocket.close", "code": code, "reason": reason})
        self._pump()

    def abandon(self) -> None:
        """The socket is gone: forget what waits."""
        self.closed = True
        self._queue.clear()
        self.waiting_bytes = 0
        self._wake()
        if self._task is not None:
            self._task.cancel()

    def abort_transport(self) -> None:
        """End the connection below a client that reads nothing, where the ASGI server lets its transport be found."""
        self.aborted = True
        server = getattr(self._send, "__self__", None)  # uvicorn: a method of its protocol
        if server is None:  # daphne: a partial of the server's method with the protocol
            server = next(iter(getattr(self._send, "args", ())), None)
        transport = getattr(server, "transport", None)
        abort = getattr(transport, "abort", None) or getattr(transport, "abortConnection", None)
        if abort is not None:
            abort()

    @property
    def is_full(self) -> bool:
        """A quarter of the byte window waits: enough to keep a fast reader busy, little to hold for a slow one."""
        return self.waiting_bytes > LIMITS.window_bytes // 4

    @property
    def is_overrun(self) -> bool:
        """More waits than may be held for a socket: it is closed with 4408 and served from the log on its return."""
        return self.waiting_bytes > LIMITS.window_bytes

    async def room(self) -> None:
        """Wait until the outbox is not full (or closed)."""
        while self.is_full and not self.closed:
            if self._resumed is None:
                self._resumed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._resumed)

    def _pump(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._queue:
                frame = self._queue.popleft()
                self.writing_since = loop.time()
                if isinstance(frame, str):
                    await self._send({"type": "websocket.send", "text": frame})
                    self.waiting_bytes -= len(frame)
                elif isinstance(frame, bytes):
                    await self._send({"type": "websocket.send", "bytes": frame})
                    self.waiting_bytes -= len(frame)
                else:
                    await self._send(frame)
                if self._resumed is not None and not self.is_full:
                    self._wake()
        except Exception:
            # The connection is gone or closing; the consumer learns of it from its own receive(). One that stays open
            # all the same (the server would not take what we wrote) must not stay silent.
            self.closed = True
            self._queue.clear()
            self.waiting_bytes = 0
            self._wake()
            loop.call_later(CLOSING_SECONDS, self.abort_transport)
        finally:
            self.writing_since = None
            self._task = None

    def _wake(self) -> None:
        if self._resumed is not None:
            if not self._resumed.done():
                self._resumed.set_result(None)
            self._resumed = None
