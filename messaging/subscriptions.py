"""A socket's place in each conversation: live and catch-up without a seam, and the window of unacknowledged entries.

Every subscription starts behind: it is read from the log, as if it had been away, until a read finds nothing more;
from then on it follows the feed. It falls behind again when the window is full. So there is one way to miss nothing,
not two.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from prometheus_client import Counter

from messaging.events import BlankEntry, Entry
from messaging.fanout import trace
from messaging.fanout.hub import Feed, hub
from messaging.fanout.news import ConversationPush, EncodedEntry
from messaging.phoenix import JoinState, TopicJoin, binary_push_head, push_tail
from messaging.store.entries import Position, get_log_page
from whispr.kernel import database, telemetry
from whispr.kernel.errors import WhisprError
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop

if TYPE_CHECKING:
    from messaging.connection import Socket

log = logging.getLogger(__name__)

# Entries of one catch-up read: at most a window, at first a quarter, and then what fits into the window's bytes by the
# size of the page before. What the window has no room for yet waits here for the acknowledgements.
PAGE_FIRST, PAGE_LEAST = LIMITS.window_entries // 4, 8
# What waits longer is read again: meanwhile it may have expired or been deleted.
PAGE_SECONDS = 0.5
# Conversations of one catch-up read.
POSITIONS_MAX = 256
# Catch-up reads of one process at a time: a storm of reconnecting sockets must leave the pool to the sends.
READS_AT_ONCE = 4
RETRY_SECONDS = 1.0

_live = telemetry.entries_pushed.labels("live")
_caught_up = telemetry.entries_pushed.labels("catch_up")
_reads = PerLoop(lambda: asyncio.Semaphore(READS_AT_ONCE))


@dataclass(slots=True)
class Page:
    """What one catch-up read found, and what was true when it began."""

    reading: list["Subscription"]
    heads: dict["Subscription", int]
    entries: deque[Entry]
    complete: bool  # nothing was visible beyond it
    read_at: float
    last: UUID | None = None  # the conversation of the last entry


class Subscription:
    """One conversation on one joined topic of one socket. `next_seq` is the next entry it is to get."""

    __slots__ = (
        "_outstanding",
        "acked_seq",
        "catch_up",
        "feed",
        "fetched_seq",
        "is_live",
        "joined_seq",
        "next_seq",
        "own",
        "until_seq",
    )

    def __init__(self, catch_up: "CatchUp", conversation_id: UUID, next_seq: int, until_seq: int | None) -> None:
        self.catch_up = catch_up
        self.next_seq = next_seq
        self.until_seq = until_seq  # the end of a span that is over; None while the user is a member
        self.joined_seq = 0  # where the present span begins, as far as known: removals before it are history
        self.fetched_seq = 0  # what the client was shown beyond, by `history`
        self.acked_seq = 0  # what the device has, as far as this socket was told: also of what is yet to be pushed
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
                self._note_removal(entry)
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
        unanswered = self.catch_up.socket.unanswered
        if (
            unanswered
            and entry.message_id is not None
            and (passed_over := unanswered.get(entry.message_id)) is not None
        ):
            # Committed and read back before its outcome was here: the reply tells it, or `rewind` comes back to it.
            passed_over.append((self, entry.seq))
            return
        if entry.withheld_by is not None and entry.withheld_by != self.catch_up.socket.actor.user_id:
            entry = entry.blank()
        size = self.catch_up.push(entry)
        if trace.every and not entry.is_blank:  # its sender is not told where a blank stands for it
            trace.record_entry(entry.payload, "pushed", self.catch_up.socket.actor.device_id)
        path.inc()
        if entry.seq <= self.acked_seq:
            return  # `history` gave it before: nobody would acknowledge it again, and the window would stay closed
        window = self.catch_up.socket.window
        window.count += 1
        window.bytes += size
        self._outstanding.append((entry.seq, size))

    def read(self, entry: EncodedEntry) -> None:
        """Push an entry that the log gave; the user's own removal is found here where the feed told of it before."""
        if self.until_seq is not None and entry.seq > self.until_seq:
            self.until_seq = None  # the user may see it, so is back
        self._note_removal(entry)
        self.deliver(entry, _caught_up)

    def rejoined(self, seq: int) -> None:
        """The user became a member, perhaps again, at `seq`."""
        self.joined_seq = max(self.joined_seq, seq)
        if self.until_seq is not None and seq > self.until_seq:
            self.until_seq = None
            self.catch_up.wake(self)

    def acknowledge(self, up_to: int) -> None:
        """The device has everything up to `up_to`: its room in the window is free again."""
        self.acked_seq = max(self.acked_seq, up_to)
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

    def rewind(self, seq: int) -> None:
        """Entry `seq` was passed over and the client not told of it: begin there again, from the log."""
        if self.catch_up.by_conversation.get(self.conversation_id) is self and seq < self.next_seq:
            self.next_seq = seq
            self.is_live = False
            self.catch_up.wake(self)

    def on_push(self, push: ConversationPush) -> None:
        """A passing event goes to live subscriptions only: who is behind will not miss a typing sign."""
        if self.is_live and push.by != self.catch_up.socket.actor.user_id:
            self.catch_up.push_event(push.event, push.payload)

    def end(self) -> None:
        """The user's span is over and all of it is pushed."""
        self.catch_up.ended[self.conversation_id] = self.next_seq - 1
        self.close()
        if self.catch_up.on_ended is not None:
            self.catch_up.on_ended()

    def close(self) -> None:
        """Nothing more is pushed, and the window does not wait for what was."""
        self.is_live = False
        hub.unfollow(self.feed, self)
        self.acknowledge(2**63)
        self.catch_up.drop(self)

    def _note_removal(self, entry: EncodedEntry) -> None:
        if entry.type == "system" and entry.seq > self.joined_seq and self._removes_me(entry):
            self.until_seq = entry.seq

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
        "_page",
        "_page_size",
        "_task",
        "by_conversation",
        "ended",
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
        self.ended: dict[UUID, int] = {}  # of conversations that the user was removed from: the last seq pushed
        self.pushed = 0  # entries pushed so far, for sync_complete
        self._behind: dict[Subscription, None] = {}
        self._binary_head = b""
        self._page: Page | None = None
        self._page_size = PAGE_FIRST
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
        """Push what was read, as far as there is room; whoever has nothing left goes live.

        There is no wait between the look at what is left and the switch, so that nothing falls between them.
        """
        page = self._page
        if page is None or asyncio.get_running_loop().time() - page.read_at > PAGE_SECONDS:
            page = self._page = await self._fetch_page()
        while page.entries:
            if not self.has_room:
                return
            entry = page.entries.popleft()
            subscription = self.by_conversation.get(entry.conversation_id)
            if subscription is not None and entry.seq >= subscription.next_seq:
                self._push_read(subscription, entry)
        self._page = None
        # A full page leaves its last conversation, and those that were asked for after it, to the next read.
        for subscription in page.reading:
            if not page.complete and subscription.conversation_id == page.last:
                break
            self._settle(subscription, page.heads[subscription])

    async def _fetch_page(self) -> Page:
        reading = list(self._behind)[:POSITIONS_MAX]
        heads = {subscription: subscription.feed.head or 0 for subscription in reading}
        positions = [Position(one.conversation_id, one.next_seq - 1) for one in reading]
        read_at, limit = asyncio.get_running_loop().time(), self._page_size
        async with _reads.get():
            user_id = self.socket.actor.user_id
            page = await database.run(get_log_page, user_id, positions, limit, LIMITS.window_bytes)
        entries = page.entries
        if entries:
            average = sum(len(entry.content) for entry in entries) // len(entries) + 1
            self._page_size = max(PAGE_LEAST, min(LIMITS.window_entries, LIMITS.window_bytes // average))
        last = entries[-1].conversation_id if entries else None
        return Page(reading, heads, deque(entries), page.cut is None, read_at, last)

    @staticmethod
    def _push_read(subscription: Subscription, entry: Entry) -> None:
        encoded = EncodedEntry.of(entry)
        subscription.read(encoded)
        # A blank is this reader's view of a withheld entry, and not what the feed has for its sender; and what has no
        # content may be what this reader alone deleted.
        feed = subscription.feed
        whole = entry.type == "system" or bool(entry.content)
        if feed.head is not None and entry.seq == feed.head + 1 and whole and not isinstance(entry, BlankEntry):
            feed.offer(encoded)

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
