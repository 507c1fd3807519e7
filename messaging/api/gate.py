"""The gate in front of Django: bounds on what a request may cost before any of it is parsed (the reliability
catalogue §3).

Django's ASGI handler writes a body of any size to disk before the first middleware runs, and gives every request a
thread. So the bounds on size, time and number stand here, in ASGI, where refusing is cheap.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from messaging.api.problem import CONTENT_TYPE, BodyTooSlow, headers_of, problem_of
from messaging.api.uploads import SCOPE_KEY, ClientGone, Uploads
from whispr.kernel.errors import BadRequest, Overloaded, Timeout, TooLarge, WhisprError
from whispr.kernel.limits import LIMITS

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Any], Awaitable[None]]  # Django types its handler more narrowly than ASGI does
log = logging.getLogger(__name__)

# Services answer within LIMITS.request_seconds (9 s); the promise is 10 s. This is between the two.
ANSWER_SECONDS = LIMITS.request_seconds + 0.5
# 128 KiB within 5 s are 26 KB/s: slower than that is a phone without a network, or an attack.
BODY_SECONDS = 5.0


class RequestGate:
    """ASGI middleware around Django: bounds the body's size and time, the running requests, and the time to an
    answer."""

    def __init__(
        self,
        app: App,
        *,
        body_bytes: int = LIMITS.frame_bytes,
        body_seconds: float = BODY_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        running_max: int = LIMITS.rest_running_max,
    ) -> None:
        self._app = app
        self._body_bytes = body_bytes
        self._body_seconds = body_seconds
        self._answer_seconds = answer_seconds
        self._running_max = running_max
        self.running = 0
        self._uploads = Uploads()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or pass on what is not HTTP."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self.running >= self._running_max:
            await _refuse(send, Overloaded("Too many requests run."))
            return
        self.running += 1
        try:
            if self._uploads.is_upload(scope):
                await self._serve_upload(scope, receive, send)
            else:
                await self._serve_body(scope, receive, send)
        except ClientGone:
            pass
        finally:
            self.running -= 1

    async def _serve_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._body_seconds):
                body = await self._read(scope, receive)
        except TimeoutError:
            await _refuse(send, BodyTooSlow())
        except WhisprError as error:
            await _refuse(send, error)
        else:
            await self._serve(scope, body, receive, send)

    async def _serve_upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The one route whose body is large: it is on the disk when the application is asked, which finds it there."""
        try:
            incoming = await self._uploads.take(scope, receive)
        except WhisprError as error:
            await _refuse(send, error)
            return
        try:
            await self._serve({**scope, SCOPE_KEY: incoming}, b"", receive, send)
        finally:
            await incoming.abort()

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body. Raises TooLarge, by the header before anything is read, or as soon as more has come."""
        declared = [value for name, value in scope["headers"] if name == b"content-length"]
        for value in declared:
            if not value.isdigit():
                raise BadRequest("Content-Length must be a number.")
            if int(value[:20]) > self._body_bytes:
                raise TooLarge(f"A body may have {self._body_bytes} bytes.")
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._body_bytes:
                raise TooLarge(f"A body may have {self._body_bytes} bytes.")
        return bytes(body)

    async def _serve(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Run the application on a body that is complete; answer for it where it does not in time."""
        # A body that came in chunks has no Content-Length, and DRF would take it for none.
        headers = [item for item in scope["headers"] if item[0] not in (b"content-length", b"transfer-encoding")]
        if body:
            headers.append((b"content-length", str(len(body)).encode()))
        handed = False
        started = late = False

        async def replay() -> Message:
            nonlocal handed
            if handed:
                return await receive()
            handed = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def forward(message: Message) -> None:
            nonlocal started
            if late:
                return
            started = True
            await send(message)

        work = asyncio.ensure_future(self._app({**scope, "headers": headers}, replay, forward))
        try:
            await asyncio.wait({work}, timeout=self._answer_seconds)
            if not work.done() and not started:
                late = True
                log.error("no answer within %.1f s: %s", self._answer_seconds, scope["method"])
                await _refuse(send, Timeout())
                return
            await work
        finally:
            if not work.done():
                work.cancel()
                work.add_done_callback(_forget)


def _forget(work: "asyncio.Future[None]") -> None:
    if not work.cancelled():
        work.exception()


async def _refuse(send: Send, error: WhisprError) -> None:
    body = msgspec.json.encode(problem_of(error))
    headers = {"Content-Type": CONTENT_TYPE, "Content-Length": str(len(body)), **headers_of(error)}
    # What is left of the request is not read: the connection cannot carry another one.
    headers["Connection"] = "close"
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body, "more_body": False})
