"""Socket tickets in Redis: written once, taken once (docs/protocol.md §2).

Only a hash of a ticket is stored, so that who reads Redis cannot connect with what is found there.
"""

import asyncio

from redis.exceptions import RedisError

from whispr.kernel.errors import TemporaryUnavailable
from whispr.kernel.redis import redis_client, redis_close

# A ticket is no hot path: a second for Redis to answer, then the client is told to use another way or to come again.
WAIT_SECONDS = 1.0
_PREFIX = "whispr:ticket:"


async def ticket_put(digest: str, value: bytes, seconds: int) -> None:
    """Keep `value` under the ticket's `digest` for `seconds`. Raises TemporaryUnavailable without Redis."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await redis_client().set(_PREFIX + digest, value, ex=seconds, nx=True)
    except (RedisError, OSError, TimeoutError) as error:
        raise TemporaryUnavailable("Tickets cannot be kept right now.", retry_after=5.0) from error


async def ticket_take(digest: str) -> bytes | None:
    """The value, which is gone from now on; None where there is none. Raises TemporaryUnavailable without Redis."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            value: bytes | None = await redis_client().getdel(_PREFIX + digest)
    except (RedisError, OSError, TimeoutError) as error:
        raise TemporaryUnavailable("Tickets cannot be read right now.", retry_after=5.0) from error
    return value


async def tickets_close() -> None:
    """Close this event loop's connections: at the end of a process, and of a test."""
    await redis_close()
