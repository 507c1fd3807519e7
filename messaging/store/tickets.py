"""Socket tickets in Redis: written once, taken once (PROTOCOL.md §2 "Authentication").

Only a hash of a ticket is stored, so that who reads Redis cannot connect with what is found there.
"""

import asyncio

from django.conf import settings
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from whispr.kernel.errors import TemporaryUnavailable

# A ticket is no hot path: a second for Redis to answer, then the client is told to use another way or to come again.
WAIT_SECONDS = 1.0
CONNECTIONS_MAX = 16
_PREFIX = "whispr:ticket:"

# A client belongs to the event loop that its connections were opened in: one loop a process, but many in tests.
_clients: dict[asyncio.AbstractEventLoop, Redis] = {}


def _client() -> Redis:
    loop = asyncio.get_running_loop()
    client = _clients.get(loop)
    if client is None:
        for other in [other for other in _clients if other.is_closed()]:
            del _clients[other]
        pool = BlockingConnectionPool.from_url(
            str(settings.CACHES["default"]["LOCATION"]),
            max_connections=CONNECTIONS_MAX,
            timeout=WAIT_SECONDS,
            socket_timeout=WAIT_SECONDS,
            socket_connect_timeout=WAIT_SECONDS,
            # Once more at once: a connection that Redis closed while it was idle is found out only by using it.
            retry=Retry(NoBackoff(), 1),
        )
        client = _clients[loop] = Redis.from_pool(pool)
    return client


async def ticket_put(digest: str, value: bytes, seconds: int) -> None:
    """Keep `value` under the ticket's `digest` for `seconds`. Raises TemporaryUnavailable without Redis."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await _client().set(_PREFIX + digest, value, ex=seconds, nx=True)
    except (RedisError, OSError, TimeoutError) as error:
        raise TemporaryUnavailable("Tickets cannot be kept right now.", retry_after=5.0) from error


async def ticket_take(digest: str) -> bytes | None:
    """The value, which is gone from now on; None where there is none. Raises TemporaryUnavailable without Redis."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            value: bytes | None = await _client().getdel(_PREFIX + digest)
    except (RedisError, OSError, TimeoutError) as error:
        raise TemporaryUnavailable("Tickets cannot be read right now.", retry_after=5.0) from error
    return value


async def tickets_close() -> None:
    """Close this event loop's connections: at the end of a process, and of a test."""
    client = _clients.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.aclose()
