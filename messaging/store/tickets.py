"""Socket tickets in Redis: written once, taken once (docs/protocol.md §2).

Only a hash of a ticket is stored, so that who reads Redis cannot connect with what is found there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.exceptions import RedisError

from whispr.kernel.errors import TemporaryUnavailable
from whispr.kernel.redis import RedisAway, redis_access, redis_answered, redis_client, redis_close, redis_failed

# A ticket is no hot path: a second for Redis to answer, then the client is told to use another way or to come again.
WAIT_SECONDS = 1.0
_PREFIX = "whispr:ticket:"


async def ticket_put(digest: str, value: bytes, seconds: int) -> None:
    """Keep `value` under the ticket's `digest` for `seconds`. Raises TemporaryUnavailable without Redis."""
    try:
        async with _asked():
            await redis_client().set(_PREFIX + digest, value, ex=seconds, nx=True)
    except (RedisAway, RedisError, OSError, TimeoutError) as error:
        raise TemporaryUnavailable("Tickets cannot be kept right now.", retry_after=5.0) from error


async def ticket_take(digest: str) -> bytes | None:
    """The value, which is gone from now on; None where there is none. Raises TemporaryUnavailable without Redis."""
    try:
        async with _asked():
            value: bytes | None = await redis_client().getdel(_PREFIX + digest)
    except (RedisAway, RedisError, OSError, TimeoutError) as error:
        raise TemporaryUnavailable("Tickets cannot be read right now.", retry_after=5.0) from error
    return value


@asynccontextmanager
async def _asked() -> AsyncIterator[None]:
    """One call: at once refused while Redis is known to be away, in time or not at all else."""
    ticket = redis_access()
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            yield
    except (RedisError, OSError, TimeoutError):
        redis_failed(ticket)
        raise
    redis_answered(ticket)


async def tickets_close() -> None:
    """Close this event loop's connections: at the end of a process, and of a test."""
    await redis_close()
