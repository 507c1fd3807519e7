"""Scheduled messages: create, list, change, cancel, and send what is due (docs/protocol.md §7 `messages/scheduled`).

A scheduled send passes the gate of every send twice: when it is created, and when it is fired, with the device's key of
that moment. Membership, target and key are decided by the log, under the conversation's lock, as for every send.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from delivery.services.dead_letters import dead_letter_kind
from delivery.services.push_bell import pushes_soon
from messaging.events import Actor
from messaging.fanout import publish_entries, publish_user_push, trace
from messaging.personal import ScheduledList, ScheduledView, ScheduleMessage, UpdateScheduled
from messaging.requests import SendMessage
from messaging.services.drafts import publish_draft
from messaging.services.media import access_media, get_media_service, media_links_soon
from messaging.services.permissions import access_permission
from messaging.services.send import access_quota, access_send
from messaging.store import scheduled as store
from messaging.store import scheduled_firing as firing
from messaging.store.log import NewEntry
from messaging.store.scheduled_firing import (
    Claim,
    Fired,
    Verdict,
    rekeyed_verdict,
    revoked_verdict,
    unreadable_verdict,
    verdict_of,
)
from whispr.kernel import database, telemetry
from whispr.kernel.errors import BadRequest, ClientRandomReused, InvalidMedia
from whispr.kernel.failpoints import hit
from whispr.kernel.ids import new_id
from whispr.kernel.limits import LIMITS
from whispr.kernel.stopping import is_stopping

log = logging.getLogger(__name__)
# Rows claimed and sent in one transaction: its conversations stay locked for some 20 ms.
CLAIM_BATCH = 64
# A worker that died holds its rows for so long, then another takes them over. A batch takes a fraction of a second.
LEASE_SECONDS = 20.0
WORK_SECONDS = 30.0
PURGE_BATCH = 1_000


async def scheduled_create(actor: Actor, request: ScheduleMessage) -> tuple[ScheduledView, bool]:
    """Take a send for later: the view, and False where the same send was scheduled under this key before.

    It counts as one of the sender's sends a minute. Raises what `access_send` and `access_quota` say, BadRequest for a
    time that is past or over `LIMITS.schedule_ahead_seconds` ahead, and what `store.scheduled_create` says.
    """
    send, entry = await _access(actor, _send_of(request), request.scheduled_for)
    known = await database.run(store.get_by_key, actor.user_id, request.client_random)
    if known is not None:
        if known[0] != entry.fingerprint:
            raise ClientRandomReused()
        return known[1], False
    _check_time(request.scheduled_for)
    new = store.NewScheduled(new_id(), actor, send, entry.fingerprint, request.scheduled_for.astimezone(UTC))
    view, draft, created = await database.run(store.scheduled_create, new)
    if created:
        _publish([(actor.user_id, view)])
        if draft is not None:
            publish_draft(actor, view.conversation_id, draft, None)
    return view, created


async def scheduled_update(
    actor: Actor, scheduled_id: UUID, body: UpdateScheduled, send: SendMessage | None
) -> ScheduledView:
    """Give a message that waits another time, another content (`send`, whole), or both.

    A message that is to be encrypted again waits for its time again with a new content, and is sent at once where that
    is past. Raises NotFound, EditConflict where it is sent or failed, and what `scheduled_create` says.
    """
    at = None if body.scheduled_for is None else body.scheduled_for.astimezone(UTC)
    if at is not None:
        _check_time(at)
    fingerprint = b""
    if send is not None:
        send, entry = await _access(actor, send, at)
        fingerprint = entry.fingerprint
    elif at is None:
        raise BadRequest("scheduledFor or a whole send is needed.")
    else:
        media_id = (await get_scheduled(actor, scheduled_id)).media_id
        if media_id is not None:  # its medium waits longer now
            until = _media_until(at)
            await get_media_service().validate_media_access(actor.user_id, media_id, keep_until=until)
    view = await database.run(store.scheduled_update, actor, scheduled_id, at, send, fingerprint)
    _publish([(actor.user_id, view)])
    return view


async def scheduled_cancel(actor: Actor, scheduled_id: UUID) -> None:
    """Cancel: once this is answered, the message is never sent. Raises NotFound, EditConflict where it was sent."""
    conversation_id = await database.run(store.scheduled_delete, actor.user_id, scheduled_id)
    body = {"kind": "scheduled", "id": scheduled_id, "conversationId": conversation_id, "state": "cancelled"}
    _push(actor.user_id, conversation_id, body)


async def get_scheduled(actor: Actor, scheduled_id: UUID) -> ScheduledView:
    """One of the actor's scheduled messages, sent ones too. Raises NotFound."""
    return await database.run(store.get_scheduled, actor.user_id, scheduled_id)


async def list_scheduled(actor: Actor, limit: int, after: UUID | None = None) -> ScheduledList:
    """The actor's messages that wait, are to be encrypted again or failed; the earliest time first. A page ends early
    at `LIMITS.page_bytes`."""
    page, more = await database.run(store.list_scheduled, actor.user_id, limit, after, LIMITS.page_bytes)
    return ScheduledList(page, page[-1].id if more else None)


def _send_of(request: ScheduleMessage) -> SendMessage:
    values = msgspec.structs.asdict(request)
    del values["scheduled_for"]
    return SendMessage(**values)


async def _access(actor: Actor, send: SendMessage, at: datetime | None) -> tuple[SendMessage, NewEntry]:
    if send.type not in ("text", "media", "ephemeral"):
        raise BadRequest("Only messages of type text, media and ephemeral are scheduled.")
    entry = access_send(actor, send)
    quota = access_quota(actor)
    if quota is not None:
        await quota
    if entry.media_id is not None and (await access_media(entry, _media_until(at))).media is None:
        raise InvalidMedia()
    return send, entry


def _media_until(at: datetime | None) -> datetime:
    """Until when a scheduled message's medium is kept: a day beyond its time, or beyond the latest where it is open."""
    latest = datetime.now(UTC) + timedelta(seconds=LIMITS.schedule_ahead_seconds)
    return (latest if at is None else min(at, latest)) + timedelta(days=1)


def _check_time(moment: datetime) -> None:
    ahead = moment - datetime.now(UTC)
    if ahead <= timedelta():
        raise BadRequest("scheduledFor is past.")
    if ahead > timedelta(seconds=LIMITS.schedule_ahead_seconds):
        raise BadRequest(f"scheduledFor may be {LIMITS.schedule_ahead_seconds} seconds ahead.")


# --- firing


async def scheduled_send_due() -> int:
    """Send what is due, for at most 30 seconds; how many rows were decided. Any number of these may run at once."""
    ends = asyncio.get_running_loop().time() + WORK_SECONDS
    decided = 0
    while asyncio.get_running_loop().time() < ends and not is_stopping():
        claims = await database.run(firing.scheduled_claim, CLAIM_BATCH, LEASE_SECONDS)
        if not claims:
            break
        hit("scheduled.after_claim")
        await claims_fire(claims)
        hit("scheduled.after_effect")
        decided += len(claims)
    return decided


async def claims_fire(claims: Sequence[Claim]) -> None:
    """Send the claimed messages; what cannot be sent is settled: failed, to be encrypted again, or tried later."""
    shots: list[tuple[Claim, NewEntry]] = []
    verdicts: list[Verdict] = []
    for claim in claims:
        if claim.actor is None:
            verdicts.append(revoked_verdict(claim))
            continue
        if claim.request is None:
            verdicts.append(unreadable_verdict(claim))
            continue
        if claim.rekeyed:
            verdicts.append(rekeyed_verdict(claim))
            continue
        try:
            entry = await access_media(await access_permission(access_send(claim.actor, claim.request)))
        except Exception as error:  # a coded refusal, or a fault that is this message's alone
            verdicts.append(_verdict(claim, error))
            continue
        version = claim.members_version
        shots.append((claim, msgspec.structs.replace(entry, members_version=version, draft_before=None)))
    verdicts += await _fire(shots, patient=False)
    if verdicts:
        _publish(await database.run(firing.scheduled_settle, verdicts))


async def _fire(shots: Sequence[tuple[Claim, NewEntry]], *, patient: bool) -> list[Verdict]:
    """Fire together; one by one what did not go together, so that one message's trouble is its own."""
    if not shots:
        return []
    try:
        fired = await database.run(firing.scheduled_fire, shots, patient)
    except Exception as error:
        if len(shots) == 1:
            return [_verdict(shots[0][0], error)]
        left = shots
    else:
        _publish_fired(fired)
        waiting = {claim.id for claim in fired.busy}
        left = [shot for shot in shots if shot[0].id in waiting]
    verdicts: list[Verdict] = []
    for shot in left:
        verdicts += await _fire([shot], patient=True)
    return verdicts


def _verdict(claim: Claim, error: Exception) -> Verdict:
    verdict = verdict_of(claim, error)
    if verdict.reason == "internal_error":
        log.error("scheduled message %s failed: %s", claim.id, type(error).__name__, exc_info=error)
    return verdict


def _publish_fired(fired: Fired) -> None:
    if trace.every:
        for one in fired.appended:
            trace.record(one.outcome.message_id, "retried" if one.entry is None else "committed")
    publish_entries([one.entry for one in fired.appended if one.entry is not None])
    if any(one.entry is not None and one.entry.media_id is not None for one in fired.appended):
        media_links_soon()
    if any(one.entry is not None for one in fired.appended):
        pushes_soon()
    telemetry.sends.labels("sent").inc(sum(one.entry is not None for one in fired.appended))
    _publish(fired.changed)


def _publish(changed: Sequence[tuple[UUID, ScheduledView]]) -> None:
    """Tell the authors' devices, without the content: it is theirs to fetch, and seldom needed."""
    for user_id, view in changed:
        if view.state != "scheduled":
            telemetry.scheduled.labels(view.state).inc()
        body = {"kind": "scheduled"} | msgspec.to_builtins(view.summary(), builtin_types=(UUID, datetime))
        _push(user_id, view.conversation_id, body)


def _push(user_id: UUID, conversation_id: UUID, body: dict[str, Any]) -> None:
    publish_user_push(user_id, "personal_update", msgspec.json.encode(body), conversation_id=conversation_id)


async def _requeue(keys: Sequence[str]) -> list[str]:
    return [str(id_) for id_ in await database.run(firing.scheduled_requeue, [UUID(key) for key in keys])]


dead_letter_kind(firing.SCHEDULED, requeue=_requeue)


async def scheduled_purge() -> int:
    """Delete the rows that were sent or failed longer ago than `LIMITS.dedup_retention`; how many."""
    purged = 0
    while True:
        deleted = await database.run(firing.scheduled_purge, LIMITS.dedup_retention, PURGE_BATCH)
        purged += deleted
        if deleted < PURGE_BATCH:
            return purged
