"""The socket: bytes in, frames to their topics, bytes out (docs/architecture.md "The way of a message",
docs/protocol.md §2).

`__call__` is Channels' own entry point, taken over: Channels' dispatch waits on a thread hop and two tasks a frame.
"""

import asyncio
import contextlib
import logging
import secrets
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from channels.consumer import AsyncConsumer

from messaging.channels import Channel
from messaging.events import Actor
from messaging.fanout import publish_user_event
from messaging.fanout.bus import buses
from messaging.fanout.hub import hub
from messaging.fanout.news import News, UserChange, UserPush
from messaging.handshake import session_authenticate
from messaging.outbox import Outbox
from messaging.phoenix import (
    Action,
    Close,
    Event,
    Gone,
    Join,
    Leave,
    Ref,
    Send,
    Session,
    SessionLimits,
    TopicJoin,
    Version,
    parse_vsn,
)
from messaging.presence.online import onlines
from messaging.services.devices import device_forget
from messaging.services.typing import typing_end_of
from messaging.sockets import sockets
from messaging.subscriptions import Window
from messaging.topics import open_channel
from whispr.kernel import telemetry
from whispr.kernel.auth import Claims
from whispr.kernel.errors import Overloaded, TemporaryUnavailable, Unauthenticated, WhisprError
from whispr.kernel.limits import LIMITS

log = logging.getLogger(__name__)

SESSION_LIMITS = SessionLimits(
    frame_bytes=LIMITS.frame_bytes,
    json_depth=LIMITS.json_depth,
    topics=LIMITS.topics_per_socket,
    held_frames=LIMITS.topic_inbox,
    idle_seconds=float(LIMITS.socket_idle_seconds),
)
# Requests of one socket that wait for their reply; then the socket is not read. Twice the window of a busy client.
IN_FLIGHT_MAX = 512

CLOSE_EXPIRED = 4401
CLOSE_REVOKED = 4403
CLOSE_TOO_SLOW = 4408
CLOSE_REPLACED = 4409
CLOSE_TOO_MANY = 4429
CLOSE_FAULT = 4500


class Socket:
    """One authenticated socket: its protocol session, its channels, its window and its outbox."""

    __slots__ = (
        "_resumed",
        "actor",
        "backlog",
        "channels",
        "expires_at",
        "id",
        "in_flight",
        "outbox",
        "session",
        "task",
        "warned",
        "window",
    )

    def __init__(self, actor: Actor, claims: Claims, version: Version, send: Any) -> None:
        self.id = secrets.token_hex(6)
        self.actor = actor
        self.expires_at = claims.expires_at  # unix seconds
        self.warned = False  # of that
        self.session = Session(version, SESSION_LIMITS, asyncio.get_running_loop().time())
        self.outbox = Outbox(send)
        self.window = Window()
        self.channels: dict[TopicJoin, Channel] = {}
        self.in_flight = 0  # requests that wait for their answer
        self.backlog = 0  # events that wait for their turn, of all topics
        self.task: asyncio.Task[Any] | None = asyncio.current_task()
        self._resumed: asyncio.Future[None] | None = None

    # --- out

    def send(self, frame: str | bytes) -> None:
        """Write a frame. A socket that reads too little of what it was owed before is closed."""
        if self.outbox.is_overrun:
            self.close(CLOSE_TOO_SLOW, "too slow")
        self.outbox.put(frame)

    def close(self, code: int, reason: str) -> None:
        """Close the socket with a 44xx code (docs/protocol.md "Close codes")."""
        if not self.outbox.closed:
            telemetry.socket_closes.labels(str(code)).inc()
            self.session.closed = True
            self.outbox.close(code, reason)

    def reply(self, join: TopicJoin, ref: Ref, response: bytes) -> None:
        """Answer an event with ok."""
        self.perform(self.session.reply(join, ref, "ok", response))

    def refuse(self, join: TopicJoin, ref: Ref, error: WhisprError) -> None:
        """Answer an event with a coded error."""
        self.perform(self.session.reply(join, ref, "error", msgspec.json.encode(error.body())))

    # --- in

    def perform(self, actions: tuple[Action, ...]) -> None:
        """Carry out what the session says, in order."""
        for action in actions:
            match action:
                case Send():
                    self.send(action.data)
                case Event():
                    channel = self.channels.get(action.join)
                    if channel is not None:
                        channel.take(action)
                case Join():
                    self._join(action)
                case Leave():
                    self._release(action.join)
                    self.perform(self.session.left(action.join))
                case Gone():
                    self._release(action.join)
                case Close():
                    self.close(action.code, action.reason)

    def _join(self, action: Join) -> None:
        channel = open_channel(self, action.join)
        if channel is None:
            self.perform(self.session.end(action.join))
            return
        self.channels[action.join] = channel
        channel.start(action.payload)

    def _release(self, join: TopicJoin) -> None:
        channel = self.channels.pop(join, None)
        if channel is not None:
            channel.close()

    def channel_refused(self, join: TopicJoin, error: WhisprError) -> None:
        """The join cannot be: its coded refusal."""
        self._release(join)
        self.perform(self.session.refused(join, msgspec.json.encode(error.body())))

    def channel_crashed(self, join: TopicJoin) -> None:
        """A fault of ours ended the channel: `phx_error`; other topics go on."""
        self._release(join)
        self.perform(self.session.crashed(join))

    def channel_ended(self, join: TopicJoin) -> None:
        """The user is no longer a member: `phx_close`; the client does not come back."""
        self._release(join)
        self.perform(self.session.end(join))

    # --- its token

    def warn(self) -> None:
        """Tell the client that its token expires soon, once for each token."""
        self.warned = bool(self.channels)
        body = msgspec.json.encode({"expiresAt": datetime.fromtimestamp(self.expires_at, UTC)})
        for channel in tuple(self.channels.values()):
            channel.on_token_expiring(body)

    def renew(self, claims: Claims) -> None:
        """The client showed a newer token."""
        self.expires_at = max(self.expires_at, claims.expires_at)
        self.warned = False

    # --- flow

    def on_settled(self) -> None:
        """A request was answered, or a channel took an event: read on if the socket waited for that."""
        if self._resumed is not None and not self.is_busy:
            if not self._resumed.done():
                self._resumed.set_result(None)
            self._resumed = None

    @property
    def is_busy(self) -> bool:
        """Too much of this socket is under way to read more from it."""
        return self.in_flight >= IN_FLIGHT_MAX or self.backlog >= LIMITS.topic_inbox

    async def ready(self) -> None:
        """Wait until the socket may be read: what it asked is under way within bounds, what it is owed is being
        read."""
        while not self.outbox.closed and (self.is_busy or self.outbox.is_full):
            if self.outbox.is_full:
                await self.outbox.room()
                continue
            if self._resumed is None:
                self._resumed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._resumed)
        for channel in tuple(self.channels.values()):
            channel.on_room()

    # --- what this socket was given

    def shown_seq(self, conversation_id: UUID) -> int | None:
        """The last seq of a conversation that this socket was given or said it held; None where it follows it
        nowhere."""
        shown: int | None = None
        for channel in self.channels.values():
            subscription = channel.catch_up.by_conversation.get(conversation_id)
            if subscription is not None:
                shown = max(shown or 0, subscription.shown_seq)
        return shown

    def is_member(self, conversation_id: UUID) -> bool:
        """Whether this socket follows the conversation of a user who is a member now."""
        found = (channel.catch_up.by_conversation.get(conversation_id) for channel in self.channels.values())
        return any(one is not None and one.until_seq is None for one in found)

    def acknowledge(self, conversation_id: UUID, up_to: int) -> None:
        """The device has everything up to `up_to`: the window opens by so much."""
        for channel in self.channels.values():
            subscription = channel.catch_up.by_conversation.get(conversation_id)
            if subscription is not None:
                subscription.acknowledge(up_to)
        for channel in self.channels.values():
            channel.on_room()

    def on_fetched(self, conversation_id: UUID, seq: int) -> None:
        """`history` gave the client entries up to `seq`."""
        for channel in self.channels.values():
            subscription = channel.catch_up.by_conversation.get(conversation_id)
            if subscription is not None:
                subscription.fetched_seq = max(subscription.fetched_seq, seq)

    # --- what the hub brings

    def on_sent(self, conversation_id: UUID, seq: int) -> None:
        """An entry of this socket's was committed: its reply tells seq, no push does."""
        for channel in self.channels.values():
            channel.on_sent(conversation_id, seq)

    def on_user_push(self, push: UserPush) -> None:
        """An event for this user's devices, on every topic that it concerns."""
        if push.origin is not self:
            for channel in tuple(self.channels.values()):
                channel.on_user_push(push)

    def on_user_change(self, change: UserChange) -> None:
        """A device was revoked, a newer socket of this device was opened, a key was set."""
        payload = msgspec.json.decode(change.payload)
        if payload.get("deviceId") not in (None, str(self.actor.device_id)):
            return
        if change.kind == "revoked":
            self.close(CLOSE_REVOKED, "revoked")
        elif change.kind == "opened" and payload.get("socket") != self.id:
            self.close(CLOSE_REPLACED, "replaced by a newer socket of this device")
        elif change.kind == "settings":
            body = msgspec.json.encode({"kind": "settings", **payload})
            self.on_user_push(UserPush(self.actor.user_id, "personal_update", body, None))
            for channel in tuple(self.channels.values()):
                channel.on_sharing_changed()
        elif change.kind == "blocks":
            for channel in tuple(self.channels.values()):
                channel.on_sharing_changed()
        elif change.kind == "device_key":
            hub.spawn(sockets.check_devices((self,)))

    def on_joined_conversation(self, conversation_id: UUID, seq: int, shared: bool = False) -> None:
        """The user became a member: the inbox follows it from there, or from what is shared."""
        for channel in tuple(self.channels.values()):
            channel.on_joined_conversation(conversation_id, seq, shared)

    def detach(self) -> None:
        """The connection is gone: let everything go."""
        typing_end_of(self)
        for channel in tuple(self.channels.values()):
            channel.close()
        self.channels.clear()
        self.outbox.abandon()


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
            if len(sockets) >= LIMITS.sockets_per_process:
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
            if message["type"] != "websocket.receive":
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
