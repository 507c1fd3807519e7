"""Taking in a medium's bytes, before Django: authenticated first, then streamed to the disk, bounded in size and time.

Django would write the body to a temporary file, for anybody, before it asks who sends it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from integrations.local.blobs import Incoming
from messaging.api.authentication import authenticate_async
from messaging.api.problem import BodyTooSlow, MediaTypeRefused
from messaging.services.media import upload_begin
from whispr.kernel.errors import BadRequest, Overloaded, TooLarge
from whispr.kernel.limits import LIMITS

PATH = "/api/v1/media"
SCOPE_KEY = "whispr.incoming"  # where the view finds the bytes
# A client that sends nothing for so long has no network any more.
IDLE_SECONDS = 10.0

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGone(Exception):
    """The client went away before its request was complete."""


class Uploads:
    """The uploads of one gate."""

    def __init__(self) -> None:
        self.running = 0

    @staticmethod
    def is_upload(scope: Mapping[str, Any]) -> bool:
        """Whether a request brings a medium."""
        return bool(scope["method"] == "POST" and scope["path"] == PATH)

    async def take(self, scope: Mapping[str, Any], receive: Receive) -> Incoming:
        """All bytes of the request's body, on the disk; the caller calls `abort()` at the end, whatever comes.

        Raises Unauthenticated, MediaTypeRefused, TooLarge (by the header before anything is read, or as soon as more
        has come), BodyTooSlow, Overloaded, TemporaryUnavailable, ClientGone.
        """
        headers = dict(scope["headers"])
        if self.running >= LIMITS.media_transfers_max:
            raise Overloaded("Too many media are being sent.")
        _check_headers(headers)
        self.running += 1
        try:
            authorization = headers.get(b"authorization")
            await authenticate_async(None if authorization is None else authorization.decode("latin-1"))
            return await self._stream(receive)
        finally:
            self.running -= 1

    @staticmethod
    async def _stream(receive: Receive) -> Incoming:
        incoming = upload_begin()
        deadline = asyncio.get_running_loop().time() + LIMITS.media_transfer_seconds
        try:
            more = True
            while more:
                async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + IDLE_SECONDS)):
                    message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                await incoming.write(message.get("body", b""))
                more = message.get("more_body", False)
        except TimeoutError:
            await incoming.abort()
            raise BodyTooSlow() from None
        except BaseException:
            await incoming.abort()
            raise
        return incoming


def _check_headers(headers: Mapping[bytes, bytes]) -> None:
    kind = headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower()
    if kind.startswith(b"multipart/"):
        raise MediaTypeRefused("The body must be the bytes themselves, as application/octet-stream.")
    length = headers.get(b"content-length")
    if length is not None and not length.isdigit():
        raise BadRequest("Content-Length must be a number.")
    if length is not None and int(length[:20]) > LIMITS.media_bytes:
        raise TooLarge(f"A medium may have {LIMITS.media_bytes} bytes.")
