"""The way to Redis: one client for each event loop, a deadline on every wait, and calls that wait sent together.

Redis is never the truth here (docs/architecture.md "The way of a message"): whoever uses it has an answer without it.
So a call has no
second attempt, and after a failure nobody waits for Redis again until it has answered a probe.
"""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from django.conf import settings
from redis import exceptions as redis_errors
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from whispr.kernel import telemetry
from whispr.kernel.breaker import breaker
from whispr.kernel.errors import Overloaded, TemporaryUnavailable
from whispr.kernel.limits import LIMITS

I = TypeVar("I")  # noqa: E741 - item
O = TypeVar("O")  # noqa: E741 - outcome
log = logging.getLogger(__name__)
_circuit = breaker("redis")

# Batches have one call in flight each; tickets and probes take the rest. Beyond, calls wait, within their deadline.
CONNECTIONS_MAX = 16
# The bound of any wait of the client itself; every use has its own, shorter deadline.
WAIT_SECONDS = 1.0
# After a failure: how long Redis is left alone before each probe.
PROBE_SECONDS = 1.0

# A client belongs to the event loop that its connections were opened in: one loop a process, but many in tests.
_Clients = dict[tuple[asyncio.AbstractEventLoop, float], tuple[Redis, asyncio.Task[None]]]
_clients: _Clients = {}


class RedisAway(Exception):
    """Redis did not do what was asked, or not in time. What was asked may have happened."""


def redis_access() -> int:
    """Ask the circuit for one call; what it answers goes to its `success` or `failure`. Raises RedisAway while it is
    open."""
    try:
        return _circuit.access()
    except TemporaryUnavailable:
        raise RedisAway from None


def redis_answered(ticket: int) -> None:
    """The call of `redis_access` was answered, be it with a refusal."""
    _circuit.success(ticket)


def redis_failed(ticket: int) -> None:
    """The call of `redis_access` found nobody, or no answer in time."""
    _circuit.failure(ticket)


def redis_client(seconds: float = WAIT_SECONDS) -> Redis:
    """The running loop's client of `REDIS_URL`, which waits for at most `seconds`; its connections close when the loop
    shuts its tasks down."""
    loop = asyncio.get_running_loop()
    found = _clients.get((loop, seconds))
    if found is None:
        pool = BlockingConnectionPool.from_url(
            str(settings.CACHES["default"]["LOCATION"]),
            max_connections=CONNECTIONS_MAX,
            timeout=seconds,
            socket_timeout=seconds,
            socket_connect_timeout=WAIT_SECONDS,
            # The pool itself opens a connection anew that was closed while idle; a retry would only do a thing twice.
            retry=Retry(NoBackoff(), 0),
        )
        client = Redis.from_pool(pool)
        found = _clients[loop, seconds] = (client, loop.create_task(_keep((loop, seconds), client)))
    return found[0]


async def _keep(key: tuple[asyncio.AbstractEventLoop, float], client: Redis) -> None:
    """Hold the client until its loop cancels its tasks, as `asyncio.run()` does at its end; then close it."""
    try:
        await asyncio.Event().wait()
    finally:
        if key in _clients and _clients[key][0] is client:
            del _clients[key]
        await client.aclose()


async def redis_close() -> None:
    """Close the running loop's connections; the next use opens new ones."""
    loop = asyncio.get_running_loop()
    for key in [key for key in _clients if key[0] is loop]:
        found = _clients.pop(key)
        found[1].cancel()
        await asyncio.gather(found[1], return_exceptions=True)
        await found[0].aclose()  # a keeper that had not begun closed nothing


class Script:
    """A Lua script: one atomic step in Redis."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class RedisLink:
    """One use of Redis on one event loop, with a circuit: after a failure, calls fail at once until a probe
    succeeds."""

    def __init__(self, use: str) -> None:
        self.use = use
        self.is_up = True
        self._probing: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._up.set()
        telemetry.redis_up.labels(use).set(1)

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        """What the script answers. Raises RedisAway within `LIMITS.redis_timeout_ms`, at once after a failure."""
        if not self.is_up:
            raise RedisAway
        ticket = redis_access()
        try:
            async with asyncio.timeout(LIMITS.redis_timeout_ms / 1000):
                client: Any = redis_client()
                try:
                    answer = await client.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)
                except redis_errors.NoScriptError:  # a new server; EVAL also keeps the script
                    answer = await client.execute_command("EVAL", script.source, len(keys), *keys, *args)
        except (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError) as error:
            _circuit.failure(ticket)
            self._open(error)
            raise RedisAway from error
        except redis_errors.RedisError as error:  # it answers, but refuses: out of memory, read-only
            _circuit.success(ticket)
            log.warning("Redis refuses what %s asks: %s", self.use, error)
            raise RedisAway from error
        _circuit.success(ticket)
        return answer

    async def wait_up(self, seconds: float) -> None:
        """Wait until Redis answers again, for at most `seconds`; at once while nothing is known against it."""
        try:
            async with asyncio.timeout(seconds):
                await self._up.wait()
        except TimeoutError:
            pass

    def _open(self, error: BaseException) -> None:
        if self.is_up:
            self.is_up = False
            self._up.clear()
            telemetry.redis_up.labels(self.use).set(0)
            log.warning("Redis is away (%s): %s goes on without it", type(error).__name__, self.use)
            self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def _probe(self) -> None:
        while not self.is_up:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                ticket = redis_access()
                async with asyncio.timeout(LIMITS.redis_timeout_ms / 1000):
                    client: Any = redis_client()
                    await client.execute_command("PING")
            except RedisAway:
                continue
            except (redis_errors.RedisError, OSError):
                _circuit.failure(ticket)
                continue
            _circuit.success(ticket)
            self.is_up = True
            self._up.set()
            telemetry.redis_up.labels(self.use).set(1)
            log.info("Redis answers again: %s uses it", self.use)


class RedisBatch(Generic[I, O]):
    """Collects calls on one event loop: while one batch is on its way, others wait, and go together when it is back.

    `flush(items)` returns for each item, in order, an outcome or an exception that this item's caller gets. It has its
    own deadline. Batches go one after the other, so what is submitted first is done first.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[I]], Awaitable[Sequence[O | Exception]]],
        *,
        batch_max: int = 256,
        waiting_max: int = 16_384,
    ) -> None:
        self._flush = flush
        self._batch_max = batch_max
        self._waiting_max = waiting_max
        self._queue: deque[tuple[I, asyncio.Future[O]]] = deque()
        self._draining: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def submit(self, item: I) -> "asyncio.Future[O]":
        """Queue `item`. Raises Overloaded when the queue is full. The future may be dropped."""
        if len(self._queue) >= self._waiting_max:
            raise Overloaded()
        future: asyncio.Future[O] = self._loop.create_future()
        self._queue.append((item, future))
        if self._draining is None or self._draining.done():
            self._draining = self._loop.create_task(self._drain())
        return future

    async def _drain(self) -> None:
        batch: list[tuple[I, asyncio.Future[O]]] = []
        try:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_max))]
                batch = [waiting for waiting in batch if not waiting[1].cancelled()]
                if batch:
                    self._resolve(batch, await self._outcomes([item for item, _ in batch]))
        except asyncio.CancelledError:  # the loop ends: nobody is left waiting
            for _, future in (*batch, *self._queue):
                future.cancel()
            raise

    async def _outcomes(self, items: list[I]) -> Sequence[O | Exception]:
        try:
            return await self._flush(items)
        except Exception as error:
            if not isinstance(error, RedisAway):
                log.exception("A batch of %d calls failed", len(items))
            return [error] * len(items)

    @staticmethod
    def _resolve(batch: list[tuple[I, asyncio.Future[O]]], outcomes: Sequence[O | Exception]) -> None:
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
                future.exception()  # counts as retrieved: a caller that went away is no fault
            else:
                future.set_result(outcome)
