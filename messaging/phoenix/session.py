"""The state of one Phoenix socket, without I/O: frames and answers go in, actions come out (docs/protocol.md §2).

Who drives it sends what `Send` holds, carries out `Join`, `Leave`, `Gone` and `Event`, and reports back with `joined`,
`refused`, `left`, `crashed` or `end`. Actions are in the order in which they must happen. Times are seconds of any
clock that does not go back; none is read here.

Where Phoenix blocks a socket while a channel joins, this keeps up to `held_frames` of that topic and goes through them
when the join is answered, so that other topics go on.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from messaging.phoenix.actions import Action, Actions, Close, Event, Gone, Join, JoinState, Leave, Send, TopicJoin
from messaging.phoenix.encoding import encode_message, encode_reply, push_head
from messaging.phoenix.frames import (
    JSON_DEPTH,
    TOPIC_BYTES,
    BadFrame,
    BinaryFrame,
    Frame,
    Ref,
    TextFrame,
    Version,
    decode_binary,
    decode_text,
    too_large,
)
from whispr.kernel.errors import Overloaded

CLOSE_BAD_FRAME: Final = 4400
CLOSE_IDLE: Final = 4408

EMPTY: Final = b"{}"
UNMATCHED_TOPIC: Final = b'{"reason":"unmatched topic"}'
UNMATCHED_EVENT: Final = b'{"reason":"unmatched event"}'
TOO_MANY_TOPICS: Final = b'{"reason":"too many channels joined"}'
JOIN_CRASHED: Final = b'{"reason":"join crashed"}'
CHANNEL_CRASH: Final = b'{"reason":"channel_crash"}'

HEARTBEAT_TOPIC: Final = "phoenix"


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The bounds of a socket, shared by all of them. Sizes are bytes, times are seconds."""

    frame_bytes: int = 128 * 1024
    json_depth: int = JSON_DEPTH
    topics: int = 100  # Phoenix's max_channels_per_transport
    held_frames: int = 64  # of one topic, while its join is pending
    held_bytes: int = 256 * 1024  # of all topics of the socket, likewise
    strikes: int = 5  # bad frames within strike_seconds that end the socket
    strike_seconds: float = 60.0
    idle_seconds: float = 60.0  # Phoenix's timeout; phoenix.js sends a heartbeat every 30 s


class Session:
    """The protocol state of one socket. Not thread-safe; every method returns at once, and nothing after a `Close`."""

    __slots__ = ("_held_bytes", "_last", "_strikes", "closed", "limits", "topics", "version")

    def __init__(self, version: Version, limits: SessionLimits, now: float) -> None:
        self.version = version
        self.limits = limits
        self.topics: dict[str, TopicJoin] = {}  # pending, joined and leaving ones; read-only outside
        self.closed = False
        self._last = now
        self._strikes: tuple[float, ...] = ()
        self._held_bytes = 0

    # --- what the client sent

    def receive_text(self, data: str | bytes, now: float) -> Actions:
        """What to do about a text message that came in at `now`. Never raises: a bad frame is answered or closes."""
        if self.closed:
            return ()
        self._last = now
        try:
            size = len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode(errors="surrogatepass"))
            if size > self.limits.frame_bytes:
                raise too_large(data, self.version, self.limits.frame_bytes)
            frame = decode_text(data, self.version, self.limits.json_depth)
            self._check(frame)
        except BadFrame as bad:
            return self._strike(bad, now)
        return self._route(frame, size)

    def receive_binary(self, data: bytes, now: float) -> Actions:
        """What to do about a binary message that came in at `now`. Never raises: a bad frame is answered or closes."""
        if self.closed:
            return ()
        self._last = now
        try:
            if self.version is Version.V1:
                raise BadFrame("Binary frames need vsn=2.0.0.")
            if len(data) > self.limits.frame_bytes:
                raise too_large(data, self.version, self.limits.frame_bytes)
            frame = decode_binary(data)
            self._check(frame)
        except BadFrame as bad:
            return self._strike(bad, now)
        return self._route(frame, len(data))

    def _check(self, frame: Frame) -> None:
        """Raises BadFrame for a frame that could not be answered. Phoenix takes a heartbeat without a ref, so do we."""
        if frame.ref is None and frame.topic != HEARTBEAT_TOPIC:
            raise BadFrame("The frame has no ref.", frame.join_ref, None, frame.topic)
        if frame.event == "phx_join" and isinstance(frame, BinaryFrame):
            raise BadFrame("A join is a text frame.", frame.join_ref, frame.ref, frame.topic)

    def _route(self, frame: Frame, size: int) -> Actions:
        topic, event = frame.topic, frame.event
        if event == "heartbeat" and topic == HEARTBEAT_TOPIC:
            return (Send(encode_reply(self.version, None, frame.ref, topic, "ok", EMPTY)),)
        if event == "phx_join" and isinstance(frame, TextFrame):
            return self._join(frame)
        join = self.topics.get(topic)
        if join is None:
            return (self._unjoined(frame),)
        if frame.join_ref is not None and frame.join_ref != join.join_ref:
            return ()  # meant for an earlier join, whose end the client was told
        if join.state is JoinState.PENDING:
            return self._hold(join, frame, size)
        if join.state is JoinState.LEAVING:
            return (self._unjoined(frame),)
        if event == "phx_leave":
            join.state = JoinState.LEAVING
            join.ref = frame.ref
            return (Leave(join),)
        return (Event(join, frame.ref, event, frame.payload),)

    def _join(self, frame: TextFrame) -> Actions:
        topic, ref = frame.topic, frame.ref
        join_ref = ref if frame.join_ref is None else frame.join_ref
        actions: list[Action] = []
        earlier = self.topics.get(topic)
        if earlier is not None:
            self._supersede(earlier, actions)
        if len(topic) > TOPIC_BYTES or len(topic.encode()) > TOPIC_BYTES:
            return (self._unjoined(frame),)
        if len(self.topics) >= self.limits.topics:
            return (Send(encode_reply(self.version, frame.join_ref, ref, topic, "error", TOO_MANY_TOPICS)),)
        join = self.topics[topic] = TopicJoin(topic, join_ref, ref)
        actions.append(Join(join, frame.payload))
        return tuple(actions)

    def _supersede(self, join: TopicJoin, actions: list[Action]) -> None:
        """Ends `join` for the sake of a newer one; the join_ref of `phx_close` tells the client which of them ended.

        Phoenix closes a pending join only after it was answered; here the close is the answer.
        """
        if join.state is JoinState.LEAVING:  # its teardown is under way already
            actions.append(self._reply(join, join.ref, "ok", EMPTY))
        else:
            actions.append(Gone(join))
        held = self._end(join)
        actions.append(self._closing(join))
        actions.extend(self._unjoined(frame) for frame in held)

    def _hold(self, join: TopicJoin, frame: Frame, size: int) -> Actions:
        held = join.held
        if held is None:
            held = join.held = []
        if len(held) >= self.limits.held_frames or self._held_bytes + size > self.limits.held_bytes:
            body = msgspec.json.encode(Overloaded("The join of this topic is not answered yet.").body())
            return (self._reply(join, frame.ref, "error", body),)
        held.append((frame, size))
        self._held_bytes += size
        return ()

    def _release(self, join: TopicJoin) -> list[Frame]:
        held, join.held = join.held or [], None
        self._held_bytes -= sum(size for _, size in held)
        return [frame for frame, _ in held]

    def _unjoined(self, frame: Frame) -> Send:
        """The answer to a frame whose topic is not joined: a leave has what it wants, the rest matches no topic."""
        if frame.event == "phx_leave":
            return Send(encode_reply(self.version, frame.join_ref, frame.ref, frame.topic, "ok", EMPTY))
        return Send(encode_reply(self.version, None, frame.ref, frame.topic, "error", UNMATCHED_TOPIC))

    def _strike(self, bad: BadFrame, now: float) -> Actions:
        since = now - self.limits.strike_seconds
        self._strikes = (*(at for at in self._strikes if at > since), now)
        topic = HEARTBEAT_TOPIC if bad.topic is None else bad.topic
        body = msgspec.json.encode(bad.body())
        answer = Send(encode_reply(self.version, bad.join_ref, bad.ref, topic, "error", body))
        if len(self._strikes) < self.limits.strikes:
            return (answer,)
        self.closed = True
        return (answer, Close(CLOSE_BAD_FRAME, "too many bad frames"))

    # --- what the server answers

    def joined(self, join: TopicJoin, response_json: bytes) -> Actions:
        """The join succeeded: its reply, then what the client sent meanwhile.

        Nothing where the join is no longer pending: then whatever was set up for it is to be let go.
        """
        if not self.is_current(join) or join.state is not JoinState.PENDING:
            return ()
        join.state = JoinState.JOINED
        join.head = push_head(self.version, join.join_ref, join.topic)
        actions: list[Action] = [self._reply(join, join.ref, "ok", response_json)]
        for frame in self._release(join):
            actions.extend(self._route(frame, 0))
        return tuple(actions)

    def refused(self, join: TopicJoin, response_json: bytes) -> Actions:
        """The join failed: its reply, then those to what the client sent meanwhile. Nothing unless it is pending.

        `UNMATCHED_TOPIC` for a topic that does not exist goes out without a join_ref, as from Phoenix.
        """
        if not self.is_current(join) or join.state is not JoinState.PENDING:
            return ()
        held = self._end(join)
        join_ref = None if response_json == UNMATCHED_TOPIC else join.join_ref
        reply = encode_reply(self.version, join_ref, join.ref, join.topic, "error", response_json)
        return (Send(reply), *(self._unjoined(frame) for frame in held))

    def left(self, join: TopicJoin) -> Actions:
        """The leave is carried out: its reply and `phx_close`. Nothing unless the join is leaving."""
        if not self.is_current(join) or join.state is not JoinState.LEAVING:
            return ()
        self._end(join)
        return (self._reply(join, join.ref, "ok", EMPTY), self._closing(join))

    def crashed(self, join: TopicJoin) -> Actions:
        """The server's own fault ended the join: `phx_error`, after which the client rejoins. Other topics go on.

        A pending join is refused, a leaving one has left. Nothing where the join is gone.
        """
        if not self.is_current(join):
            return ()
        if join.state is JoinState.PENDING:
            return self.refused(join, JOIN_CRASHED)
        if join.state is JoinState.LEAVING:
            return self.left(join)
        self._end(join)
        ref = join.join_ref
        return (Send(encode_message(self.version, ref, ref, join.topic, "phx_error", CHANNEL_CRASH)),)

    def end(self, join: TopicJoin) -> Actions:
        """The server ends the join for good, as for a removed member: `phx_close`; the client does not rejoin.

        A pending join is refused as if there were no such topic, a leaving one has left. Nothing where it is gone.
        """
        if not self.is_current(join):
            return ()
        if join.state is JoinState.PENDING:
            return self.refused(join, UNMATCHED_TOPIC)
        if join.state is JoinState.LEAVING:
            return self.left(join)
        self._end(join)
        return (self._closing(join),)

    def reply(self, join: TopicJoin, ref: Ref, status: str, response_json: bytes) -> Actions:
        """The reply to an `Event`; `status` is `ok` or `error`. Nothing where the join is gone, on both sides."""
        return (self._reply(join, ref, status, response_json),) if self.is_current(join) else ()

    def is_current(self, join: TopicJoin) -> bool:
        """Whether the join is pending, joined or leaving, on an open session."""
        return join.state is not JoinState.GONE and not self.closed

    # --- time

    def touch(self, now: float) -> None:
        """The client gave a sign of life that is no frame, as a WebSocket pong."""
        self._last = now

    def deadline(self) -> float:
        """When the socket is idle, unless something arrives before."""
        return self._last + self.limits.idle_seconds

    def idle(self, now: float) -> Close | None:
        """The `Close` of a socket from which nothing came for `idle_seconds`, else None: ask again at `deadline()`."""
        if self.closed or now < self.deadline():
            return None
        self.closed = True
        return Close(CLOSE_IDLE, "idle")

    # --- the frames of a join

    def _end(self, join: TopicJoin) -> list[Frame]:
        """Takes the join out; what it held is returned."""
        del self.topics[join.topic]
        join.state = JoinState.GONE
        return self._release(join)

    def _reply(self, join: TopicJoin, ref: Ref, status: str, response_json: bytes) -> Send:
        return Send(encode_reply(self.version, join.join_ref, ref, join.topic, status, response_json))

    def _closing(self, join: TopicJoin) -> Send:
        """`phx_close`, whose ref is the join_ref too: clients of version 1 know by it which join ended."""
        ref = join.join_ref
        return Send(encode_message(self.version, ref, ref, join.topic, "phx_close", EMPTY))
