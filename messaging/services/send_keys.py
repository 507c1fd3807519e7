"""Deduplication keys past their retention are purged, in batches that hold no lock for long (docs/protocol.md §8.2)."""

import asyncio

from messaging.store import send_keys as store
from whispr.kernel import database
from whispr.kernel.limits import LIMITS

# 5,000 deletions by primary key are some 50 ms of one transaction.
BATCH = 5_000
WORK_SECONDS = 30.0


async def send_keys_purge() -> int:
    """Delete what is older than `LIMITS.dedup_retention`, for at most 30 seconds; how many keys went."""
    ends = asyncio.get_running_loop().time() + WORK_SECONDS
    purged = 0
    while asyncio.get_running_loop().time() < ends:
        deleted = await database.run(store.send_keys_purge, LIMITS.dedup_retention, BATCH)
        purged += deleted
        if deleted < BATCH:
            break
    return purged
