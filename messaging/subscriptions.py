"""A socket's place in each conversation: live and catch-up without a seam, and the window of unacknowledged entries.

Every subscription starts behind: it is read from the log, as if it had been away, until a read finds nothing more;
from then on it follows the feed. It falls behind again when the window is full. So there is one way to miss nothing,
not two.
"""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from prometheus_client import Counter

from messaging.fanout import trace
from messaging.fanout.hub import Feed, hub
from messaging.fanout.news import ConversationPush, EncodedEntry
from whispr.kernel import telemetry

if TYPE_CHECKING:
    from messaging.catch_up import CatchUp

_live = telemetry.entries_pushed.labels("live")
_caught_up = telemetry.entries_pushed.labels("catch_up")


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
            self.catch_up.read_anew()
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
