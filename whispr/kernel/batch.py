"""Group commit: many callers' items in one transaction, with an outcome for each (docs/architecture.md "The way of a
message").

While one batch is being flushed, others wait; all that waits is taken together as soon as the flush is back. Alone, an
item is flushed at once; under load, batches grow by themselves. Where nobody waits for the outcome, a lane may rest
after a small batch, so that the next is larger: most of a small batch's cost is the batch's. Items of one key keep
their order.

A key that something else holds locked must not stop the others: the flush answers BUSY for its items, and they move,
with everything of that key that comes after them, to a lane of their own where the flush may wait.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from time import perf_counter
from typing import Any, Generic, Literal, TypeVar
from weakref import WeakSet

from whispr.kernel import telemetry
from whispr.kernel.errors import DatabaseAway, Overloaded, WhisprError

K = TypeVar("K", bound=Hashable)
I = TypeVar("I")  # noqa: E741 - item
O = TypeVar("O")  # noqa: E741 - outcome
log = logging.getLogger(__name__)
# A batch of so many items pays for itself: 32 items cost twice what the batch itself costs (docs/decisions/0015).
SMALL_BATCH = 32


class Busy(Enum):
    """The type of BUSY: this item's key is locked elsewhere, and the flush was not to wait."""

    BUSY = "busy"


BUSY: Literal[Busy.BUSY] = Busy.BUSY

# (key, item, the caller's future)
Waiting = tuple[K, I, asyncio.Future[O]]


# All that there are: a process that ends closes those of its loop.
_open: "WeakSet[GroupCommit[Any, Any, Any]]" = WeakSet()


async def close_all(seconds: float) -> None:
    """Wait until everything that was submitted on the running loop is resolved, for at most `seconds`, and end the
    threads: the last thing that a process does with its database."""
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(commit.close(seconds) for commit in tuple(_open) if commit.loop is loop))


class _Lane(Generic[K, I, O]):
    __slots__ = ("queue", "running")

    def __init__(self) -> None:
        self.queue: deque[Waiting[K, I, O]] = deque()
        self.running = False


class GroupCommit(Generic[K, I, O]):
    """Collects items on one event loop and flushes them in threads.

    `flush(items, patient)` runs in a thread. It returns, for each item and in order, an outcome, an exception that this
    item alone gets, or BUSY (never when `patient`). If it raises a WhisprError, every item gets it; if it raises
    anything else, the items are flushed again one by one, so that a bad item costs only itself.
    `on_flushed(outcomes)` is called on the event loop before the callers' futures are resolved.
    `on_away(waiting)`, where there is one, takes over what the database did not take (DatabaseAway), and what waits
    behind it under the same keys, in order; it resolves the futures, or gives the items back with `resubmit`.
    After a batch of fewer than SMALL_BATCH items a lane rests for `rest` seconds.
    """

    def __init__(
        self,
        name: str,
        flush: Callable[[Sequence[I], bool], Sequence[O | Exception | Busy]],
        *,
        on_flushed: Callable[[Sequence[O]], None] | None = None,
        on_away: Callable[[Sequence[Waiting[K, I, O]]], None] | None = None,
        lanes: int = 1,
        patient_lanes: int = 4,
        batch_max: int = 256,
        waiting_max: int = 4_096,
        rest: float = 0.0,
    ) -> None:
        self.name = name
        self._rest = rest
        self._flush = flush
        self._on_flushed = on_flushed
        self._on_away = on_away
        self._batch_max = batch_max
        self._waiting_max = waiting_max
        self._waiting = 0
        self._lanes: list[_Lane[K, I, O]] = [_Lane() for _ in range(lanes)]
        self._parked: dict[K, deque[Waiting[K, I, O]]] = {}
        self._patience = asyncio.Semaphore(patient_lanes)
        self._threads = ThreadPoolExecutor(lanes + patient_lanes, thread_name_prefix=f"batch-{name}")
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        _open.add(self)
        self._gauge = telemetry.batch_waiting.labels(name)
        self._sizes = telemetry.batch_size.labels(name)
        self._seconds = telemetry.batch_seconds.labels(name)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that it belongs to."""
        return self._loop

    @property
    def waiting(self) -> int:
        """Items submitted and not yet resolved."""
        return self._waiting

    def submit(self, key: K, item: I) -> "asyncio.Future[O]":
        """Queue `item` behind all earlier items of `key`. Raises Overloaded when the queue is full."""
        if self._waiting >= self._waiting_max:
            raise Overloaded()
        future: asyncio.Future[O] = self._loop.create_future()
        self.resubmit((key, item, future))
        return future

    def resubmit(self, waiting: Waiting[K, I, O]) -> None:
        """Queue what `on_away` took over, with the future that its caller has; there is always room for it."""
        self._waiting += 1
        key = waiting[0]
        parked = self._parked.get(key)
        if parked is not None:
            parked.append(waiting)
            return
        lane = self._lanes[hash(key) % len(self._lanes)]
        lane.queue.append(waiting)
        if not lane.running:
            lane.running = True
            self._spawn(self._drain(lane))

    async def close(self, seconds: float) -> None:
        """Wait until everything submitted is resolved, for at most `seconds`, and end the threads."""
        deadline = self._loop.time() + seconds
        # A flush under way may park a key, which is a task that was not there before.
        while self._tasks and (left := deadline - self._loop.time()) > 0:
            await asyncio.wait(set(self._tasks), timeout=left)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _drain(self, lane: _Lane[K, I, O]) -> None:
        while lane.queue:
            batch = [lane.queue.popleft() for _ in range(min(len(lane.queue), self._batch_max))]
            busy = await self._flush_batch(batch, patient=False)
            if busy:
                self._park(busy, lane)
            if self._rest and len(batch) < SMALL_BATCH:
                await asyncio.sleep(self._rest)
        lane.running = False

    def _park(self, busy: list[Waiting[K, I, O]], lane: _Lane[K, I, O]) -> None:
        for waiting in busy:
            if waiting[0] not in self._parked:
                self._parked[waiting[0]] = deque()
                self._spawn(self._drain_parked(waiting[0]))
            self._parked[waiting[0]].append(waiting)
        keys = {waiting[0] for waiting in busy}
        later = [waiting for waiting in lane.queue if waiting[0] in keys]
        if later:
            lane.queue = deque(waiting for waiting in lane.queue if waiting[0] not in keys)
            for waiting in later:
                self._parked[waiting[0]].append(waiting)
        telemetry.batch_parked.labels(self.name).set(len(self._parked))

    async def _drain_parked(self, key: K) -> None:
        queue = self._parked[key]
        async with self._patience:
            while queue:
                batch = [queue.popleft() for _ in range(min(len(queue), self._batch_max))]
                await self._flush_batch(batch, patient=True)
        del self._parked[key]
        telemetry.batch_parked.labels(self.name).set(len(self._parked))

    async def _flush_batch(self, batch: list[Waiting[K, I, O]], *, patient: bool) -> list[Waiting[K, I, O]]:
        """Flush one batch and resolve its futures. Returns what was BUSY."""
        started = perf_counter()
        outcomes = await self._outcomes([item for _, item, _ in batch], patient)
        self._sizes.observe(len(batch))
        self._seconds.observe(perf_counter() - started)
        if self._on_flushed is not None:
            try:
                self._on_flushed([o for o in outcomes if not isinstance(o, Exception | Busy)])
            except Exception:
                log.exception("%s: what follows a flush failed; the flush itself stands", self.name)
        busy: list[Waiting[K, I, O]] = []
        away: set[K] = set()
        if self._on_away is not None and any(isinstance(outcome, DatabaseAway) for outcome in outcomes):
            away = {one[0] for one, outcome in zip(batch, outcomes, strict=True) if isinstance(outcome, DatabaseAway)}
            self._hand_over(away, batch, outcomes)
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Busy | DatabaseAway) and waiting[0] in away:
                continue
            if isinstance(outcome, Busy):
                busy.append(waiting)
                continue
            self._waiting -= 1
            future = waiting[2]
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        self._gauge.set(self._waiting)
        return busy

    def _hand_over(self, keys: set[K], batch: list[Waiting[K, I, O]], outcomes: Sequence[O | Exception | Busy]) -> None:
        """Give `on_away` all of these keys that is not decided, in the order in which it came."""
        taken = [
            waiting
            for waiting, outcome in zip(batch, outcomes, strict=True)
            if waiting[0] in keys and isinstance(outcome, Busy | DatabaseAway)
        ]
        for lane in self._lanes:
            taken.extend(waiting for waiting in lane.queue if waiting[0] in keys)
            lane.queue = deque(waiting for waiting in lane.queue if waiting[0] not in keys)
        for key in keys:
            parked = self._parked.get(key)
            if parked:
                taken.extend(parked)
                parked.clear()
        self._waiting -= len(taken)
        assert self._on_away is not None
        self._on_away(taken)

    async def _outcomes(self, items: list[I], patient: bool) -> Sequence[O | Exception | Busy]:
        try:
            return await self._loop.run_in_executor(self._threads, self._flush, items, patient)
        except WhisprError as error:
            return [error] * len(items)
        except Exception as error:
            log.warning("%s: a batch of %d failed: %s", self.name, len(items), type(error).__name__)
            if len(items) == 1:
                return [error]
        alone: list[O | Exception | Busy] = []
        for item in items:
            alone.extend(await self._outcomes([item], patient))
        return alone

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
