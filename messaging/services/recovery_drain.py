"""The end of the recovery queue: what waited for the database is appended when it is back (docs/protocol.md "Pending
sends")."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import msgspec

from delivery.services.dead_letters import dead_letter_add, dead_letter_kind
from messaging.fanout import publish_user_push, trace
from messaging.store import recovery as queue
from messaging.store.log import Appended, NewEntry
from messaging.store.recovery import Place, Queued
from whispr.kernel import telemetry
from whispr.kernel.batch import Busy
from whispr.kernel.errors import Overloaded, TemporaryUnavailable, Timeout, WhisprError
from whispr.kernel.failpoints import hit
from whispr.kernel.limits import LIMITS

log = logging.getLogger(__name__)

# Appends entries in order and publishes them; an outcome each, or it raises and none of them was taken.
Commit = Callable[[Sequence[NewEntry]], Awaitable[Sequence[Appended | Exception | Busy]]]

BATCH = 64  # entries of one round: at most 4 MiB of content
# Rounds that find nothing but conversations held by something else, and the pause after each.
BUSY_ROUNDS = 20
BUSY_SECONDS = 0.1


async def pending_drain(commit: Commit, seconds: float) -> int:
    """Append what waits in the queue, for about `seconds`: by priority, and each conversation in order; how many
    entries were decided.

    One drainer at a time; the others return at once. Each entry is appended at least once from the queue and once in
    the log, by its deduplication key. Raises RedisAway, and what the database raises; then the rest stays.
    """
    token = await queue.lease_take()
    if token is None:
        return 0
    decided = busy = 0
    held: set[UUID] = set()  # by other transactions: the others go on meanwhile
    ends = asyncio.get_running_loop().time() + seconds
    try:
        while busy < BUSY_ROUNDS and asyncio.get_running_loop().time() < ends:
            batch = await queue.list_queued(token, BATCH, held)
            if batch:
                undecided = await _drain_batch(batch, commit)
                decided += len(batch) - len(undecided)
                held.update(place.conversation_id for place in undecided)
            elif batch is None or not held:
                break
            else:  # nothing is left but what was held: look again
                busy += 1
                held.clear()
                await asyncio.sleep(BUSY_SECONDS)
    finally:
        await queue.lease_release(token)
        for priority, waiting in (await queue.count_pending()).items():
            telemetry.pending_waiting.labels(priority).set(waiting)
    if decided:
        log.info("The recovery queue: %d sends were decided", decided)
    return decided


async def _drain_batch(batch: Sequence[Queued], commit: Commit) -> list[Place]:
    """Decide what can be decided; the places of what waits for others."""
    there = [(one.place, one.entry) for one in batch if one.entry is not None]
    for one in batch:
        if one.entry is None:
            await _refused(one.place, "expired" if one.place.ttl_ms else "lost", {})
    outcomes = await commit([entry for _, entry in there]) if there else []
    hit("recovery.after_commit")
    settled = [one.place for one in batch if one.entry is None]
    poison: list[Place] = []
    waiting: list[Place] = []
    for (place, _), outcome in zip(there, outcomes, strict=True):
        if isinstance(outcome, Busy | TemporaryUnavailable | Timeout | Overloaded):
            waiting.append(place)
            continue
        if isinstance(outcome, WhisprError):
            await _refused(place, outcome.code, outcome.body())
        elif isinstance(outcome, Exception):
            await dead_letter_add("pending", str(place.message_id), "internal_error", type(outcome).__name__)
            await _refused(place, "internal_error", {})
            poison.append(place)
            continue
        else:
            telemetry.pending_drained.labels(outcome.outcome.status).inc()
            if outcome.entry is not None:
                trace.record(place.message_id, "degraded", place.accepted_ms)
        settled.append(place)
    await queue.pending_settle(settled)
    await queue.pending_settle(poison, LIMITS.dead_letter_retention * 1000)
    return waiting


async def _refused(place: Place, code: str, body: dict[str, object]) -> None:
    """Tell the author's devices, and staff, that a send which was `pending` became no message."""
    telemetry.pending_drained.labels(code).inc()
    if code not in ("internal_error", "expired"):
        await dead_letter_add("pending", str(place.message_id), code)
    said = {
        "kind": "refused",
        "conversationId": place.conversation_id,
        "messageId": place.message_id,
        "clientRandom": place.client_random,
        "reason": code,
        **({"details": body["details"]} if "details" in body else {}),
    }
    payload = msgspec.json.encode(said)
    publish_user_push(place.sender_id, "personal_update", payload, conversation_id=place.conversation_id)


async def _requeue(keys: Sequence[str]) -> list[str]:
    """Staff's wish: let entries be tried again whose append failed for no known reason. What was refused is gone."""
    there = []
    for key in keys:
        entry = await queue.dead_take(UUID(key))
        if entry is not None and isinstance((await queue.pending_enqueue([entry]))[0], UUID):
            there.append(key)
    return there


async def _discard(keys: Sequence[str]) -> list[str]:
    return [key for key in keys if await queue.dead_take(UUID(key)) is not None]


dead_letter_kind("pending", requeue=_requeue, discard=_discard)
