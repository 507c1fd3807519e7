"""One joined topic of one socket: its events are taken in order, one after the other, in a bounded inbox.

A handler answers at once, or hands back something to wait for; only then a task is made, and what comes after it on
this topic waits. Sends and acknowledgements are queued for their group commit without waiting, so that one socket fills
a batch.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar
from uuid import UUID

import msgspec

from messaging.catch_up import CatchUp
from messaging.deadlines import deadlines
from messaging.fanout.news import UserPush
from messaging.phoenix import UNMATCHED_EVENT, Event, Ref, TopicJoin
from messaging.requests import Join, decode_request
from messaging.store.entries import Standing
from messaging.subscriptions import Subscription
from whispr.kernel.errors import TemporaryUnavailable, Timeout, WhisprError
from whispr.kernel.limits import LIMITS

if TYPE_CHECKING:
    from messaging.connection import Socket

log = logging.getLogger(__name__)
T = TypeVar("T")
Work = Coroutine[Any, Any, None]
# With less left than this, what waited for its turn is refused, for sure, instead of begun and left unknown.
REFUSED_SECONDS = 1.0


def _now() -> float:
    return asyncio.get_running_loop().time()


def _overtaken() -> TemporaryUnavailable:
    return TemporaryUnavailable("What came before it took too long.", retry_after=1.0)


class Answer(Generic[T]):
    """One request's answer to come. An object and not a pair of closures: those refer to each other, and left so much
    to the cycle collector at 3,000 requests a second that it took a sixth of the process's time.
    """

    __slots__ = ("_answered", "_channel", "_encode", "_ref")

    def __init__(self, channel: "Channel", ref: Ref, encode: Callable[[T], bytes]) -> None:
        self._channel = channel
        self._ref = ref
        self._encode = encode
        self._answered = False

    def on_done(self, future: "asyncio.Future[T]") -> None:
        """The outcome is there."""
        error = future.exception()
        if self._answered:
            return
        self._answered = True
        channel = self._channel
        channel.socket.in_flight -= 1
        if error is None:
            channel.socket.reply(channel.join, self._ref, self._encode(future.result()))
        elif isinstance(error, WhisprError):
            channel.on_refused(self._ref, error)
        else:
            log.error("A request failed", exc_info=error)
            channel.socket.channel_crashed(channel.join)
        channel.socket.on_settled()

    def on_late(self) -> None:
        """There is no outcome in time: it is unknown."""
        self._answered = True
        channel = self._channel
        channel.socket.in_flight -= 1
        channel.on_refused(self._ref, Timeout())
        channel.socket.on_settled()


class Channel:
    """The base of the two topics: joining, the inbox, the subscriptions."""

    handlers: ClassVar[dict[str, str]] = {}  # an event's name -> the method that handles it

    __slots__ = ("_inbox", "_since", "_tasks", "_working", "catch_up", "closed", "join", "socket")

    def __init__(self, socket: "Socket", join: TopicJoin) -> None:
        self.socket = socket
        self.join = join
        self.catch_up = CatchUp(socket, join)
        self.closed = False
        self._inbox: deque[tuple[float, Event]] = deque()  # when it came
        self._since: float | None = None  # when that came which is handled, where it was not this moment
        self._working = False
        self._tasks: set[asyncio.Task[None]] = set()

    # --- joining

    def start(self, payload: msgspec.Raw) -> None:
        """Begin to join."""
        self.spawn(self._start(payload))

    async def _start(self, payload: msgspec.Raw) -> None:
        try:
            async with asyncio.timeout(LIMITS.request_seconds):
                request = decode_request(payload, Join)
                await self.on_join(request)
        except WhisprError as error:
            self.socket.channel_refused(self.join, error)
        except TimeoutError:
            self.socket.channel_refused(self.join, Timeout())
        except Exception:
            log.exception("A join failed")
            self.socket.channel_crashed(self.join)

    async def on_join(self, request: Join) -> None:
        """Subscribe and answer the join."""
        raise NotImplementedError

    def subscribe(self, standing: Standing, cursor: int | None) -> Subscription | None:
        """Subscribe to one conversation from `cursor`, or from what the device acknowledged; None if nothing is left
        to get."""
        if standing.conversation_id in self.catch_up.by_conversation:
            return None
        held = standing.acked_seq if cursor is None else cursor
        next_seq = max(held + 1, standing.first_seq)
        if standing.left_seq is not None and next_seq > standing.left_seq:
            return None
        return self.catch_up.add(standing.conversation_id, next_seq, standing.left_seq, standing.last_seq)

    # --- events

    def take(self, event: Event) -> None:
        """Take the next event of this topic."""
        if self._working:
            self._inbox.append((_now(), event))
            self.socket.backlog += 1
            return
        work = self._handle(event)
        if work is not None:
            self._working = True
            self._since = _now()
            self.spawn(self._work_off(self._since, event, work))

    async def _work_off(self, since: float, event: Event, work: Work | None) -> None:
        try:
            while not self.closed:
                if work is not None:
                    await self._finish(since, event, work)
                if not self._inbox:
                    return
                since, event = self._inbox.popleft()
                self._since = since
                self.socket.backlog -= 1
                self.socket.on_settled()
                work = self._handle(event) if self._has_time(since, event) else None
        finally:
            self._working = False
            self._since = None

    def _has_time(self, since: float, event: Event) -> bool:
        """Whether what waited behind other work of this topic can still be done in time; else it is refused."""
        if _now() - since < LIMITS.request_seconds - REFUSED_SECONDS:
            return True
        self.socket.refuse(self.join, event.ref, _overtaken())
        return False

    async def _finish(self, since: float, event: Event, work: Work) -> None:
        try:
            # From its coming: what waited behind others is answered in time, too (docs/protocol.md §8.8).
            async with asyncio.timeout_at(since + LIMITS.request_seconds):
                await work
        except TimeoutError:
            self.socket.refuse(self.join, event.ref, Timeout())
        except WhisprError as error:
            self.socket.refuse(self.join, event.ref, error)
        except Exception as fault:
            self._crash(event, fault)

    def _handle(self, event: Event) -> Work | None:
        name = self.handlers.get(event.event)
        if name is None:
            self.socket.perform(self.socket.session.reply(self.join, event.ref, "error", UNMATCHED_EVENT))
            return None
        handler: Callable[[Event], Work | None] = getattr(self, name)
        try:
            return handler(event)
        except WhisprError as error:
            self.socket.refuse(self.join, event.ref, error)
        except Exception as fault:
            self._crash(event, fault)
        return None

    def _crash(self, event: Event, fault: Exception) -> None:
        log.error("The event %s failed", event.event, exc_info=fault)
        self.socket.channel_crashed(self.join)

    def answer_when_done(self, ref: Ref, future: "asyncio.Future[T]", encode: Callable[[T], bytes]) -> None:
        """Answer `ref` when `future` is done, or with `timeout` when it is not in time; the topic goes on meanwhile."""
        self.socket.in_flight += 1
        answer = Answer(self, ref, encode)
        future.add_done_callback(answer.on_done)
        deadlines.get().watch(future, answer.on_late, self._since)

    def on_refused(self, ref: Ref, error: WhisprError) -> None:
        """Answer an error."""
        self.socket.refuse(self.join, ref, error)

    # --- what the hub and the socket bring

    def on_user_push(self, push: UserPush) -> None:
        """An event for the user's devices."""

    def on_token_expiring(self, payload: bytes) -> None:
        """The socket's token is soon no longer one."""

    def on_sharing_changed(self) -> None:
        """The user shares with others whether they are there, or no longer does."""

    def on_joined_conversation(self, conversation_id: UUID, seq: int, shared: bool = False) -> None:
        """The user became a member of a conversation."""

    def on_sent(self, conversation_id: UUID, seq: int) -> None:
        """This socket sent an entry."""
        subscription = self.catch_up.by_conversation.get(conversation_id)
        if subscription is not None:
            subscription.sent(seq)

    def on_room(self) -> None:
        """There may be room for more entries."""
        self.catch_up.on_room()

    # --- the end

    def spawn(self, work: Work) -> None:
        """Run a task of this channel; it is cancelled with it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """The topic was left, replaced, or the socket is gone. What was queued for a commit is committed all the
        same."""
        self.closed = True
        self.socket.backlog -= len(self._inbox)
        self._inbox.clear()
        self.catch_up.close()
        current = asyncio.current_task()
        for task in tuple(self._tasks):
            if task is not current:
                task.cancel()
