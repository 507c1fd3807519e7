"""Asking the workers to look at their work now instead of at the next beat.

A service rings; who knows the task queue registers what a ring does. A ring that is lost costs nothing but time: the
rows in PostgreSQL are the truth, and the beat's next run finds them.
"""

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

_send: Callable[[str], None] | None = None


def register(send: Callable[[str], None]) -> None:
    """`send(task)` asks the workers to run a task soon; it may block, and is called in a thread."""
    global _send
    _send = send


class Bell:
    """Rings for one task, on one event loop: at most once in `seconds`, and `seconds` after who asked first."""

    def __init__(self, task: str, seconds: float) -> None:
        self._task = task
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._again = False
        self._ringing: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        """There is work that is due in `seconds`. Never waits, never fails."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._fire)
        else:
            self._again = True

    def _fire(self) -> None:
        self._timer = None
        if self._again:  # who asked after the first one is due after this ring
            self._again = False
            self.ring()
        if _send is not None and (self._ringing is None or self._ringing.done()):
            self._ringing = self._loop.create_task(self._ring(_send))

    async def _ring(self, send: Callable[[str], None]) -> None:
        try:
            await asyncio.to_thread(send, self._task)
        except Exception as error:  # of the broker's client, whatever they are
            log.info("The workers were not asked to run %s now: %s", self._task, type(error).__name__)
