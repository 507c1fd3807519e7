"""The circuits of one process, watched: staff's switches taken over, its states reported, services' health asked
(specification §5.3; docs/architecture.md "Circuit breakers").
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Sequence

import msgspec
import redis
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError

from integrations import media_service, notification_service, user_service
from integrations.models import CircuitSwitch
from whispr.kernel.breaker import DEPENDENCIES, Hold, State, breakers
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop
from whispr.kernel.redis import redis_client

log = logging.getLogger(__name__)

# A switch holds everywhere within this many seconds; a health check is due as often while a circuit is half open.
LOOK_SECONDS = 2.0
PROBE_SECONDS = 0.5
# Of a process's report; one that is older is of a process that is gone.
REPORT_SECONDS = 10
_INDEX = "whispr:circuits"
_HOLDS: dict[str, Hold | None] = {"auto": None, "open": "open", "closed": "closed"}


class CircuitReport(msgspec.Struct, frozen=True):
    """One circuit as one process sees it. `retry_after` in seconds; `held`: by a switch."""

    process: str
    name: str
    state: State
    retry_after: float
    held: bool


class CircuitWatch:
    """The tasks of one event loop."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Watch for as long as the loop runs; later calls do nothing."""
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._watch()), loop.create_task(self._probe())]

    async def stop(self) -> None:
        """End the tasks, and close the services' channels."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for service in _services():
            client = service.clients.peek()  # type: ignore[attr-defined]  # those of `grpc/` have them
            if client is not None:
                await client.close()

    async def _watch(self) -> None:
        while not _is_cancelled():
            try:
                await self.look()
                await report()
            except Exception:
                log.exception("The circuits were not watched")
            if not _is_cancelled():
                await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Take over the switches. While the database is away, each circuit stays as it is held."""
        # In a thread of its own, past the circuit of the database: that one may be what is held open.
        modes = await asyncio.to_thread(_read_switches)
        if modes is None:
            return
        for name, circuit in breakers().items():
            if circuit.held != modes.get(name):
                log.warning("Circuit %s is held %s", name, modes.get(name) or "no longer")
                circuit.hold(modes.get(name))

    async def _probe(self) -> None:
        while not _is_cancelled():
            await asyncio.sleep(PROBE_SECONDS)
            for service in _services():
                await service.clients.get().probe()  # type: ignore[attr-defined]


watches: PerLoop[CircuitWatch] = PerLoop(CircuitWatch)


def _is_cancelled() -> bool:
    """Whether this task was asked to end: a client may take the cancellation for an error of its own and go on."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _services() -> Sequence[object]:
    """The services that are called over gRPC."""
    found = (user_service(), media_service(settings.WHISPR_MEDIA_DIR), notification_service())
    return [service for service in found if hasattr(service, "clients")]


def _read_switches() -> dict[str, Hold | None] | None:
    try:
        return {name: _HOLDS[mode] for name, mode in CircuitSwitch.objects.values_list("name", "mode")}
    except (DatabaseError, InterfaceError, PoolTimeout):
        return None
    finally:
        connection.close()


def process_name() -> str:
    """This process, as staff know it: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def own_reports() -> list[CircuitReport]:
    """The circuits of this process."""
    name = process_name()
    return [
        CircuitReport(name, key, one.state, one.retry_after, one.held is not None) for key, one in breakers().items()
    ]


async def report() -> None:
    """Tell Redis how the circuits of this process are; without Redis nobody is told."""
    name = process_name()
    try:
        async with asyncio.timeout(LIMITS.redis_timeout_ms / 1000):
            pipeline = redis_client().pipeline(transaction=False)
            pipeline.set(f"{_INDEX}:{name}", msgspec.json.encode(own_reports()), ex=REPORT_SECONDS)
            pipeline.zadd(_INDEX, {name: time.time()})
            await pipeline.execute()
    except (RedisError, OSError, TimeoutError):
        return


def list_reports() -> list[CircuitReport] | None:
    """The circuits of all processes that reported lately, by circuit and process; None where Redis does not answer.

    Synchronous, for the admin.
    """
    seconds = LIMITS.redis_timeout_ms / 1000
    client = redis.Redis.from_url(
        str(settings.CACHES["default"]["LOCATION"]), socket_timeout=seconds, socket_connect_timeout=seconds
    )
    try:
        names = [name.decode() for name in client.zrange(_INDEX, 0, -1)]  # type: ignore[union-attr]
        found = client.mget([f"{_INDEX}:{name}" for name in names]) if names else []
        gone = [name for name, value in zip(names, found, strict=True) if value is None]  # type: ignore[arg-type]
        if gone:
            client.zrem(_INDEX, *gone)
    except (RedisError, OSError):
        return None
    finally:
        client.close()
    reports = [
        one
        for value in found  # type: ignore[union-attr]
        if value is not None
        for one in msgspec.json.decode(value, type=list[CircuitReport])
    ]
    order = {name: place for place, name in enumerate(DEPENDENCIES)}
    return sorted(reports, key=lambda one: (order.get(one.name, len(order)), one.process))  # type: ignore[call-overload]
