"""Shedding load: what matters least is refused first, so that what matters most still has its time (specification
§5.3, docs/operations.md "Overload").

Each process looks at itself four times a second: how late its event loop is, and how full its queues are. From that
comes one level, and each kind of request is refused from a level on: passing signs first, then changes of messages,
then sends, which wait in their client's outbox meanwhile, and reading last. Acknowledgements are never refused here:
they make room.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Literal

from whispr.kernel import telemetry
from whispr.kernel.errors import Overloaded
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop

Kind = Literal["passing", "changing", "sending", "reading"]
KINDS: tuple[Kind, ...] = ("passing", "changing", "sending", "reading")
LOOK_SECONDS = 0.25
# Of a queue: from `LIMITS.shed_queue_percent` on, a kind more for each so many percent.
STEP_PERCENT = 15
# What is refused may come back after as many seconds as the level says, and up to so many times as many: not all at
# once.
SPREAD = 4.0

# How full the queues of the running event loop are, each from 0 to 1.
queues: list[Callable[[], float]] = []
_level = 0


def access_load(kind: Kind) -> None:
    """Refuse a request of this kind where there is too much to do. Raises Overloaded."""
    if _level and _level > KINDS.index(kind):
        telemetry.shed.labels(kind).inc()
        raise Overloaded(retry_after=round(_level * random.uniform(1.0, SPREAD), 1))


def load_level() -> int:
    """How many of KINDS are refused now, from the first on."""
    return _level


def level_of(lag: float, fullness: float) -> int:
    """The level of a loop that is `lag` seconds late, whose fullest queue is filled to `fullness` (0 … 1).

    Lateness counts from `LIMITS.shed_lag_ms` on, a kind more each time that it doubles.
    """
    level, least = 0, LIMITS.shed_lag_ms / 1000
    while level < len(KINDS) and least and lag >= least * 2**level:
        level += 1
    over = fullness * 100 - LIMITS.shed_queue_percent
    if LIMITS.shed_queue_percent and over >= 0:
        level = max(level, min(len(KINDS), 1 + int(over / STEP_PERCENT)))
    return level


class Watch:
    """Looks after one event loop, for as long as that runs."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lag_before = 0.0
        self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        while True:
            due = self._loop.time() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            self.look(self._loop.time() - due)

    def look(self, lag: float) -> None:
        """Set the level. A single late moment is none; a level is left one step a look."""
        global _level
        steady, self._lag_before = min(lag, self._lag_before), lag
        wanted = level_of(steady, max((queue() for queue in queues), default=0.0))
        _level = max(wanted, _level - 1)
        telemetry.load_level.set(_level)


load_watches: PerLoop[Watch] = PerLoop(Watch)
