"""One open socket: its topics, its window, its answers, until it is closed (docs/protocol.md §2, §3).

`messaging/consumer.py` feeds it; what the session says is carried out here.
"""

import asyncio
import secrets
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from messaging.channels import Channel
from messaging.events import Actor
from messaging.fanout.hub import hub
from messaging.fanout.news import UserChange, UserPush
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
)
from messaging.services.typing import typing_end_of
from messaging.sockets import sockets
from messaging.subscriptions import Subscription
from messaging.topics import open_channel
from messaging.window import Window
from whispr.kernel import telemetry
from whispr.kernel.auth import Claims
from whispr.kernel.errors import WhisprError
from whispr.kernel.limits import LIMITS

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
        "holds",
        "id",
        "in_flight",
        "outbox",
        "session",
        "task",
        "unanswered",
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
        self.holds = False  # the process ends: what still comes is not taken, its sender sends it again elsewhere
        self.in_flight = 0  # requests that wait for their answer
        # What this socket sends and was not answered yet; where the log gave it back meanwhile, who passed over it.
        self.unanswered: dict[UUID, list[tuple[Subscription, int]]] = {}
        self.backlog = 0  # events that wait for their turn, of all topics
        self.task: asyncio.Task[Any] | None = asyncio.current_task()
        self._resumed: asyncio.Future[None] | None = None

    # --- out

    def send(self, frame: str | bytes) -> None:
        """Write a frame. A socket that reads too little of what it was owed before is closed."""
        if self.outbox.is_overrun:
            self.close(CLOSE_TOO_SLOW, "too slow")
        self.outbox.put(frame)

    def hold(self) -> None:
        """Take no more frames."""
        self.holds = True

    @property
    def is_settled(self) -> bool:
        """Whether everything that it asked is answered."""
        return self.outbox.closed or not (self.in_flight or self.backlog)

    def close(self, code: int, reason: str) -> None:
        """Close the socket with a 44xx code (docs/protocol.md "Close codes"), or with 1012 where the process ends."""
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

    def on_submitted(self, message_id: UUID, future: "asyncio.Future[Any]") -> None:
        """An entry of this socket's waits for its commit: `future`."""
        self.unanswered[message_id] = []
        future.add_done_callback(partial(self._on_outcome, message_id))

    def _on_outcome(self, message_id: UUID, future: "asyncio.Future[Any]") -> None:
        """The entry's reply tells seq. Where it cannot, what was passed over as told is pushed after all."""
        passed_over = self.unanswered.pop(message_id, [])
        if passed_over and (future.cancelled() or future.exception() is not None):
            for subscription, seq in passed_over:
                subscription.rewind(seq)

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
