"""Erasing expired messages, for the worker; nobody reads them meanwhile, whatever it does (docs/protocol.md §8.7)."""

import asyncio
import logging

from messaging.fanout import publish_entries
from messaging.store import expiry as store
from whispr.kernel import database
from whispr.kernel.errors import WhisprError

log = logging.getLogger(__name__)

# Messages looked up at a time; each conversation's share of them is a transaction.
BATCH = 1_000
# Within CELERY_TASK_SOFT_TIME_LIMIT; the next run goes on. Runs may overlap: rows are claimed under their lock.
WORK_SECONDS = 30.0


async def messages_expire() -> int:
    """Erase what expired and tell its conversations, for at most 30 seconds; how many messages were due.

    A conversation that is busy is waited for after the others; one that stays locked is left to the next run.
    """
    ends = asyncio.get_running_loop().time() + WORK_SECONDS
    found = 0
    while asyncio.get_running_loop().time() < ends:
        due = await database.run(store.list_due, BATCH)
        count = sum(map(len, due.values()))
        left = count
        for patient in (False, True):
            for conversation_id, message_ids in tuple(due.items()):
                try:
                    entries = await database.run(store.messages_expire, conversation_id, message_ids, patient)
                except WhisprError as error:
                    log.warning("Expired messages wait for the next run: %s", error.code)
                    continue
                if entries is not None:
                    publish_entries(entries)
                    left -= len(due.pop(conversation_id))
        found += count - left
        if count < BATCH or left == count:
            break
    return found
