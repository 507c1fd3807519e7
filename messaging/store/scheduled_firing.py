"""Sending scheduled messages that are due: the one transaction in which a row becomes a message (docs/protocol.md §7).

Firing and cancelling meet at the row's lock: the message is appended to the log and its row marked as sent in the same
transaction, which first finds the row still waiting under this worker's claim. So a cancellation that was answered is
final, and whatever dies in between leaves either both or neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from delivery.store.dead_letters import dead_letter_write
from messaging.events import Actor
from messaging.personal import ScheduledState, ScheduledView
from messaging.requests import SendMessage
from messaging.store.log import Appended, NewEntry, entries_append
from messaging.store.scheduled import VIEW, decoded, view_of
from whispr.kernel.batch import Busy
from whispr.kernel.errors import StaleMembership, Unauthenticated, WhisprError

SCHEDULED = "scheduled"  # the kind of their dead letters; the key is the message's id
FAULT = "internal_error"


@dataclass(frozen=True, slots=True)
class Claim:
    """A due row that this worker holds until `claimed_until`; the actor is None where the device may send no more.

    `rekeyed`: the device has other keys than when it wrote the content, and signed it with.
    """

    id: UUID
    claimed_until: datetime
    user_id: UUID
    actor: Actor | None
    request: SendMessage | None  # None where the row cannot be read
    members_version: int
    attempts: int
    rekeyed: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a claimed row that does not become a message: its state, or with `scheduled` the next try."""

    claim: Claim
    state: ScheduledState
    reason: str = ""
    retry_seconds: float = 0.0
    detail: str = ""  # of a fault of ours: what kind


@dataclass(frozen=True, slots=True)
class Fired:
    """What a firing did: the entries that are new in the log, the rows that changed, and what another try may do."""

    appended: list[Appended]
    changed: list[tuple[UUID, ScheduledView]]  # with their users
    busy: list[Claim]


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
            " s.members_version, s.attempts, coalesce(d.keys_changed_at > s.encrypted_at, false)",
            [limit, lease_seconds],
        )
        return [_claim(row) for row in cursor.fetchall()]


def _claim(row: Sequence[Any]) -> Claim:
    id_, claimed_until, user_id, device_id, is_live, public_key, request, *rest = row
    actor = Actor(user_id, device_id, None if public_key is None else bytes(public_key)) if is_live else None
    return Claim(id_, claimed_until, user_id, actor, decoded(request), *rest)


# A device that came or got another key after the content was made cannot read it; one that went must not.
_STALE = """
SELECT s.id FROM scheduled_messages s WHERE s.id = ANY(%s::uuid[]) AND EXISTS (
    SELECT 1 FROM members m JOIN devices d ON d.user_id = m.user_id
    WHERE m.conversation_id = s.conversation_id AND m.left_seq IS NULL
    AND (greatest(d.created_at, d.keys_changed_at) > s.encrypted_at AND d.revoked_at IS NULL
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
        f" RETURNING s.user_id, {VIEW}",
        [[id_ for id_, _ in sent], [message_id for _, message_id in sent]],
    )
    return [(row[0], view_of(row[1:])) for row in cursor.fetchall()]


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
        f" WHERE s.id = v.id RETURNING s.user_id, {VIEW}",
        [
            [verdict.claim.id for verdict in verdicts],
            [verdict.state for verdict in verdicts],
            [verdict.reason for verdict in verdicts],
            [verdict.retry_seconds for verdict in verdicts],
        ],
    )
    changed = [(row[0], view_of(row[1:])) for row in cursor.fetchall()]
    for verdict in verdicts:
        if verdict.state == "failed" and verdict.reason == FAULT:
            dead_letter_write(SCHEDULED, str(verdict.claim.id), FAULT, verdict.detail)
    return [(user_id, view) for user_id, view in changed if view.state != "scheduled"]


def scheduled_requeue(ids: Sequence[UUID]) -> list[UUID]:
    """Let messages that failed by a fault of ours be due again; those that are still there."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE scheduled_messages SET state = 'scheduled', reason = '', attempts = 0, claimed_until = NULL,"
            " fired_at = NULL WHERE id = ANY(%s::uuid[]) AND state = 'failed' RETURNING id",
            [list(ids)],
        )
        return [row[0] for row in cursor.fetchall()]


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
        return Verdict(claim, "failed", FAULT, detail=type(error).__name__)
    reason = error.code if isinstance(error, WhisprError) else FAULT
    return Verdict(claim, "scheduled", reason, retry_seconds)


def unreadable_verdict(claim: Claim) -> Verdict:
    """The row holds no send: a fault of ours."""
    return Verdict(claim, "failed", FAULT, detail="unreadable")


def rekeyed_verdict(claim: Claim) -> Verdict:
    """The device that scheduled it has other keys since: its signature would not verify."""
    return Verdict(claim, "needs_reencrypt", StaleMembership.code)


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
