"""Scheduled messages: their rows (docs/protocol.md §7); messaging/store/scheduled_firing.py sends what is due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from messaging.events import Actor
from messaging.personal import ScheduledView
from messaging.requests import SendMessage, decode_request
from messaging.store.drafts import draft_clear
from whispr.kernel.errors import (
    BadRequest,
    ClientRandomReused,
    EditConflict,
    NotFound,
    StaleMembership,
    WhisprError,
)
from whispr.kernel.limits import LIMITS

WAITING = ("scheduled", "needs_reencrypt")
# The columns of a ScheduledView, of `s`.
VIEW = (
    "s.id, s.conversation_id, s.device_id, s.client_random, s.scheduled_for, s.state, nullif(s.reason, ''),"
    " s.message_id, s.members_version, s.created_at, s.fired_at, s.request"
)


@dataclass(frozen=True, slots=True)
class NewScheduled:
    """A send that passed its gate, and its time."""

    id: UUID
    actor: Actor
    request: SendMessage
    fingerprint: bytes
    scheduled_for: datetime


def view_of(row: Sequence[Any]) -> ScheduledView:
    """The ScheduledView of a row of `VIEW`."""
    *fields, request = row
    names = ("id", "conversation_id", "device_id", "client_random", "scheduled_for", "state", "reason", "message_id")
    named = dict(zip((*names, "members_version", "created_at", "fired_at"), fields, strict=True))
    if request:
        send = decoded(request)
        for name in ("type", "content", "metadata", "reply_to", "media_id", "ttl", "ttl_start", "signature"):
            if send is not None:
                named[name] = getattr(send, name)
    return ScheduledView(**named)


def decoded(request: bytes) -> SendMessage | None:
    """The send of a row; None for what is none, which must not cost the rows beside it anything."""
    try:
        return decode_request(bytes(request), SendMessage)
    except WhisprError:
        return None


def get_by_key(user_id: UUID, client_random: int) -> tuple[bytes, ScheduledView] | None:
    """The fingerprint and the row that this key was scheduled with."""
    with connection.cursor() as cursor:
        return _get_by_key(cursor, user_id, client_random)


def _get_by_key(cursor: CursorWrapper, user_id: UUID, client_random: int) -> tuple[bytes, ScheduledView] | None:
    cursor.execute(
        f"SELECT s.fingerprint, {VIEW} FROM scheduled_messages s WHERE s.user_id = %s AND s.client_random = %s",
        [user_id, client_random],
    )
    row = cursor.fetchone()
    return None if row is None else (bytes(row[0]), view_of(row[1:]))


def scheduled_create(new: NewScheduled) -> tuple[ScheduledView, int | None, bool]:
    """Write a scheduled message: its view, the revision of the draft that it became, and whether it is new.

    Raises ClientRandomReused, NotFound (no such conversation for this user), StaleMembership, BadRequest at
    `LIMITS.scheduled_per_user` that wait.
    """
    user_id, key = new.actor.user_id, new.request.client_random
    with transaction.atomic(), connection.cursor() as cursor:
        _lock_user(cursor, user_id)
        known = _get_by_key(cursor, user_id, key)
        if known is not None:
            if known[0] != new.fingerprint:
                raise ClientRandomReused
            return known[1], None, False
        version = _access(cursor, user_id, new.request)
        cursor.execute(
            "SELECT count(*) FROM scheduled_messages WHERE user_id = %s AND state = ANY(%s)", [user_id, list(WAITING)]
        )
        if cursor.fetchone()[0] >= LIMITS.scheduled_per_user:
            raise BadRequest(
                f"{LIMITS.scheduled_per_user} messages of this user wait already.",
                details={"max": LIMITS.scheduled_per_user},
            )
        cursor.execute(
            "INSERT INTO scheduled_messages AS s (id, user_id, device_id, conversation_id, scheduled_for, request,"
            " client_random, members_version, fingerprint, created_at, encrypted_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp(), clock_timestamp())"
            f" RETURNING {VIEW}",
            [
                new.id,
                user_id,
                new.actor.device_id,
                new.request.conversation_id,
                new.scheduled_for,
                msgspec.json.encode(new.request),
                key,
                version,
                new.fingerprint,
            ],
        )
        view = view_of(cursor.fetchone())
        return view, draft_clear(cursor, new.actor, new.request.conversation_id), True


def _lock_user(cursor: CursorWrapper, user_id: UUID) -> None:
    """One change of a user's schedule at a time: two at once could both pass a bare count."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('scheduled:' || %s::text, 0))", [str(user_id)])


def _access(cursor: CursorWrapper, user_id: UUID, request: SendMessage) -> int:
    """The `membersVersion` that the content is for. Raises NotFound, StaleMembership, ClientRandomReused."""
    cursor.execute(
        "SELECT c.members_version, EXISTS (SELECT 1 FROM send_keys k WHERE k.sender_id = %s AND k.client_random = %s)"
        " FROM members m JOIN conversations c ON c.id = m.conversation_id"
        " WHERE m.conversation_id = %s AND m.user_id = %s AND m.left_seq IS NULL AND c.deleted_at IS NULL",
        [user_id, request.client_random, request.conversation_id, user_id],
    )
    row: tuple[int, bool] | None = cursor.fetchone()
    if row is None:
        raise NotFound
    if row[1]:
        raise ClientRandomReused
    if request.members_version is not None and request.members_version != row[0]:
        raise StaleMembership(details={"membersVersion": row[0]})
    return row[0]


def scheduled_update(
    actor: Actor, scheduled_id: UUID, scheduled_for: datetime | None, request: SendMessage | None, fingerprint: bytes
) -> ScheduledView:
    """Give a waiting message another time, another content, or both; with a content it is this device's.

    A worker that claimed the row before finds it changed, and sends nothing of it. Raises NotFound, EditConflict (sent
    or failed), BadRequest for another conversation, and what `scheduled_create` raises of the content.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        _lock_user(cursor, actor.user_id)
        state, conversation_id, key = _lock_own(cursor, actor.user_id, scheduled_id)
        if state not in WAITING:
            raise EditConflict(f"This message is {state}.", details={"state": state})
        if request is not None:
            if request.conversation_id != conversation_id:
                raise BadRequest("A scheduled message stays in its conversation.")
            if request.client_random != key and _get_by_key(cursor, actor.user_id, request.client_random):
                raise ClientRandomReused
            cursor.execute(
                "UPDATE scheduled_messages SET request = %s, fingerprint = %s, client_random = %s, device_id = %s,"
                " members_version = %s, encrypted_at = clock_timestamp(), state = 'scheduled', reason = ''"
                " WHERE id = %s",
                [
                    msgspec.json.encode(request),
                    fingerprint,
                    request.client_random,
                    actor.device_id,
                    _access(cursor, actor.user_id, request),
                    scheduled_id,
                ],
            )
        cursor.execute(
            "UPDATE scheduled_messages s SET scheduled_for = coalesce(%s, scheduled_for), claimed_until = NULL,"
            f" attempts = 0 WHERE s.id = %s RETURNING {VIEW}",
            [scheduled_for, scheduled_id],
        )
        return view_of(cursor.fetchone())


def scheduled_delete(user_id: UUID, scheduled_id: UUID) -> UUID:
    """Cancel a message that was not sent, or put away one that failed: the row is gone, its content with it.

    Gives the conversation. Raises NotFound, EditConflict where it was sent.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        state, conversation_id, _ = _lock_own(cursor, user_id, scheduled_id)
        if state == "sent":
            raise EditConflict("This message was sent.", details={"state": state})
        cursor.execute("DELETE FROM scheduled_messages WHERE id = %s", [scheduled_id])
        return conversation_id


def _lock_own(cursor: CursorWrapper, user_id: UUID, scheduled_id: UUID) -> tuple[str, UUID, int]:
    cursor.execute(
        "SELECT state, conversation_id, client_random FROM scheduled_messages"
        " WHERE id = %s AND user_id = %s FOR UPDATE",
        [scheduled_id, user_id],
    )
    row: tuple[str, UUID, int] | None = cursor.fetchone()
    if row is None:
        raise NotFound
    return row


def get_scheduled(user_id: UUID, scheduled_id: UUID) -> ScheduledView:
    """One of the user's scheduled messages, in any state. Raises NotFound."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {VIEW} FROM scheduled_messages s WHERE s.id = %s AND s.user_id = %s", [scheduled_id, user_id]
        )
        row = cursor.fetchone()
    if row is None:
        raise NotFound
    return view_of(row)


def list_scheduled(
    user_id: UUID, limit: int, after: UUID | None = None, bytes_max: int = 2**31 - 1
) -> tuple[list[ScheduledView], bool]:
    """What the user has that was not sent: waiting, to be encrypted again, failed; the earliest time first. And whether
    there are more.

    `limit` of them, and at most one more than fit into `bytes_max`, as the requests are stored: the content in base64.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {VIEW}, s.more FROM (SELECT s.*, lead(s.id) OVER (ORDER BY s.scheduled_for, s.id) IS NOT NULL"
            " AS more, sum(octet_length(s.request)) OVER (ORDER BY s.scheduled_for, s.id"
            " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM scheduled_messages s"
            " WHERE s.user_id = %s AND s.state <> 'sent' AND (%s::uuid IS NULL"
            " OR (s.scheduled_for, s.id) > (SELECT a.scheduled_for, a.id FROM scheduled_messages a"
            " WHERE a.id = %s AND a.user_id = s.user_id)) ORDER BY s.scheduled_for, s.id LIMIT %s) s"
            " WHERE coalesce(s.before, 0) < %s ORDER BY s.scheduled_for, s.id",
            [user_id, after, after, limit, bytes_max],
        )
        rows = cursor.fetchall()
        return [view_of(row[:-1]) for row in rows], bool(rows) and rows[-1][-1]
