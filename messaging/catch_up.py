"""The reader of the log for the subscriptions of one joined topic that are behind (messaging/subscriptions.py)."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from messaging.events import BlankEntry, Entry
from messaging.fanout.news import EncodedEntry
from messaging.phoenix import JoinState, TopicJoin, binary_push_head, push_tail
from messaging.store.entries import Position, get_log_page
from messaging.subscriptions import Subscription
from whispr.kernel import database
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

_reads = PerLoop(lambda: asyncio.Semaphore(READS_AT_ONCE))


@dataclass(slots=True)
class Page:
    """What one catch-up read found, and what was true when it began."""

    reading: list[Subscription]
    heads: dict[Subscription, int]
    entries: deque[Entry]
    complete: bool  # nothing was visible beyond it
    read_at: float
    generation: int
    last: UUID | None  # the conversation of the last entry


class CatchUp:
    """The subscriptions of one joined topic, and the one reader that brings those forward which are behind."""

    __slots__ = (
        "_behind",
        "_binary_head",
        "_generation",
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
        self._generation = 0  # of positions: what was read from earlier ones no longer follows on what was pushed
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
        self.read_anew()
        self._behind[subscription] = None
        return subscription

    def read_anew(self) -> None:
        """A position went back, or there is a new one: what waits is read again from there."""
        self._generation += 1

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
        if page is not None and not self._holds(page):
            page = self._page = None
        if page is None:
            page = await self._fetch_page()
            if page.generation != self._generation:
                return  # positions changed during the read: again from the new ones
            self._page = page
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

    def _holds(self, page: Page) -> bool:
        """Whether a page is of now, and follows on what was pushed."""
        is_fresh = asyncio.get_running_loop().time() - page.read_at <= PAGE_SECONDS
        return is_fresh and page.generation == self._generation

    async def _fetch_page(self) -> Page:
        reading = list(self._behind)[:POSITIONS_MAX]
        positions = [Position(one.conversation_id, one.next_seq - 1) for one in reading]
        heads = {subscription: subscription.feed.head or 0 for subscription in reading}
        generation, limit = self._generation, self._page_size
        read_at = asyncio.get_running_loop().time()
        async with _reads.get():
            user_id = self.socket.actor.user_id
            page = await database.run(get_log_page, user_id, positions, limit, LIMITS.window_bytes)
        entries = page.entries
        if entries:
            average = sum(len(entry.content) for entry in entries) // len(entries) + 1
            self._page_size = max(PAGE_LEAST, min(LIMITS.window_entries, LIMITS.window_bytes // average))
        last = entries[-1].conversation_id if entries else None
        return Page(reading, heads, deque(entries), page.cut is None, read_at, generation, last)

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
