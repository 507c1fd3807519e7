"""A deadline for what answers from this system's own tables and disk."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from whispr.kernel.errors import TemporaryUnavailable, Timeout

T = TypeVar("T")


async def within(seconds: float, work: Awaitable[T]) -> T:
    """The result of `work`. Raises TemporaryUnavailable where there is none within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except (TimeoutError, Timeout):
        raise TemporaryUnavailable(retry_after=5.0) from None
