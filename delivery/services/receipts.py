"""Receipts: delivered and read, cumulative, group-committed, told to the senders (specification §4.1, docs/protocol.md
§4.5)."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from delivery.store.receipts import NewReceipt, Recorded, list_places, receipts_write
from messaging.events import Actor
from messaging.fanout import publish_user_push
from messaging.requests import Acks
from whispr.kernel import database
from whispr.kernel.batch import Busy, GroupCommit
from whispr.kernel.errors import BadRequest, Timeout
from whispr.kernel.failpoints import hit
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop

# Nobody waits for an acknowledgement's own outcome, so receipts come together for that long (docs/decisions/0015).
REST_SECONDS = 0.015
# Who else hears in which conversations something became delivered or read, by this process.
on_moved: list[Callable[[set[UUID]], None]] = []
_EVENTS = {"delivered": "delivery_status_update", "read": "read_status_update"}


def _flush(items: Sequence[NewReceipt], patient: bool) -> list[Recorded | Exception | Busy]:
    return database.call_keeping(receipts_write, items, patient)


def _publish(recorded: Sequence[Recorded]) -> None:
    hit("receipts.before_reply")
    moved = {one.moved for one in recorded if one.moved is not None}
    if moved:
        for listener in on_moved:
            listener(moved)
    for one in recorded:
        for update in one.updates:
            publish_user_push(
                update.to_user_id,
                _EVENTS[update.receipt.status],
                msgspec.json.encode(update.receipt),
                conversation_id=update.receipt.conversation_id,
                origin=update.origin,
            )


_commits: PerLoop[GroupCommit[UUID, NewReceipt, Recorded]] = PerLoop(
    lambda: GroupCommit(
        "receipts",
        _flush,
        on_flushed=_publish,
        batch_max=LIMITS.receipts_batch_max,
        waiting_max=LIMITS.receipts_waiting_max,
        rest=REST_SECONDS,
    )
)


def receipt_submit(
    actor: Actor, conversation_id: UUID, up_to: int, *, read: bool, origin: object | None = None
) -> "asyncio.Future[Recorded]":
    """Queue one cumulative receipt of the actor's device; the future ends when it is committed.

    The future raises NotFound, AckAboveHead, TemporaryUnavailable, Timeout. Raises Overloaded when the queue is full.
    """
    item = NewReceipt(actor.user_id, actor.device_id, conversation_id, up_to, read, origin)
    return _commits.get().submit(conversation_id, item)


def receipts_submit(
    actor: Actor, places: Sequence[tuple[UUID, int]], *, read: bool, origin: object | None = None
) -> "asyncio.Future[Any]":
    """Queue cumulative receipts, a (conversation, up_to) each, at least one; the future ends when all are committed,
    or raises as soon as one of them does (`receipt_submit`): the others stand. Raises Overloaded when the queue is
    full; what was queued before stands.
    """
    futures = [receipt_submit(actor, conversation, up_to, read=read, origin=origin) for conversation, up_to in places]
    return futures[0] if len(futures) == 1 else asyncio.gather(*futures)


def list_ack_places(acks: Acks) -> list[tuple[UUID, int]] | None:
    """The (conversation, up_to) pairs of the first two forms of an acknowledgement; None for the form by message ids.

    Raises BadRequest where not exactly one form is there.
    """
    forms = [
        acks.conversation_id is not None or acks.up_to is not None,
        acks.acks is not None,
        acks.message_ids is not None,
    ]
    if sum(forms) != 1:
        raise BadRequest("Give conversationId and upTo, or acks, or messageIds.")
    if acks.acks is not None:
        return [(ack.conversation_id, ack.up_to) for ack in acks.acks]
    if acks.message_ids is not None:
        return None
    if acks.conversation_id is None or acks.up_to is None:
        raise BadRequest("conversationId and upTo belong together.")
    return [(acks.conversation_id, acks.up_to)]


async def list_message_places(actor: Actor, acks: Acks) -> list[tuple[UUID, int]]:
    """What an acknowledgement by message ids comes to; ids that are unknown or foreign are ignored: they say
    nothing."""
    return await database.run(list_places, actor.user_id, acks.message_ids or [])


async def receipts_record(actor: Actor, acks: Acks, *, read: bool, origin: object | None = None) -> None:
    """Record an acknowledgement in any of its three forms (docs/protocol.md §2 `message_received`, `message_read`, §3
    `acks`).

    Message ids that are unknown or foreign are ignored: they say nothing. Raises BadRequest, NotFound (a conversation
    that the user was never in), AckAboveHead, Timeout, TemporaryUnavailable; receipts of other conversations stand.
    """
    places = list_ack_places(acks)
    if places is None:
        places = await list_message_places(actor, acks)
    futures = [receipt_submit(actor, conversation, up_to, read=read, origin=origin) for conversation, up_to in places]
    if not futures:
        return
    _, late = await asyncio.wait(futures, timeout=LIMITS.request_seconds)
    if late:
        raise Timeout()
    for error in [future.exception() for future in futures]:
        if error is not None:
            raise error
