"""What became of pushes: claims settled, readings elsewhere, states to look at again or to forget (see push.py)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from django.db import connection, transaction

from delivery.store.dead_letters import dead_letter_write

KIND = "push"  # of dead letters
# A notification that nobody took away for so long is of no use to anybody; the state goes.
SHOWN_DAYS = 30
# Of the statistics by hour.
STATISTICS_DAYS = 90


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a claim. `delay`: seconds until it is looked at again, None where nothing is left to be told.

    `pushed`: it was accepted, up to `pushed_seq` where that is given. `shown`: it may be on the devices. Without
    `keeps_key` another push gets another key.
    """

    id: int
    claimed_until: datetime
    delay: float | None = None
    pushed_seq: int | None = None
    pushed: bool = False
    shown: bool | None = None
    devices: tuple[UUID, ...] | None = None
    keeps_key: bool = False
    attempts: int = 0
    reason: str = ""
    dead: bool = False


class Counted(NamedTuple):
    """One more of an hour's pushes; `platform` empty for the push as a whole."""

    kind: str
    platform: str
    outcome: str
    pushes: int


class DeadToken(NamedTuple):
    """A token that the service called dead, as its SHA-256, so that a newer one of the device stays."""

    device_id: UUID
    token_sha256: bytes


# In the order in which everybody locks these rows.
_LOCK = """
SELECT p.id FROM push_states p WHERE p.id = ANY(%s::bigint[]) ORDER BY p.user_id, p.conversation_id FOR UPDATE"""

# A due time below the claim's end was set by somebody else meanwhile: new messages, a reading, a socket that closed. A
# reading that had begun before the claim did not see it: what it read is looked at here.
_SETTLE = """
UPDATE push_states p SET
    pushed_seq = greatest(p.pushed_seq, f.pushed_seq),
    pushed_at = CASE WHEN f.pushed THEN clock_timestamp() ELSE p.pushed_at END,
    is_shown = coalesce(f.shown, p.is_shown),
    pushed_devices = coalesce(f.devices, p.pushed_devices),
    read_device_id = CASE WHEN f.shown = false THEN NULL ELSE p.read_device_id END,
    key_seq = CASE WHEN f.keeps_key THEN p.key_seq END,
    attempts = f.attempts,
    reason = f.reason,
    due_at = CASE
        WHEN f.shown AND (SELECT m.read_seq FROM members m WHERE m.conversation_id = p.conversation_id
            AND m.user_id = p.user_id AND m.left_seq IS NULL) >= greatest(p.pushed_seq, f.pushed_seq)
            THEN clock_timestamp()
        WHEN p.due_at < p.claimed_until AND f.pushed AND p.read_device_id IS NULL
            THEN greatest(p.due_at, clock_timestamp() + make_interval(secs => %s))
        WHEN p.due_at < p.claimed_until AND f.attempts = 0 THEN p.due_at
        WHEN f.delay IS NOT NULL THEN clock_timestamp() + make_interval(secs => f.delay) END,
    armed_at = CASE WHEN f.pushed THEN clock_timestamp() ELSE p.armed_at END,
    claimed_until = NULL
FROM json_to_recordset(%s::json) AS f(id bigint, claimed_until timestamptz, delay float, pushed_seq bigint,
    pushed boolean, shown boolean, devices uuid[], keeps_key boolean, attempts integer, reason text)
WHERE p.id = f.id AND p.claimed_until = f.claimed_until
RETURNING p.id"""

# Nothing to tell, nothing to take away, and nothing told that the user does not have: no state.
_FORGET = """
DELETE FROM push_states p WHERE p.id = ANY(%s::bigint[]) AND p.due_at IS NULL AND NOT p.is_shown AND p.attempts = 0
AND p.pushed_seq <= coalesce((SELECT m.delivered_seq FROM members m WHERE m.conversation_id = p.conversation_id
                              AND m.user_id = p.user_id AND m.left_seq IS NULL), p.pushed_seq)"""

_COUNT = """
INSERT INTO push_statistics AS s (hour, kind, platform, outcome, count)
SELECT date_trunc('hour', now()), f.* FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[]) AS f
ON CONFLICT (hour, kind, platform, outcome) DO UPDATE SET count = s.count + excluded.count"""


def pushes_key(claims: Sequence[tuple[int, datetime, int]]) -> set[int]:
    """Note, for each (id, claimed_until, up to which seq), what is about to be sent; the ids that are still claimed.

    Committed before it is sent: who tries again after a crash or an unknown outcome uses the same key.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE push_states p SET key_seq = f.key_seq"
            " FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[]) AS f(id, claimed_until, key_seq)"
            " WHERE p.id = f.id AND p.claimed_until = f.claimed_until RETURNING p.id",
            list(map(list, zip(*sorted(claims), strict=True))),
        )
        return {row[0] for row in cursor.fetchall()}


def pushes_settle(
    settlements: Sequence[Settlement],
    window_seconds: float,
    counted: Sequence[Counted] = (),
    dead_tokens: Sequence[DeadToken] = (),
) -> int:
    """End claims, count outcomes and forget dead tokens, all in one transaction; how many claims were still ours.

    A push that was given up becomes a dead letter.
    """
    ids = [one.id for one in settlements]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK, [ids])
        cursor.execute(_SETTLE, [window_seconds, msgspec.json.encode(settlements).decode()])
        settled = {row[0] for row in cursor.fetchall()}
        for one in settlements:
            if one.dead and one.id in settled:
                dead_letter_write(KIND, str(one.id), one.reason)
        cursor.execute(_FORGET, [sorted(settled)])
        if counted:
            cursor.execute(_COUNT, list(map(list, zip(*sorted(counted), strict=True))))
        for token in sorted(dead_tokens):
            cursor.execute(
                "UPDATE devices SET push_token = '' WHERE id = %s AND sha256(convert_to(push_token, 'UTF8')) = %s",
                [token.device_id, token.token_sha256],
            )
    return len(settled)


def reads_note(cursor: psycopg.Cursor[Any], reads: Sequence[tuple[int, UUID | None]]) -> None:
    """Note that what is shown was read on a device, for each (state, device), in the reading's own transaction; the
    states in the order of (user, conversation), as everybody locks them.
    """
    for state_id, device_id in reads:
        cursor.execute(
            "UPDATE push_states SET read_device_id = %b, due_at = least(due_at, clock_timestamp()) WHERE id = %b",
            (device_id, state_id),
            prepare=True,
            binary=True,
        )


def pushes_arm(user_ids: Sequence[UUID], grace_seconds: float) -> int:
    """Look again soon at what these users' sockets left unacknowledged, instead of at the next round; of how many.

    What somebody else works on at this moment is passed over.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE push_states p SET due_at = f.due FROM (SELECT id,"
            " clock_timestamp() + make_interval(secs => %s) AS due FROM push_states"
            " WHERE user_id = ANY(%s::uuid[]) AND due_at IS NOT NULL ORDER BY id FOR UPDATE SKIP LOCKED) f"
            " WHERE p.id = f.id AND p.due_at > f.due",
            [grace_seconds, list(user_ids)],
        )
        return int(cursor.rowcount)


def pushes_requeue(ids: Sequence[int]) -> set[int]:
    """Try states again that were given up, with all their tries; those that are still there."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK, [list(ids)])
        cursor.execute(
            "UPDATE push_states SET due_at = clock_timestamp(), attempts = 0 WHERE id = ANY(%s::bigint[]) RETURNING id",
            [list(ids)],
        )
        return {row[0] for row in cursor.fetchall()}


def pushes_purge(limit: int) -> int:
    """Delete up to `limit` states that say nothing any more, and as many old rows of the statistics; how many states.

    That is what was told and acknowledged since, of conversations that were left, and what nobody took away for long.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM push_states WHERE id IN (SELECT p.id FROM push_states p"
            " LEFT JOIN members m ON m.conversation_id = p.conversation_id AND m.user_id = p.user_id"
            " AND m.left_seq IS NULL WHERE p.due_at IS NULL AND (m.id IS NULL OR"
            " NOT p.is_shown AND m.delivered_seq >= p.pushed_seq OR p.pushed_at < now() - make_interval(days => %s))"
            " ORDER BY p.user_id, p.conversation_id LIMIT %s FOR UPDATE OF p SKIP LOCKED)",
            [SHOWN_DAYS, limit],
        )
        purged = int(cursor.rowcount)
        cursor.execute(
            "DELETE FROM push_statistics WHERE id IN (SELECT id FROM push_statistics"
            " WHERE hour < now() - make_interval(days => %s) LIMIT %s)",
            [STATISTICS_DAYS, limit],
        )
        return purged
