"""Which of this process's sockets want what, and the feed of each conversation that any of them follows.

A feed passes a conversation's entries on in seq order without a gap, whoever committed them and however the doorbell
rang: the next expected seq goes out, an earlier one is a repeat, a later one waits while the gap is read from the log.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from uuid import UUID

from messaging.fanout.news import ConversationPush, EncodedEntry, News, PresenceChange, UserChange, UserPush
from messaging.fanout.receipts import ReceiptOrder
from messaging.store.entries import list_entries_between
from whispr.kernel import database, telemetry
from whispr.kernel.errors import WhisprError

log = logging.getLogger(__name__)

# A process that commits seq 6 while another's 5 is still on its way waits this long before it reads 5 from the log:
# the doorbell is mostly quicker, and such a gap closes by itself.
GAP_GRACE_SECONDS = 0.02
# Entries that wait behind a gap; beyond, they are dropped and read from the log with the gap.
AHEAD_MAX = 256
# The most that one repair reads at once: 256 entries of 64 KiB would be 16 MiB.
REPAIR_PAGE = 256
REPAIR_RETRY_SECONDS = 1.0


class Follower(Protocol):
    """A subscription: one socket's interest in one conversation."""

    def on_entries(self, entries: Sequence[EncodedEntry]) -> None:
        """The next entries of the feed, in order, without a gap."""

    def on_push(self, push: ConversationPush) -> None:
        """A passing event."""


class Listener(Protocol):
    """A socket's interest in what concerns its user."""

    def on_user_push(self, push: UserPush) -> None:
        """An event for the user's devices."""

    def on_user_change(self, change: UserChange) -> None:
        """Something of the user changed: a device was revoked, a setting was set."""

    def on_joined_conversation(self, conversation_id: UUID, seq: int, shared: bool = False) -> None:
        """The user became a member at `seq`; `shared`: and may see what was before."""


class Feed:
    """One conversation, as this process passes it on. `head` is the last seq that went out; None until it is known."""

    __slots__ = ("_ahead", "_repairing", "conversation_id", "followers", "head")

    def __init__(self, conversation_id: UUID) -> None:
        self.conversation_id = conversation_id
        self.head: int | None = None
        self.followers: set[Follower] = set()
        self._ahead: dict[int, EncodedEntry] = {}
        self._repairing = False

    def start(self, head: int) -> None:
        """The log's head was read: from here on the feed follows. Later calls change nothing."""
        if self.head is None:
            self.head = head
            self._go_on()

    def offer(self, entry: EncodedEntry) -> None:
        """Take an entry from a commit of this process, from the bus or from the log, in any order, any number of
        times."""
        if self.head is not None and entry.seq <= self.head:
            return
        if self.head is not None and entry.seq == self.head + 1:
            self._emit([entry])  # also where as many wait as may: it is what they wait for
            if self._ahead:
                self._go_on()
            return
        if len(self._ahead) < AHEAD_MAX:
            self._ahead[entry.seq] = entry
        self._go_on()

    def _go_on(self) -> None:
        """Emit what has become the next; if something still waits, a gap is left to be read."""
        if self.head is None:
            return
        ready: list[EncodedEntry] = []
        head = self.head
        while (entry := self._ahead.pop(head + 1, None)) is not None:
            ready.append(entry)
            head += 1
        if ready:
            self._emit(ready)
        for seq in [seq for seq in self._ahead if seq <= head]:
            del self._ahead[seq]
        if self._ahead:
            self.repair(max(self._ahead), "gap", GAP_GRACE_SECONDS)

    def _emit(self, entries: Sequence[EncodedEntry]) -> None:
        self.head = entries[-1].seq
        for follower in tuple(self.followers):
            try:
                follower.on_entries(entries)
            except Exception:
                log.exception("A subscription failed to take its entries; it will read them from the log")

    def repair(self, upto: int, cause: str, grace: float = 0.0) -> None:
        """Read from the log what is missing up to `upto`, unless it comes by itself within `grace` seconds."""
        if self._repairing or self.head is None:
            return
        self._repairing = True
        hub.spawn(self._repair(upto, cause, grace))

    async def _repair(self, upto: int, cause: str, grace: float) -> None:
        try:
            await asyncio.sleep(grace)
            while self.followers and self.head is not None and self.head < upto:
                telemetry.log_repairs.labels(cause).inc()
                after = self.head
                page_end = min(upto, after + REPAIR_PAGE)
                entries = await database.run(list_entries_between, self.conversation_id, after, page_end)
                for entry in entries:
                    self.offer(EncodedEntry.of(entry))
                if self.head == after:  # the log was cut short: a restored backup; the epoch tells the clients
                    break
        except WhisprError:
            await asyncio.sleep(REPAIR_RETRY_SECONDS)
        finally:
            self._repairing = False
        if self.followers:
            self._go_on()


class Hub:
    """The registry of one process's event loop."""

    def __init__(self) -> None:
        self.feeds: dict[UUID, Feed] = {}
        self.listeners: defaultdict[UUID, set[Listener]] = defaultdict(set)
        self.watchers: list[Callable[[News], None]] = []
        self._receipts = ReceiptOrder()
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, conversation_id: UUID, follower: Follower) -> Feed:
        """Add a subscription; the caller makes sure that the feed is started with a head read after this call."""
        feed = self.feeds.get(conversation_id)
        if feed is None:
            feed = self.feeds[conversation_id] = Feed(conversation_id)
        feed.followers.add(follower)
        telemetry.subscriptions.inc()
        return feed

    def unfollow(self, feed: Feed, follower: Follower) -> None:
        """Remove a subscription; the last one takes the feed with it."""
        if follower not in feed.followers:
            return
        feed.followers.discard(follower)
        telemetry.subscriptions.dec()
        if not feed.followers and self.feeds.get(feed.conversation_id) is feed:
            del self.feeds[feed.conversation_id]

    def listen(self, user_id: UUID, listener: Listener) -> None:
        """Add a socket to its user's."""
        self.listeners[user_id].add(listener)

    def unlisten(self, user_id: UUID, listener: Listener) -> None:
        """Remove a socket."""
        found = self.listeners.get(user_id)
        if found is not None:
            found.discard(listener)
            if not found:
                del self.listeners[user_id]

    def take(self, news: Iterable[News]) -> None:
        """Give the news to whoever of this process wants them."""
        for one in news:
            match one:
                case EncodedEntry():
                    self._take_entry(one)
                case UserPush():
                    listeners = tuple(self.listeners.get(one.user_id, ()))
                    if listeners and self._receipts.is_late(one):
                        continue
                    for listener in listeners:
                        listener.on_user_push(one)
                case ConversationPush():
                    feed = self.feeds.get(one.conversation_id)
                    if feed is not None:
                        for follower in tuple(feed.followers):
                            follower.on_push(one)
                case UserChange():
                    for watcher in self.watchers:
                        watcher(one)
                    for listener in tuple(self.listeners.get(one.user_id, ())):
                        listener.on_user_change(one)
                case PresenceChange():
                    for watcher in tuple(self.watchers):
                        watcher(one)

    def _take_entry(self, entry: EncodedEntry) -> None:
        if entry.type == "system":
            for watcher in tuple(self.watchers):
                watcher(entry)
        if entry.type == "system" and self.listeners:
            # Before the entry itself goes out, so that whoever is added by it gets it live.
            metadata = entry.metadata()
            if metadata.get("event") in ("member_added", "conversation_created"):
                for user_id in metadata.get("userIds", ()):
                    for listener in tuple(self.listeners.get(UUID(user_id), ())):
                        shared = metadata.get("sharedHistory") is True
                        listener.on_joined_conversation(entry.conversation_id, entry.seq, shared)
        feed = self.feeds.get(entry.conversation_id)
        if feed is not None:
            feed.offer(entry)

    def spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        """Run a task of the fan-out; kept until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


hub = Hub()
