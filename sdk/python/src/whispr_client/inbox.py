"""What arrives: each entry once and in order, held back where an own send's place is not known yet.

The server leaves a socket's own sends out of its pushes, for their replies tell the seq. So a jump in seq is either an
own send whose reply is still on its way, or a loss; the first resolves itself, the second is fetched.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from whispr_client.errors import WhisprClientError
from whispr_client.messages import Message

# A reply and a push of one batch arrive within milliseconds of each other.
HOLD_SECONDS = 2.0

Fetch = Callable[[UUID, int, int], Awaitable[list[Message]]]


@dataclass(slots=True)
class _Log:
    """A conversation as this device has it: everything up to `seq`, and what waits for what is before it."""

    seq: int | None  # None: the first entry that comes is the first that the device may see
    held: dict[int, Message | None] = field(default_factory=dict)  # None: an own send, nothing to hand out
    timer: asyncio.TimerHandle | None = None
    fetching: asyncio.Task[None] | None = None


class Inbox:
    """The order of what arrives. `fetch(conversation, after, before)` gets what is missing."""

    def __init__(self, cursors: Mapping[UUID, int], fetch: Fetch) -> None:
        self._logs = {one: _Log(seq) for one, seq in cursors.items()}
        self._fetch = fetch
        # In order, and not dealt with yet: bounded by the server, which stops at 256 that are not acknowledged.
        self.messages: deque[Message] = deque()
        self.arrived = asyncio.Event()

    def take(self, message: Message) -> None:
        """An entry was pushed."""
        log = self._log(message.conversation_id)
        if log.seq is None:
            log.seq = min(message.seq, *log.held, message.seq) - 1
        if message.seq <= log.seq:
            return  # a repeat
        log.held.setdefault(message.seq, message)
        self._advance(message.conversation_id, log)

    def own(self, conversation_id: UUID, seq: int) -> None:
        """An own send has its place."""
        log = self._log(conversation_id)
        if log.seq is None or seq > log.seq:
            log.held.setdefault(seq, None)
            self._advance(conversation_id, log)

    def reset(self, conversation_id: UUID | None) -> None:
        """The log begins anew (`resync_required`): None means all of them."""
        for one in [conversation_id] if conversation_id is not None else list(self._logs):
            log = self._logs.pop(one, None)
            if log is not None and log.timer is not None:
                log.timer.cancel()
            if log is not None and log.fetching is not None:
                log.fetching.cancel()

    def _log(self, conversation_id: UUID) -> _Log:
        return self._logs.setdefault(conversation_id, _Log(None))

    def _advance(self, conversation_id: UUID, log: _Log) -> None:
        while log.held and log.seq is not None:
            lowest = min(log.held)
            if lowest > log.seq + 1:
                if log.timer is None and log.fetching is None:
                    loop = asyncio.get_running_loop()
                    log.timer = loop.call_later(HOLD_SECONDS, self._mend, conversation_id, log)
                return
            message = log.held.pop(lowest)
            log.seq = lowest
            if message is not None:
                self.messages.append(message)
                self.arrived.set()
        if log.timer is not None:
            log.timer.cancel()
            log.timer = None

    def _mend(self, conversation_id: UUID, log: _Log) -> None:
        log.timer = None
        if log.held and log.seq is not None:
            log.fetching = asyncio.create_task(self._fetch_missing(conversation_id, log, log.seq, min(log.held)))

    async def _fetch_missing(self, conversation_id: UUID, log: _Log, after: int, before: int) -> None:
        try:
            for message in await self._fetch(conversation_id, after, before):
                log.held.setdefault(message.seq, message)
            # What the page does not show is nothing that this user may see: hidden, or from before a return.
            for seq in range(after + 1, before):
                log.held.setdefault(seq, None)
        except WhisprClientError:
            pass  # tried again below, or by the catch-up of the next connection
        finally:
            log.fetching = None
        self._advance(conversation_id, log)
