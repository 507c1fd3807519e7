"""Sending: the gate, then the log, then the fan-out. Every way in ends here (docs/architecture.md "The way of a
message").

The gate is what needs no lock: shape, size, signature, quota. Whether the sender is a member, the key is a duplicate
and the target is live is decided under the conversation's lock, by the log.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from functools import cache
from uuid import UUID

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from delivery.services.push_bell import pushes_soon
from messaging.emoji import check_emoji
from messaging.events import Actor, EntryType, SendOutcome
from messaging.fanout import publish_entries, trace
from messaging.fingerprints import send_fingerprint
from messaging.requests import UNNAMED, SendMessage, decode_base64, encode_metadata
from messaging.services.drafts import publish_draft
from messaging.services.media import access_media, media_links_soon
from messaging.services.permissions import access_permission
from messaging.services.recovery import Detour
from messaging.services.recovery_drain import pending_drain
from messaging.services.toggles import Toggles
from messaging.services.typing import typing_end
from messaging.signatures import envelope, verify
from messaging.store.log import Appended, NewEntry, entries_append
from trust.services.quota import quota_take
from whispr.kernel import database, telemetry
from whispr.kernel.batch import Busy, GroupCommit, Waiting
from whispr.kernel.errors import BadRequest, DatabaseAway, Forbidden, InvalidSignature, Timeout, TooLarge, WhisprError
from whispr.kernel.failpoints import hit
from whispr.kernel.ids import new_id
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop
from whispr.kernel.overload import access_load, queues
from whispr.kernel.redis import RedisAway

DRAFTED = ("text", "media", "ephemeral")  # what people write: an edit or a reaction never was the draft


def _flush(items: Sequence[NewEntry], patient: bool) -> list[Appended | Exception | Busy]:
    return database.call_keeping(entries_append, items, patient)


RECOVER_SECONDS = 30.0  # of one run of the task, which comes again
_WRITTEN = ("text", "media", "ephemeral")  # what somebody was typing


def _publish(appended: Sequence[Appended]) -> None:
    hit("send.before_reply")
    fresh = [one for one in appended if one.entry is not None]
    for one in fresh:
        sent = getattr(one.origin, "on_sent", None)
        if sent is not None:
            sent(one.outcome.conversation_id, one.outcome.seq)
    if trace.every:
        for one in appended:
            trace.record(one.outcome.message_id, "retried" if one.entry is None else "committed")
    publish_entries([one.entry for one in fresh if one.entry is not None])
    hit("send.after_publish")
    if fresh:
        pushes_soon()
    if any(one.entry is not None and one.entry.media_id is not None for one in fresh):
        media_links_soon()
    for one in fresh:
        if one.entry is not None and one.entry.type in _WRITTEN:
            typing_end(one.entry.sender_id, one.entry.conversation_id)
        if one.draft_revision is not None and one.entry is not None and one.entry.sender_device_id is not None:
            author = Actor(one.entry.sender_id, one.entry.sender_device_id)
            publish_draft(author, one.entry.conversation_id, one.draft_revision, None)
    telemetry.sends.labels("sent").inc(len(fresh))
    telemetry.sends.labels("duplicate").inc(len(appended) - len(fresh))


async def entries_commit(entries: Sequence[NewEntry]) -> list[Appended | Exception | Busy]:
    """Append entries in their order, apart from the group commits, and publish them; an outcome each.

    Raises what the database raises when it is away; then what was not appended yet is not.
    """
    try:
        outcomes = await database.run(entries_append, entries, False)
    except WhisprError:
        raise
    except Exception as error:
        if len(entries) == 1:
            return [error]
        return [outcome for entry in entries for outcome in await entries_commit([entry])]
    _publish([outcome for outcome in outcomes if isinstance(outcome, Appended)])
    return outcomes


def _fullness() -> float:
    commits = _commits.peek()
    return 0.0 if commits is None else commits.waiting / LIMITS.commit_waiting_max


queues.append(_fullness)


async def pending_recover() -> int:
    """Append the sends that waited for the database; how many were decided (docs/protocol.md "Pending sends")."""
    try:
        return await pending_drain(entries_commit, RECOVER_SECONDS)
    except (RedisAway, DatabaseAway):
        return 0  # what waits is there at the next run


def _away(waiting: Sequence[Waiting[UUID, NewEntry, Appended]]) -> None:
    _detours.get().take_over(waiting)


_toggles: PerLoop[Toggles] = PerLoop(lambda: Toggles(_queue))
_detours: PerLoop[Detour] = PerLoop(lambda: Detour(_commits.get().resubmit, entries_commit))
_commits: PerLoop[GroupCommit[UUID, NewEntry, Appended]] = PerLoop(
    lambda: GroupCommit(
        "send",
        _flush,
        on_flushed=_publish,
        on_away=_away,
        lanes=settings.WHISPR_COMMIT_LANES,
        batch_max=LIMITS.commit_batch_max,
        waiting_max=LIMITS.commit_waiting_max,
    )
)


def access_send(
    actor: Actor, request: SendMessage, content: bytes | None = None, origin: object | None = None
) -> NewEntry:
    """The gate: the entry that `request` asks for, if its shape, sizes and signature are right (specification §2.3).

    `content` is the ciphertext where it came beside the request (a binary push), else it is read from the base64 in it.
    Raises BadRequest, Forbidden (type system), TooLarge, InvalidSignature.
    """
    if request.conversation_id == UNNAMED:
        raise BadRequest("conversationId is missing.")
    if content is None:
        bare = request.type == "reaction"  # its emoji is in the metadata
        content = decode_base64(request.content, "content", LIMITS.content_bytes, allow_empty=bare)
    elif not content:
        raise BadRequest("content must not be empty.")
    elif len(content) > LIMITS.content_bytes:
        raise TooLarge(f"content is over its limit of {LIMITS.content_bytes} bytes.")
    metadata = encode_metadata(request.metadata)
    _check_type(request)
    signature = _check_signature(actor, request, content)
    return NewEntry(
        message_id=new_id(),
        conversation_id=request.conversation_id,
        sender_id=actor.user_id,
        sender_device_id=actor.device_id,
        type=request.type,
        content=content,
        metadata=metadata,
        client_random=request.client_random,
        fingerprint=_fingerprint(request, content),
        reply_to=request.reply_to,
        target=request.target,
        media_id=request.media_id,
        signature=signature,
        ttl=request.ttl,
        from_reading=request.ttl_start == "read" and request.ttl is not None,
        emoji=request.metadata["emoji"] if request.type == "reaction" else None,
        remove=request.type == "reaction" and request.metadata.get("remove", False),
        members_version=request.members_version,
        draft_before=datetime.now(UTC) if request.type in DRAFTED else None,
        origin=origin,
    )


def message_submit(entry: NewEntry) -> "asyncio.Future[Appended]":
    """Queue an entry that passed the gate; the future ends when it is committed and passed on, or waits in the
    recovery queue (`pending`).

    Entries of one conversation are committed in the order of these calls; a reaction that is switched on and off again
    may wait for `LIMITS.reaction_window_ms`, but not for what comes after it. The future raises NotFound,
    ClientRandomReused, StaleMembership, InvalidTarget, TemporaryUnavailable, Timeout; for an edit also Forbidden and
    EditConflict. Raises Overloaded when the queue is full.
    """
    toggles = _toggles.get()
    if entry.emoji is not None:
        future = toggles.submit(entry)
    else:
        if toggles:
            toggles.release(entry.sender_id, entry.conversation_id)
        future = _queue(entry)
    submitted = getattr(entry.origin, "on_submitted", None)
    if submitted is not None:
        submitted(entry.message_id, future)
    return future


def _queue(entry: NewEntry) -> "asyncio.Future[Appended]":
    detour = _detours.get()
    if detour and entry.conversation_id in detour:
        return detour.submit(entry)
    return _commits.get().submit(entry.conversation_id, entry)


def access_quota(actor: Actor, type: EntryType = "text") -> Awaitable[None] | None:
    """Take one of the sender's sends a minute, or of its reactions: None, or something to wait for, which may raise
    RateLimited."""
    access_load("changing" if type in ("edit", "reaction") else "sending")
    return quota_take(actor.user_id, "react" if type == "reaction" else "send")


async def message_send(actor: Actor, request: SendMessage) -> SendOutcome:
    """Send a message (specification §2.1, §2.2; docs/protocol.md §2 `send_message`): `sent` and `duplicate` are
    durable.

    Raises what `access_send`, `access_quota`, `access_permission` and `message_submit` say, and Timeout when there is
    no outcome in time.
    """
    entry = access_send(actor, request)
    quota = access_quota(actor, entry.type)
    if quota is not None:
        await quota
    entry = await access_permission(entry)
    if entry.media_id is not None:
        entry = await access_media(entry)
    return await outcome_of(message_submit(entry))


async def outcome_of(future: "asyncio.Future[Appended]") -> SendOutcome:
    """The outcome of what `message_submit` queued. Raises Timeout where there is none in time, and what the future
    raises."""
    try:
        return (await asyncio.wait_for(asyncio.shield(future), LIMITS.request_seconds)).outcome
    except TimeoutError:
        raise Timeout() from None


def _check_type(request: SendMessage) -> None:
    if request.type == "system":
        raise Forbidden("Only the server writes system entries.")
    if request.type in ("edit", "reaction"):
        _check_change(request)
        return
    if request.type == "ephemeral" and request.ttl is None:
        raise BadRequest("An ephemeral message needs a ttl.")
    if request.target is not None:
        raise BadRequest("target belongs to edits and reactions.")
    if (request.media_id is not None) != (request.type == "media"):
        raise BadRequest("mediaId belongs to type media, and type media needs one.")


def _check_change(request: SendMessage) -> None:
    """An edit or a reaction: it has a target and nothing that a message of its own has, a ttl least of all."""
    if request.target is None:
        raise BadRequest("An edit or a reaction needs a target.")
    if request.reply_to is not None or request.media_id is not None or request.ttl is not None:
        raise BadRequest("An edit or a reaction takes no replyTo, mediaId or ttl.")
    if request.type == "reaction":
        emoji, remove = request.metadata.get("emoji"), request.metadata.get("remove", False)
        known = request.metadata.keys() <= {"emoji", "remove"}
        if not isinstance(emoji, str) or not isinstance(remove, bool) or not known:
            raise BadRequest("A reaction's metadata is {emoji, remove}.")
        check_emoji(emoji)


@cache
def _signature_mode() -> str:
    """WHISPR_SIGNATURES, read once: Django's settings object costs 4 % of a send at each look."""
    return str(settings.WHISPR_SIGNATURES)


@receiver(setting_changed)
def _forget_signature_mode(**_: object) -> None:
    _signature_mode.cache_clear()


def _check_signature(actor: Actor, request: SendMessage, content: bytes) -> bytes | None:
    """The signature's bytes, verified with the device's registered key (docs/protocol.md "The device signature")."""
    mode = _signature_mode()
    if mode == "off" and request.signature is None:
        return None
    if request.signature is None:
        if mode == "required" or actor.public_key is not None:
            raise InvalidSignature("This device must sign what it sends.")
        return None
    try:
        signature = decode_base64(request.signature, "signature", LIMITS.signature_bytes)
    except WhisprError:
        raise InvalidSignature("A signature is 64 bytes in base64.") from None
    if mode == "off":
        return signature
    if actor.public_key is None:
        raise InvalidSignature("This device has no registered key.")
    signed = envelope(
        conversation_id=request.conversation_id,
        sender_id=actor.user_id,
        device_id=actor.device_id,
        client_random=request.client_random,
        type=request.type,
        reply_to=request.reply_to,
        target=request.target,
        media_id=request.media_id,
        ttl=request.ttl,
        content=content,
        metadata=request.metadata,
    )
    if not verify(actor.public_key, signed, signature):
        raise InvalidSignature()
    return signature


def _fingerprint(request: SendMessage, content: bytes) -> bytes:
    """What must be equal for a second request under the same key to be the same message (docs/protocol.md §8.2)."""
    return send_fingerprint(
        conversation_id=request.conversation_id,
        type=request.type,
        content=content,
        metadata=request.metadata,
        reply_to=request.reply_to,
        target=request.target,
        media_id=request.media_id,
        ttl=request.ttl,
        ttl_start=request.ttl_start,
    )
