"""Scheduled messages: their rows, and the one transaction in which a due one becomes a message (docs/protocol.md §7).

Firing and cancelling meet at the row's lock: the message is appended to the log and its row marked as sent in the same
transaction, which first finds the row still waiting under this worker's claim. So a cancellation that was answered is
final, and whatever dies in between leaves either both or neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from messaging.events import Actor
from messaging.personal import ScheduledState, ScheduledView
from messaging.requests import SendMessage, decode_request
from messaging.store.drafts import draft_clear
from messaging.store.log import Appended, NewEntry, entries_append
from whispr.kernel.batch import Busy
from whispr.kernel.errors import (
    BadRequest,
    ClientRandomReused,
    EditConflict,
    NotFound,
    StaleMembership,
    Unauthenticated,
    WhisprError,
)
from whispr.kernel.limits import LIMITS

WAITING = ("scheduled", "needs_reencrypt")
_VIEW = (
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


@dataclass(frozen=True, slots=True)
class Claim:
    """A due row that this worker holds until `claimed_until`; the actor is None where the device may send no more."""

    id: UUID
    claimed_until: datetime
    user_id: UUID
    actor: Actor | None
    request: SendMessage
    members_version: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a claimed row that does not become a message: its state, or with `scheduled` the next try."""

    claim: Claim
    state: ScheduledState
    reason: str = ""
    retry_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Fired:
    """What a firing did: the entries that are new in the log, the rows that changed, and what another try may do."""

    appended: list[Appended]
    changed: list[tuple[UUID, ScheduledView]]  # with their users
    busy: list[Claim]


def _view(row: Sequence[Any]) -> ScheduledView:
    *fields, request = row
    names = ("id", "conversation_id", "device_id", "client_random", "scheduled_for", "state", "reason", "message_id")
    named = dict(zip((*names, "members_version", "created_at", "fired_at"), fields, strict=True))
    if request:
        send = decode_request(bytes(request), SendMessage)
        for name in ("type", "content", "metadata", "reply_to", "media_id", "ttl", "ttl_start", "signature"):
            named[name] = getattr(send, name)
    return ScheduledView(**named)


def get_by_key(user_id: UUID, client_random: int) -> tuple[bytes, ScheduledView] | None:
    """The fingerprint and the row that this key was scheduled with."""
    with connection.cursor() as cursor:
        return _get_by_key(cursor, user_id, client_random)


def _get_by_key(cursor: CursorWrapper, user_id: UUID, client_random: int) -> tuple[bytes, ScheduledView] | None:
    cursor.execute(
        f"SELECT s.fingerprint, {_VIEW} FROM scheduled_messages s WHERE s.user_id = %s AND s.client_random = %s",
        [user_id, client_random],
    )
    row = cursor.fetchone()
    return None if row is None else (bytes(row[0]), _view(row[1:]))


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
            f" RETURNING {_VIEW}",
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
        view = _view(cursor.fetchone())
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
            f" attempts = 0 WHERE s.id = %s RETURNING {_VIEW}",
            [scheduled_for, scheduled_id],
        )
        return _view(cursor.fetchone())


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
            f"SELECT {_VIEW} FROM scheduled_messages s WHERE s.id = %s AND s.user_id = %s", [scheduled_id, user_id]
        )
        row = cursor.fetchone()
    if row is None:
        raise NotFound
    return _view(row)


def list_scheduled(user_id: UUID, limit: int, after: UUID | None = None) -> list[ScheduledView]:
    """What the user has that was not sent: waiting, to be encrypted again, failed; the earliest time first."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_VIEW} FROM scheduled_messages s WHERE s.user_id = %s AND s.state <> 'sent' AND (%s::uuid IS NULL"
            " OR (s.scheduled_for, s.id) > (SELECT a.scheduled_for, a.id FROM scheduled_messages a"
            " WHERE a.id = %s AND a.user_id = s.user_id)) ORDER BY s.scheduled_for, s.id LIMIT %s",
            [user_id, after, after, limit],
        )
        return [_view(row) for row in cursor.fetchall()]


# --- firing


def scheduled_claim(limit: int, lease_seconds: float) -> list[Claim]:
    """Claim up to `limit` due rows that nobody holds, the most overdue first, for `lease_seconds`."""
    with connection.cursor() as cursor:
        # now() and not clock_timestamp(): it is stable, so that the index of due rows serves.
        cursor.execute(
            "WITH due AS (SELECT id FROM scheduled_messages WHERE state = 'scheduled' AND scheduled_for <= now()"
            " AND (claimed_until IS NULL OR claimed_until <= now()) ORDER BY scheduled_for LIMIT %s"
            " FOR UPDATE SKIP LOCKED)"
            " UPDATE scheduled_messages s SET claimed_until = clock_timestamp() + make_interval(secs => %s),"
            " attempts = s.attempts + 1 FROM due, scheduled_messages o LEFT JOIN devices d"
            " ON d.id = o.device_id AND d.user_id = o.user_id AND d.revoked_at IS NULL"
            " WHERE s.id = due.id AND o.id = s.id"
            " RETURNING s.id, s.claimed_until, s.user_id, s.device_id, d.id IS NOT NULL, d.public_key, s.request,"
            " s.members_version, s.attempts",
            [limit, lease_seconds],
        )
        return [_claim(row) for row in cursor.fetchall()]


def _claim(row: Sequence[Any]) -> Claim:
    id_, claimed_until, user_id, device_id, is_live, public_key, request, version, attempts = row
    actor = Actor(user_id, device_id, None if public_key is None else bytes(public_key)) if is_live else None
    return Claim(id_, claimed_until, user_id, actor, decode_request(bytes(request), SendMessage), version, attempts)


# A device that came after the content was made cannot read it; one that went must not.
_STALE = """
SELECT s.id FROM scheduled_messages s WHERE s.id = ANY(%s::uuid[]) AND EXISTS (
    SELECT 1 FROM members m JOIN devices d ON d.user_id = m.user_id
    WHERE m.conversation_id = s.conversation_id AND m.left_seq IS NULL
    AND (d.created_at > s.encrypted_at AND d.revoked_at IS NULL
         OR d.created_at <= s.encrypted_at AND d.revoked_at > s.encrypted_at))"""


def scheduled_fire(shots: Sequence[tuple[Claim, NewEntry]], patient: bool) -> Fired:
    """Append the claimed messages to their logs and mark their rows, in one transaction.

    A row that was changed, cancelled or taken over meanwhile is passed over. Membership, target and key are decided by
    the log under the conversation's lock; `busy` are those whose conversation is locked elsewhere (unless `patient`).
    Raises what PostgreSQL raises; then nothing happened, or, where the connection broke in the commit, all of it.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        held = _lock_claimed(cursor, [claim for claim, _ in shots])
        cursor.execute(_STALE, [list(held)])
        stale = {row[0] for row in cursor.fetchall()}
        verdicts = [Verdict(claim, "needs_reencrypt", StaleMembership.code) for claim, _ in shots if claim.id in stale]
        live = [(claim, entry) for claim, entry in shots if claim.id in held and claim.id not in stale]
        outcomes = entries_append([entry for _, entry in live], patient) if live else []
        sent: list[tuple[UUID, UUID]] = []
        appended: list[Appended] = []
        busy: list[Claim] = []
        for (claim, _), outcome in zip(live, outcomes, strict=True):
            if isinstance(outcome, Busy):
                busy.append(claim)
            elif isinstance(outcome, Exception):
                verdicts.append(verdict_of(claim, outcome))
            else:
                appended.append(outcome)
                sent.append((claim.id, outcome.outcome.message_id))
        changed = _mark_sent(cursor, sent) + _settle(cursor, verdicts)
    return Fired(appended, changed, busy)


def _lock_claimed(cursor: CursorWrapper, claims: Sequence[Claim]) -> set[UUID]:
    cursor.execute(
        "SELECT s.id FROM scheduled_messages s JOIN unnest(%s::uuid[], %s::timestamptz[]) AS c(id, claimed_until)"
        " ON c.id = s.id AND c.claimed_until = s.claimed_until WHERE s.state = 'scheduled'"
        " ORDER BY s.id FOR UPDATE OF s",
        [[claim.id for claim in claims], [claim.claimed_until for claim in claims]],
    )
    return {row[0] for row in cursor.fetchall()}


def _mark_sent(cursor: CursorWrapper, sent: Sequence[tuple[UUID, UUID]]) -> list[tuple[UUID, ScheduledView]]:
    if not sent:
        return []
    cursor.execute(
        "UPDATE scheduled_messages s SET state = 'sent', reason = '', request = '', message_id = f.message_id,"
        " fired_at = clock_timestamp(), claimed_until = NULL"
        " FROM unnest(%s::uuid[], %s::uuid[]) AS f(id, message_id) WHERE s.id = f.id"
        f" RETURNING s.user_id, {_VIEW}",
        [[id_ for id_, _ in sent], [message_id for _, message_id in sent]],
    )
    return [(row[0], _view(row[1:])) for row in cursor.fetchall()]


def scheduled_settle(verdicts: Sequence[Verdict]) -> list[tuple[UUID, ScheduledView]]:
    """Write what became of claimed rows that did not become messages; those that changed state, with their users."""
    with transaction.atomic(), connection.cursor() as cursor:
        held = _lock_claimed(cursor, [verdict.claim for verdict in verdicts])
        return _settle(cursor, [verdict for verdict in verdicts if verdict.claim.id in held])


def _settle(cursor: CursorWrapper, verdicts: Sequence[Verdict]) -> list[tuple[UUID, ScheduledView]]:
    if not verdicts:
        return []
    cursor.execute(
        "UPDATE scheduled_messages s SET state = v.state, reason = v.reason, claimed_until ="
        " CASE WHEN v.state = 'scheduled' THEN clock_timestamp() + make_interval(secs => v.seconds) END,"
        " fired_at = CASE WHEN v.state = 'failed' THEN clock_timestamp() END"
        " FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::float8[]) AS v(id, state, reason, seconds)"
        f" WHERE s.id = v.id RETURNING s.user_id, {_VIEW}",
        [
            [verdict.claim.id for verdict in verdicts],
            [verdict.state for verdict in verdicts],
            [verdict.reason for verdict in verdicts],
            [verdict.retry_seconds for verdict in verdicts],
        ],
    )
    changed = [(row[0], _view(row[1:])) for row in cursor.fetchall()]
    return [(user_id, view) for user_id, view in changed if view.state != "scheduled"]


# 5xx: not the message's fault. The next tries come after 2, 4, 8 … 60 seconds, for as long as it takes.
RETRY_SECONDS_MAX = 60.0
# A fault of ours is not tried for ever: eight times are some three minutes.
FAULTS_MAX = 8


def verdict_of(claim: Claim, error: Exception) -> Verdict:
    """What becomes of a claimed message that met `error`."""
    if isinstance(error, StaleMembership):
        return Verdict(claim, "needs_reencrypt", error.code)
    retry_seconds = min(2.0 ** min(claim.attempts, 16), RETRY_SECONDS_MAX)
    if isinstance(error, WhisprError) and error.status < 500 and error.status != 429:
        return Verdict(claim, "failed", error.code)
    if not isinstance(error, WhisprError) and claim.attempts >= FAULTS_MAX:
        return Verdict(claim, "failed", "internal_error")
    reason = error.code if isinstance(error, WhisprError) else "internal_error"
    return Verdict(claim, "scheduled", reason, retry_seconds)


def revoked_verdict(claim: Claim) -> Verdict:
    """The device that scheduled it was revoked: what it wrote is sent no more."""
    return Verdict(claim, "failed", Unauthenticated.code)


def scheduled_purge(kept_seconds: int, limit: int) -> int:
    """Delete up to `limit` rows that were sent or failed over `kept_seconds` ago; how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM scheduled_messages WHERE id IN (SELECT id FROM scheduled_messages"
            " WHERE state IN ('sent', 'failed') AND fired_at < now() - make_interval(secs => %s) LIMIT %s"
            " FOR UPDATE SKIP LOCKED)",
            [kept_seconds, limit],
        )
        return int(cursor.rowcount)
