"""Erasing expired messages, for the worker; nobody reads them meanwhile, whatever it does (docs/protocol.md §8.7)."""

import asyncio
import logging
from collections.abc import Sequence
from uuid import UUID

from delivery.services.dead_letters import dead_letter_add, dead_letter_kind, failure_of
from messaging.fanout import publish_entries
from messaging.store import expiry as store
from whispr.kernel import database
from whispr.kernel.errors import WhisprError
from whispr.kernel.stopping import is_stopping

log = logging.getLogger(__name__)

EXPIRY = "expiry"  # the kind of its dead letters; the key is the conversation
# Messages looked up at a time; each conversation's share of them is a transaction.
BATCH = 1_000
# Within CELERY_TASK_SOFT_TIME_LIMIT; the next run goes on. Runs may overlap: rows are claimed under their lock.
WORK_SECONDS = 30.0


async def messages_expire() -> int:
    """Erase what expired and tell its conversations, for at most 30 seconds; how many messages were done.

    A conversation that is busy is waited for after the others. One that stays locked is left to the next run, and so is
    one that fails, which is a dead letter as well: the others are done all the same.
    """
    ends = asyncio.get_running_loop().time() + WORK_SECONDS
    done = 0
    passed: set[UUID] = set()
    while asyncio.get_running_loop().time() < ends and not is_stopping():
        due = await database.run(store.list_due, BATCH, passed)
        count = sum(map(len, due.values()))
        for patient in (False, True):
            for conversation_id in tuple(due):
                if await _expire(conversation_id, due[conversation_id], patient, passed):
                    done += len(due.pop(conversation_id))
                elif conversation_id in passed:
                    del due[conversation_id]
        passed |= due.keys()
        if count < BATCH:
            break
    return done


async def _expire(conversation_id: UUID, message_ids: Sequence[UUID], patient: bool, passed: set[UUID]) -> bool:
    """Whether it was done; a conversation that has a fault is one to pass over."""
    try:
        entries = await database.run(store.messages_expire, conversation_id, message_ids, patient)
    except WhisprError as error:
        log.warning("Expired messages wait for the next run: %s", error.code)
        return False
    except Exception as error:  # a fault that is this conversation's alone
        log.exception("The expired messages of %s were not erased", conversation_id)
        passed.add(conversation_id)
        await dead_letter_add(EXPIRY, str(conversation_id), *failure_of(error))
        return False
    if entries is None:
        return False
    publish_entries(entries)
    return True


async def _requeue(keys: Sequence[str]) -> Sequence[str]:
    """Every run tries them again by itself."""
    return keys


dead_letter_kind(EXPIRY, requeue=_requeue)
