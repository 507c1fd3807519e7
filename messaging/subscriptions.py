"""A socket's place in each conversation: live and catch-up without a seam, and the window of unacknowledged entries.

Every subscription starts behind: it is read from the log, as if it had been away, until a read finds nothing more;
from then
on it follows the feed. It falls behind again when the window is full. So there is one way to miss nothing, not two.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from prometheus_client import Counter

from messaging.fanout.hub import Feed, hub
from messaging.fanout.news import ConversationPush, EncodedEntry
from messaging.phoenix import JoinState, TopicJoin, binary_push_head, push_tail
from messaging.store.entries import Position, list_entries_after
from whispr.kernel import database, telemetry
from whispr.kernel.errors import WhisprError
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop

if TYPE_CHECKING:
    from messaging.consumer import Socket

log = logging.getLogger(__name__)

# Entries of one catch-up read: half the window, so that the next page is read while acknowledgements come in.
PAGE = LIMITS.window_entries // 2
# Conversations of one catch-up read.
POSITIONS_MAX = 256
# Catch-up reads of one process at a time: a storm of reconnecting sockets must leave the pool to the sends.
READS_AT_ONCE = 4
RETRY_SECONDS = 1.0

_live = telemetry.entries_pushed.labels("live")
_caught_up = telemetry.entries_pushed.labels("catch_up")
_reads = PerLoop(lambda: asyncio.Semaphore(READS_AT_ONCE))


class Window:
    """The unacknowledged entries of one socket, over all its subscriptions (DESIGN.md "Back pressure")."""

    __slots__ = ("bytes", "count")

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0

    @property
    def is_open(self) -> bool:
        """Whether another entry fits."""
        return self.count < LIMITS.window_entries and self.bytes < LIMITS.window_bytes


class Subscription:
    """One conversation on one joined topic of one socket. `next_seq` is the next entry it is to get."""

    __slots__ = ("_outstanding", "catch_up", "feed", "fetched_seq", "is_live", "next_seq", "own", "until_seq")

    def __init__(self, catch_up: "CatchUp", conversation_id: UUID, next_seq: int, until_seq: int | None) -> None:
        self.catch_up = catch_up
        self.next_seq = next_seq
        self.until_seq = until_seq  # the end of a span that is over; None while the user is a member
        self.fetched_seq = 0  # what the client was shown beyond, by `history`
        self.is_live = False
        self.own: set[int] = set()  # seqs that this socket sent: their reply told them
        self._outstanding: deque[tuple[int, int]] = deque()  # (seq, bytes) pushed and not acknowledged
        self.feed: Feed = hub.follow(conversation_id, self)

    @property
    def conversation_id(self) -> UUID:
        """The conversation it follows."""
        return self.feed.conversation_id

    def on_entries(self, entries: Sequence[EncodedEntry]) -> None:
        """The feed goes on. A subscription that is behind only notes the end of its span, and reads the rest itself."""
        if not self.is_live:
            for entry in entries:
                if entry.type == "system" and self._removes_me(entry):
                    self.until_seq = entry.seq
            self.catch_up.wake(self)
            return
        for entry in entries:
            if entry.seq < self.next_seq:
                continue
            if entry.seq != self.next_seq or not self.catch_up.has_room:
                self.is_live = False
                self.on_entries([later for later in entries if later.seq >= entry.seq])
                return
            self.deliver(entry, _live)
            if entry.type == "system" and self._removes_me(entry):
                self.end()
                return

    def deliver(self, entry: EncodedEntry, path: Counter) -> None:
        """Push one entry and move on; what this socket sent itself is only passed over."""
        self.next_seq = entry.seq + 1
        if entry.seq in self.own:
            self.own.discard(entry.seq)
            return
        size = self.catch_up.push(entry)
        window = self.catch_up.socket.window
        window.count += 1
        window.bytes += size
        self._outstanding.append((entry.seq, size))
        path.inc()

    def acknowledge(self, up_to: int) -> None:
        """The device has everything up to `up_to`: its room in the window is free again."""
        window = self.catch_up.socket.window
        outstanding = self._outstanding
        while outstanding and outstanding[0][0] <= up_to:
            _, size = outstanding.popleft()
            window.count -= 1
            window.bytes -= size

    @property
    def shown_seq(self) -> int:
        """The last seq that this socket was given, or said it held: what it may acknowledge."""
        return max(self.next_seq - 1, self.fetched_seq)

    def sent(self, seq: int) -> None:
        """The socket sent entry `seq` itself."""
        if seq >= self.next_seq:
            self.own.add(seq)

    def on_push(self, push: ConversationPush) -> None:
        """A passing event goes to live subscriptions only: who is behind will not miss a typing sign."""
        if self.is_live and push.by != self.catch_up.socket.actor.user_id:
            self.catch_up.push_event(push.event, push.payload)

    def end(self) -> None:
        """The user's span is over and all of it is pushed."""
        self.close()
        if self.catch_up.on_ended is not None:
            self.catch_up.on_ended()

    def close(self) -> None:
        """Nothing more is pushed, and the window does not wait for what was."""
        self.is_live = False
        hub.unfollow(self.feed, self)
        self.acknowledge(2**63)
        self.catch_up.drop(self)

    def _removes_me(self, entry: EncodedEntry) -> bool:
        metadata = entry.metadata()
        return metadata.get("event") == "member_removed" and str(self.catch_up.socket.actor.user_id) in metadata.get(
            "userIds", ()
        )


class CatchUp:
    """The subscriptions of one joined topic, and the one reader that brings those forward which are behind."""

    __slots__ = (
        "_behind",
        "_binary_head",
        "_on_drained",
        "_task",
        "by_conversation",
        "join",
        "on_ended",
        "pushed",
        "socket",
    )

    def __init__(self, socket: "Socket", join: TopicJoin, on_ended: Callable[[], None] | None = None) -> None:
        self.socket = socket
        self.join = join
        self.on_ended = on_ended  # called when a subscription ended because its user is no longer a member
        self.by_conversation: dict[UUID, Subscription] = {}
        self.pushed = 0  # entries pushed so far, for sync_complete
        self._behind: dict[Subscription, None] = {}
        self._binary_head = b""
        self._task: asyncio.Task[None] | None = None
        self._on_drained: Callable[[], None] | None = None

    @property
    def has_room(self) -> bool:
        """Whether another entry may be pushed: the window is open, and the client takes what is written."""
        return self.socket.window.is_open and not self.socket.outbox.is_full

    def be_binary(self) -> None:
        """Push entries as binary frames from now on (the join's `binary`)."""
        self._binary_head = binary_push_head(self.join.join_ref, self.join.topic, "new_message")

    def add(self, conversation_id: UUID, next_seq: int, until_seq: int | None, head: int) -> Subscription:
        """Subscribe from `next_seq` on; `head` is the last seq of the log as it was read last."""
        subscription = Subscription(self, conversation_id, next_seq, until_seq)
        self.by_conversation[conversation_id] = subscription
        subscription.feed.start(head)
        self._behind[subscription] = None
        return subscription

    def start(self, on_drained: Callable[[], None]) -> None:
        """Begin to read; `on_drained` is called once, when nothing is behind for the first time."""
        self._on_drained = on_drained
        self._run()

    def wake(self, subscription: Subscription) -> None:
        """The subscription is behind and there is something for it."""
        self._behind[subscription] = None
        self._run()

    def on_room(self) -> None:
        """Acknowledgements or the client's reading made room."""
        if self._behind:
            self._run()

    def drop(self, subscription: Subscription) -> None:
        """Forget a closed subscription."""
        self._behind.pop(subscription, None)
        if self.by_conversation.get(subscription.conversation_id) is subscription:
            del self.by_conversation[subscription.conversation_id]

    def close(self) -> None:
        """The topic is left or the socket gone."""
        if self._task is not None:
            self._task.cancel()
        for subscription in tuple(self.by_conversation.values()):
            subscription.close()

    def push(self, entry: EncodedEntry) -> int:
        """Write one entry to the client; its size in bytes."""
        self.pushed += 1
        frame: str | bytes
        if self._binary_head:
            frame = self._binary_head + entry.envelope()
        else:
            frame = self.join.head + entry.tail(self.socket.session.version)
        self.socket.outbox.put(frame)
        return len(frame)

    def push_event(self, event: str, payload: bytes) -> None:
        """Write any other push to the client."""
        if self.join.state is JoinState.JOINED:
            self.socket.send(self.join.head + push_tail(self.socket.session.version, event, payload))

    def _run(self) -> None:
        if self._task is None and self.join.state is JoinState.JOINED:
            self._task = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        try:
            while self._behind and self.socket.window.is_open:
                if self.socket.outbox.is_full:
                    await self.socket.outbox.room()
                    continue
                try:
                    async with _reads.get():
                        await self._read_page()
                except WhisprError:
                    await asyncio.sleep(RETRY_SECONDS)
        except Exception:
            log.exception("A catch-up failed; the client is asked to join again")
            self.socket.channel_crashed(self.join)
            return
        finally:
            self._task = None
        if not self._behind and self._on_drained is not None:
            on_drained, self._on_drained = self._on_drained, None
            on_drained()

    async def _read_page(self) -> None:
        """Read and push one page; whoever has nothing left goes live, without a wait between the look and the
        switch."""
        reading = list(self._behind)[:POSITIONS_MAX]
        heads = {subscription: subscription.feed.head or 0 for subscription in reading}
        positions = [Position(one.conversation_id, one.next_seq - 1) for one in reading]
        limit = max(1, min(PAGE, LIMITS.window_entries - self.socket.window.count))
        entries = await database.run(list_entries_after, self.socket.actor.user_id, positions, limit)
        last: UUID | None = None
        for entry in entries:
            subscription = self.by_conversation.get(entry.conversation_id)
            if subscription is None or entry.seq < subscription.next_seq:
                continue
            if not self.has_room:
                return
            encoded = EncodedEntry.of(entry)
            subscription.deliver(encoded, _caught_up)
            if subscription.feed.head is not None and entry.seq == subscription.feed.head + 1:
                subscription.feed.offer(encoded)
            last = entry.conversation_id
        # A full page leaves its last conversation, and those that were asked for after it, to the next read.
        complete = len(entries) < limit
        for subscription in reading:
            if not complete and subscription.conversation_id == last:
                break
            self._settle(subscription, heads[subscription])

    def _settle(self, subscription: Subscription, head: int) -> None:
        """A read that began when the feed stood at `head` found nothing more for this subscription."""
        if self.by_conversation.get(subscription.conversation_id) is not subscription:
            return
        subscription.next_seq = max(subscription.next_seq, head + 1)
        if subscription.until_seq is not None and subscription.next_seq > subscription.until_seq:
            subscription.end()
        elif subscription.until_seq is None and subscription.next_seq > (subscription.feed.head or 0):
            self._behind.pop(subscription, None)
            subscription.is_live = True
