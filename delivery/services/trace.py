"""A message's way, step by step and without its content, for its sender (docs/protocol.md §7 `messages/{id}/trace`).

What the tables know of every message is told of every message: accepted, committed, acknowledged, read. What only the
processes know (published, pushed, retried) is kept for the messages that WHISPR_TRACE names.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from delivery.store import trace as store
from delivery.store.status import list_delivery
from messaging.events import Actor, DeliveryView
from whispr.kernel import database
from whispr.kernel.errors import NotFound
from whispr.kernel.limits import LIMITS

PURGE_BATCH = 5_000
WORK_SECONDS = 30.0


class TraceStep(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One step; `process` and `deviceId` where a process noted it, `userId` of a recipient's."""

    step: str
    at: datetime
    process: str | None = None
    device_id: UUID | None = None
    user_id: UUID | None = None


class TraceView(msgspec.Struct, frozen=True, rename="camel"):
    """The way of a message, in the order of time."""

    message_id: UUID
    conversation_id: UUID
    seq: int
    steps: list[TraceStep]


async def get_trace(actor: Actor, message_id: UUID) -> TraceView:
    """The steps of a message of the actor. Raises NotFound for anybody else's."""
    return await database.run(_read, actor, message_id)


def _read(actor: Actor, message_id: UUID) -> TraceView:
    recipients = list_delivery(actor.user_id, message_id)
    place = store.get_place(message_id)
    if recipients is None or place is None:
        raise NotFound
    return _view(message_id, place, recipients)


def get_trace_for_staff(message_id: UUID) -> TraceView:
    """The steps of any message, for the admin, on a thread that may block. Raises NotFound where there is none."""
    place = store.get_place(message_id)
    if place is None:
        raise NotFound
    return _view(message_id, place, list_delivery(place.sender_id, message_id) or [])


def _view(message_id: UUID, place: store.Place, recipients: Sequence[DeliveryView]) -> TraceView:
    # The gate gave the message its id, a UUIDv7: milliseconds in its first 48 bits.
    accepted = datetime.fromtimestamp((message_id.int >> 80) / 1000, UTC)
    noted = store.list_steps(message_id)
    steps = [TraceStep("accepted", min(accepted, place.sent_at))]
    if not any(row.step == "committed" for row in noted):
        steps.append(TraceStep("committed", place.sent_at))
    steps += [TraceStep(row.step, row.at, row.process, row.device_id) for row in noted]
    for one in recipients:
        if one.delivered_at is not None:
            steps.append(TraceStep("acknowledged", one.delivered_at, user_id=one.user_id))
        if one.read_at is not None:
            steps.append(TraceStep("read", one.read_at, user_id=one.user_id))
    return TraceView(message_id, place.conversation_id, place.seq, sorted(steps, key=lambda step: step.at))


async def traces_purge() -> int:
    """Delete the steps older than `LIMITS.trace_retention`, for at most 30 seconds; how many."""
    ends = asyncio.get_running_loop().time() + WORK_SECONDS
    purged = 0
    while asyncio.get_running_loop().time() < ends:
        deleted = await database.run(store.trace_purge, LIMITS.trace_retention, PURGE_BATCH)
        purged += deleted
        if deleted < PURGE_BATCH:
            break
    return purged
