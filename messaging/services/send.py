"""Sending: the gate, then the log, then the fan-out. Every way in ends here (DESIGN.md "One message's way").

The gate is what needs no lock: shape, size, signature, quota. Whether the sender is a member, the key is a duplicate
and the
target is live is decided under the conversation's lock, by the log.
"""

import asyncio
import hashlib
import struct
from collections.abc import Awaitable, Sequence
from functools import cache
from uuid import UUID

import msgspec
from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from messaging.events import Actor, SendOutcome
from messaging.fanout import publish_entries
from messaging.requests import UNNAMED, SendMessage, decode_base64, encode_metadata
from messaging.signatures import envelope, verify
from messaging.store.log import Appended, NewEntry, entries_append
from trust.services.quota import quota_take
from whispr.kernel import database, telemetry
from whispr.kernel.batch import Busy, GroupCommit
from whispr.kernel.errors import BadRequest, Forbidden, InvalidSignature, Timeout, TooLarge, WhisprError
from whispr.kernel.ids import new_id
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop


def _flush(items: Sequence[NewEntry], patient: bool) -> list[Appended | Exception | Busy]:
    return database.call(entries_append, items, patient)


def _publish(appended: Sequence[Appended]) -> None:
    fresh = [one for one in appended if one.entry is not None]
    for one in fresh:
        sent = getattr(one.origin, "on_sent", None)
        if sent is not None:
            sent(one.outcome.conversation_id, one.outcome.seq)
    publish_entries([one.entry for one in fresh if one.entry is not None])
    telemetry.sends.labels("sent").inc(len(fresh))
    telemetry.sends.labels("duplicate").inc(len(appended) - len(fresh))


_commits: PerLoop[GroupCommit[UUID, NewEntry, Appended]] = PerLoop(
    lambda: GroupCommit(
        "send",
        _flush,
        on_flushed=_publish,
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
        content = decode_base64(request.content, "content", LIMITS.content_bytes)
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
        fingerprint=_fingerprint(request, content, metadata),
        reply_to=request.reply_to,
        target=request.target,
        media_id=request.media_id,
        signature=signature,
        ttl=request.ttl,
        members_version=request.members_version,
        origin=origin,
    )


def message_submit(entry: NewEntry) -> "asyncio.Future[Appended]":
    """Queue an entry that passed the gate; the future ends when it is committed and passed on.

    Entries of one conversation are committed in the order of these calls. The future raises NotFound,
    ClientRandomReused,
    StaleMembership, InvalidTarget, TemporaryUnavailable, Timeout. Raises Overloaded when the queue is full.
    """
    return _commits.get().submit(entry.conversation_id, entry)


def access_quota(actor: Actor) -> Awaitable[None] | None:
    """Take one of the sender's sends a minute: None, or something to wait for, which may raise RateLimited."""
    return quota_take(actor.user_id, "send")


async def message_send(actor: Actor, request: SendMessage) -> SendOutcome:
    """Send a message (specification §2.1, §2.2; PROTOCOL.md §2 `send_message`): `sent` and `duplicate` are durable.

    Raises what `access_send`, `access_quota` and `message_submit` say, and Timeout when there is no outcome in time.
    """
    entry = access_send(actor, request)
    quota = access_quota(actor)
    if quota is not None:
        await quota
    future = message_submit(entry)
    try:
        return (await asyncio.wait_for(asyncio.shield(future), LIMITS.request_seconds)).outcome
    except TimeoutError:
        raise Timeout() from None


def _check_type(request: SendMessage) -> None:
    if request.type == "system":
        raise Forbidden("Only the server writes system entries.")
    if request.type in ("edit", "reaction", "media"):
        raise BadRequest(f"This version does not take messages of type {request.type} yet.")
    if request.type == "ephemeral" and request.ttl is None:
        raise BadRequest("An ephemeral message needs a ttl.")
    if request.ttl is not None and request.ttl_start == "read":
        raise BadRequest("This version does not count a ttl from the reading yet.")
    if request.target is not None:
        raise BadRequest("target belongs to edits and reactions.")
    if request.media_id is not None:
        raise BadRequest("mediaId belongs to type media.")


@cache
def _signature_mode() -> str:
    """WHISPR_SIGNATURES, read once: Django's settings object costs 4 % of a send at each look."""
    return str(settings.WHISPR_SIGNATURES)


@receiver(setting_changed)
def _forget_signature_mode(**_: object) -> None:
    _signature_mode.cache_clear()


def _check_signature(actor: Actor, request: SendMessage, content: bytes) -> bytes | None:
    """The signature's bytes, verified with the device's registered key (PROTOCOL.md §2 "Device signature")."""
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


def _fingerprint(request: SendMessage, content: bytes, metadata: bytes) -> bytes:
    """What must be equal for a second request under the same key to be the same message (PROTOCOL.md §4.2)."""
    parts = (
        request.conversation_id.bytes,
        request.type.encode(),
        content,
        msgspec.json.encode(request.metadata, order="deterministic") if request.metadata else metadata,
        request.reply_to.bytes if request.reply_to else b"",
        request.target.bytes if request.target else b"",
        (request.media_id or "").encode(),
        str(request.ttl or "").encode(),
        request.ttl_start.encode(),
    )
    lengths = struct.pack(f">{len(parts)}I", *map(len, parts))
    return hashlib.sha256(lengths + b"".join(parts)).digest()
