"""The socket: bytes in, frames to their topics, bytes out (docs/architecture.md "The way of a message",
docs/protocol.md §2).

`__call__` is Channels' own entry point, taken over: Channels' dispatch waits on a thread hop and two tasks a frame.
"""

import asyncio
import contextlib
import logging
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from channels.consumer import AsyncConsumer

from messaging.connection import CLOSE_FAULT, CLOSE_TOO_MANY, Socket
from messaging.fanout import publish_user_event
from messaging.fanout.bus import buses
from messaging.fanout.hub import hub
from messaging.fanout.news import News, UserChange
from messaging.handshake import session_authenticate
from messaging.phoenix import (
    parse_vsn,
)
from messaging.presence.online import onlines
from messaging.services.devices import device_forget
from messaging.services.service_state import announcers
from messaging.sockets import sockets
from whispr.kernel.errors import Overloaded, TemporaryUnavailable, Unauthenticated, WhisprError
from whispr.kernel.limits import LIMITS
from whispr.kernel.overload import load_watches

log = logging.getLogger(__name__)


def _forget_device(news: News) -> None:
    """REST remembers an admitted device for some seconds: not one that changed."""
    if isinstance(news, UserChange) and news.kind in ("revoked", "device_key"):
        device_id = msgspec.json.decode(news.payload).get("deviceId")
        if device_id is not None:
            device_forget(news.user_id, UUID(device_id))


hub.watchers.append(_forget_device)


class MessagingConsumer(AsyncConsumer):  # type: ignore[misc]  # channels is not typed
    """`/socket/websocket`: Phoenix Channels for Whispr's clients."""

    channel_layer_alias: ClassVar[str] = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one socket from its handshake to its end."""
        if (await receive())["type"] != "websocket.connect":
            return
        opened = await self._open(scope, send)
        if opened is None:
            return
        socket, subprotocol = opened
        try:
            await send({"type": "websocket.accept", "subprotocol": subprotocol})
            if not await onlines.get().enter(socket, socket.actor.user_id, socket.actor.device_id):
                socket.close(CLOSE_TOO_MANY, "too many sockets")
            else:
                self._register(socket)
            await self._serve(socket, receive)
        except asyncio.CancelledError:
            if not socket.outbox.aborted:  # the sweep's way to end a stuck socket is no fault for the server to log
                raise
        except Exception:
            log.exception("A socket failed")
            socket.close(CLOSE_FAULT, "server fault")
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1):
                    await send({"type": "websocket.close", "code": CLOSE_FAULT})
        finally:
            sockets.remove(socket)
            onlines.get().leave(socket)
            hub.unlisten(socket.actor.user_id, socket)
            socket.detach()

    async def _open(self, scope: Any, send: Any) -> tuple[Socket, str | None] | None:
        """Authenticate; a refusal is an HTTP answer before the upgrade."""
        try:
            query = scope.get("query_string", b"").decode("latin-1")
            vsn = next((part[4:] for part in query.split("&") if part.startswith("vsn=")), None)
            version = parse_vsn(vsn)
            if version is None:
                raise Unauthenticated("This version of the serializer is not spoken here.")
            if sockets.is_draining or len(sockets) >= LIMITS.sockets_per_process:
                raise Overloaded()
            async with asyncio.timeout(LIMITS.handshake_seconds):
                actor, claims, subprotocol = await session_authenticate(scope)
        except WhisprError as error:
            await _refuse(scope, send, error)
            return None
        except TimeoutError:
            await _refuse(scope, send, TemporaryUnavailable())
            return None
        return Socket(actor, claims, version, send), subprotocol

    @staticmethod
    def _register(socket: Socket) -> None:
        buses.get().start()
        announcers.get()
        load_watches.get()
        sockets.add(socket)
        hub.listen(socket.actor.user_id, socket)
        payload = {"deviceId": str(socket.actor.device_id), "socket": socket.id}
        publish_user_event(socket.actor.user_id, "opened", payload)

    @staticmethod
    async def _serve(socket: Socket, receive: Any) -> None:
        loop = asyncio.get_running_loop()
        session = socket.session
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if message["type"] != "websocket.receive" or socket.holds:
                continue
            text = message.get("text")
            if text is not None:
                socket.perform(session.receive_text(text, loop.time()))
            else:
                socket.perform(session.receive_binary(message["bytes"], loop.time()))
            if socket.is_busy or socket.outbox.is_full:
                await socket.ready()


async def _refuse(scope: Any, send: Any, error: WhisprError) -> None:
    """Refuse the upgrade: 403 for who may not, 503 where the server cannot say."""
    status = 503 if error.status == 503 else 403
    if "websocket.http.response" in (scope.get("extensions") or {}):
        headers = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store")]
        if error.retry_after is not None:
            headers.append((b"retry-after", str(max(1, round(error.retry_after))).encode()))
        body = msgspec.json.encode({"status": status, "code": error.code, "detail": error.message})
        await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        await send({"type": "websocket.close"})


class NoSuchSocket(AsyncConsumer):  # type: ignore[misc]  # channels is not typed
    """Any other path: refused before the upgrade."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse."""
        await receive()
        await send({"type": "websocket.close"})
