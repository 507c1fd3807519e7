"""The deadline of every request, kept without a timer for each (docs/protocol.md §8.8: an answer within 10 seconds).

All requests have the same time to be answered, so they fall due in the order in which they came: one queue, looked at
twice a second, instead of a timer of the event loop for each request.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop

LOOK_SECONDS = 0.5


class Deadlines:
    """The futures that must be done within `LIMITS.request_seconds`, on one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, asyncio.Future[Any], Callable[[], None]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._looking: asyncio.TimerHandle | None = None

    def watch(self, future: "asyncio.Future[Any]", on_late: Callable[[], None], since: float | None = None) -> None:
        """Call `on_late` unless `future` is done in time (give or take `LOOK_SECONDS`). `since` is when the request
        came, where that was not now: those few have timers of their own."""
        if since is not None:
            self._loop.call_at(since + LIMITS.request_seconds, _look_at, future, on_late)
            return
        self._waiting.append((self._loop.time() + LIMITS.request_seconds, future, on_late))
        if self._looking is None:
            self._looking = self._loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        waiting = self._waiting
        now = self._loop.time()
        while waiting and (waiting[0][1].done() or waiting[0][0] <= now):
            _, future, on_late = waiting.popleft()
            if not future.done():
                on_late()
        self._looking = self._loop.call_later(LOOK_SECONDS, self._look) if waiting else None


def _look_at(future: "asyncio.Future[Any]", on_late: Callable[[], None]) -> None:
    if not future.done():
        on_late()


deadlines: PerLoop[Deadlines] = PerLoop(Deadlines)
