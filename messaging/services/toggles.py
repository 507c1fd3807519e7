"""Reactions that are switched on and off in quick succession: the last state counts (docs/protocol.md "Edits,
reactions, deletions").

The first one goes on at once. What the same user does with the same emoji under the same message within the next
`LIMITS.reaction_window_ms` waits together for the end of that time, and is then queued together, so that one batch of
the log decides it: at most one of them becomes an entry, each gets its answer, and what takes no place leaves no gap
(messaging/store/toggles.py). Whatever else the user sends to the conversation lets them go before it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from uuid import UUID

from messaging.store.log import Appended, NewEntry
from whispr.kernel.errors import Overloaded, WhisprError
from whispr.kernel.limits import LIMITS

Key = tuple[UUID, UUID | None, str | None]  # user, message, emoji
Held = tuple[NewEntry, "asyncio.Future[Appended]"]

# Windows of one process that run at once; beyond, reactions go on without one. 20,000 sockets that react once each.
WINDOWS_MAX = 20_000


class Toggles:
    """The windows of one event loop. `submit` queues an entry for the log."""

    def __init__(self, submit: "Callable[[NewEntry], asyncio.Future[Appended]]") -> None:
        self._submit = submit
        self._loop = asyncio.get_running_loop()
        self._windows: dict[Key, list[Held]] = {}
        # Of a user and conversation: the windows in which something waits.
        self._waiting: defaultdict[tuple[UUID, UUID], dict[Key, None]] = defaultdict(dict)
        self._held = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def submit(self, entry: NewEntry) -> "asyncio.Future[Appended]":
        """Queue a reaction, now or at the end of its window. Raises what `submit` raises, Overloaded where too many
        wait."""
        key = (entry.sender_id, entry.target, entry.emoji)
        window = self._windows.get(key)
        if window is None:
            future = self._submit(entry)
            if LIMITS.reaction_window_ms and len(self._windows) < WINDOWS_MAX:
                self._begin(key)
            return future
        if self._held >= LIMITS.commit_waiting_max:
            raise Overloaded()
        future = self._loop.create_future()
        window.append((entry, future))
        self._waiting[entry.sender_id, entry.conversation_id][key] = None
        self._held += 1
        return future

    def release(self, user_id: UUID, conversation_id: UUID) -> None:
        """Queue what waits of a user in a conversation: something comes that is to stand behind it."""
        for key in self._waiting.pop((user_id, conversation_id), ()):
            held = self._windows[key]
            self._windows[key] = [one for one in held if one[0].conversation_id != conversation_id]
            self._queue([one for one in held if one[0].conversation_id == conversation_id])

    def _begin(self, key: Key) -> None:
        self._windows[key] = []
        self._loop.call_later(LIMITS.reaction_window_ms / 1_000, self._end, key)

    def _end(self, key: Key) -> None:
        held = self._windows.pop(key)
        if not held:
            return
        for place in {(entry.sender_id, entry.conversation_id) for entry, _ in held}:
            keys = self._waiting.get(place, {})
            keys.pop(key, None)
            if not keys:
                self._waiting.pop(place, None)
        self._begin(key)
        self._queue(held)

    def _queue(self, held: list[Held]) -> None:
        self._held -= len(held)
        for entry, future in held:
            try:
                inner = self._submit(entry)
            except WhisprError as error:
                if not future.done():
                    future.set_exception(error)
            else:
                inner.add_done_callback(partial(_pass_on, future))


def _pass_on(future: "asyncio.Future[Appended]", inner: "asyncio.Future[Appended]") -> None:
    """The outcome of the log is the outcome of what waited."""
    if future.done():
        return
    if inner.cancelled():
        future.cancel()
        return
    error = inner.exception()
    if error is None:
        future.set_result(inner.result())
    else:
        future.set_exception(error)
