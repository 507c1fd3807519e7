"""The reading and the repairs of the reconciliation: windows of logs, in batches, each repair a transaction of its own
under its conversation's lock (docs/operations.md "Reconciliation")."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from delivery.store.reconcile_checks import WINDOWS, Check
from messaging.fingerprints import send_fingerprint
from messaging.store.locked import conversation_lock
from whispr.kernel.limits import LIMITS

# What one batch looks at: entries, each as heavy as its conversation has members, since each may have that many
# statuses. 50,000 of them take a fraction of LIMITS.statement_timeout_ms in every check.
BATCH_WEIGHT = 50_000
BATCH_CONVERSATIONS = 500
# Of one check in one batch; a second look finds the rest.
FOUND_MAX = 1_000
KEYS_BATCH = 5_000
# The purge comes every hour: what is that close to its end may be gone already.
KEYS_SLACK_SECONDS = 2 * 3600


@dataclass(frozen=True, slots=True)
class Window:
    """Entries of one conversation, both ends included; `first` where it is the conversation's first window."""

    conversation_id: UUID
    low: int
    high: int
    first: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Some windows, and the place after them: None for the position where they are the last."""

    windows: tuple[Window, ...]
    position: UUID | None
    position_seq: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong, by its conversation and the id or the seq of what it is about."""

    conversation_id: UUID
    subject: str


def list_windows(position: UUID | None, position_seq: int, only: UUID | None) -> Batch:
    """The next windows after the place (everything up to `position_seq` of `position` was looked at)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.id, greatest(c.last_seq, coalesce((SELECT m.seq FROM messages m WHERE m.conversation_id = c.id"
            " ORDER BY m.seq DESC LIMIT 1), 0)), greatest(c.member_count, 1) FROM conversations c"
            " WHERE (%(only)s::uuid IS NULL OR c.id = %(only)s) AND (%(position)s::uuid IS NULL"
            "  OR c.id > %(position)s OR c.id = %(position)s AND %(seq)s > 0) ORDER BY c.id LIMIT %(limit)s",
            {"only": only, "position": position, "seq": position_seq, "limit": BATCH_CONVERSATIONS},
        )
        rows = cursor.fetchall()
    windows: list[Window] = []
    weight = BATCH_WEIGHT
    for conversation_id, head, members in rows:
        done = position_seq if conversation_id == position else 0
        high = min(head, done + max(1, weight // members))
        windows.append(Window(conversation_id, done + 1, high, done == 0))
        weight -= (high - done) * members
        if high < head:
            return Batch(tuple(windows), conversation_id, high)
        if weight <= 0:
            return Batch(tuple(windows), conversation_id, 0)
    full = len(rows) == BATCH_CONVERSATIONS
    return Batch(tuple(windows), rows[-1][0] if full else None, 0)


def list_findings(check: Check, windows: Sequence[Window]) -> list[Finding]:
    """What the check finds in the windows, FOUND_MAX at most."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH {WINDOWS}, bad AS ({check.bad}) SELECT conversation_id, subject::text FROM bad LIMIT {FOUND_MAX}",
            _params(check, windows),
        )
        return [Finding(*row) for row in cursor.fetchall()]


def findings_repair(check: Check, windows: Sequence[Window]) -> int:
    """Repair what the check finds in the windows of one conversation, under its lock; how many rows.

    Raises what PostgreSQL raises where the conversation is held by something for too long.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if conversation_lock(cursor, windows[0].conversation_id) is None:
            return 0
        if check.name == "key_missing":
            return _restore_keys(cursor, check, windows)
        if check.fix is None:
            return 0
        cursor.execute(f"WITH {WINDOWS}, bad AS ({check.bad}) {check.fix}", _params(check, windows))
        return int(cursor.rowcount)


def _params(check: Check, windows: Sequence[Window]) -> dict[str, Any]:
    looked_at = [window for window in windows if window.first] if check.level == "head" else windows
    return {
        "ids": [window.conversation_id for window in looked_at],
        "lows": [window.low for window in looked_at],
        "highs": [window.high for window in looked_at],
        "rows_max": LIMITS.status_rows_max,
        "keys_kept": max(LIMITS.dedup_retention, 24 * 3600) - KEYS_SLACK_SECONDS,
    }


def _restore_keys(cursor: CursorWrapper, check: Check, windows: Sequence[Window]) -> int:
    """Make the keys of messages again whose request can be told from what is there.

    Not of what expires: whether its ttl was the sender's or the conversation's is not known, and a key with another
    fingerprint would refuse the resend that it is there to recognise.
    """
    cursor.execute(
        f"WITH {WINDOWS}, bad AS ({check.bad}) SELECT m.id, m.sender_id, m.client_random, m.conversation_id, m.seq,"
        " m.sent_at, m.expires_at, m.message_type, m.content, m.metadata::text, m.reply_to_id, m.target_id, m.media_id"
        " FROM bad JOIN messages m ON m.id = bad.subject WHERE NOT m.is_deleted AND m.content <> ''"
        f" AND (m.expires_at IS NULL OR m.message_type IN ('edit', 'reaction')) LIMIT {FOUND_MAX}",
        _params(check, windows),
    )
    rows = cursor.fetchall()
    for id_, sender, number, conversation, seq, sent_at, expires_at, kind, content, metadata, *refs in rows:
        fingerprint = send_fingerprint(
            conversation_id=conversation,
            type=kind,
            content=bytes(content),
            metadata=msgspec.json.decode(metadata),
            reply_to=refs[0],
            target=refs[1],
            media_id=refs[2],
            ttl=None,
            ttl_start="send",
        )
        cursor.execute(
            "INSERT INTO send_keys (message_id, sender_id, client_random, fingerprint, conversation_id, seq, sent_at,"
            " expires_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [id_, sender, number, fingerprint, conversation, seq, sent_at, expires_at],
        )
    return len(rows)


def list_orphan_keys(after: UUID | None) -> tuple[list[Finding], UUID | None]:
    """Deduplication keys after `after` whose message is not there, of the next KEYS_BATCH; and where those end.

    The end is None after the last. Keys of reactions that changed nothing (seq 0) never had a message.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT k.conversation_id, k.message_id::text, k.seq > 0 AND NOT EXISTS (SELECT 1 FROM messages m"
            " WHERE m.id = k.message_id) FROM (SELECT * FROM send_keys WHERE %(after)s::uuid IS NULL"
            " OR message_id > %(after)s ORDER BY message_id LIMIT %(limit)s) k ORDER BY k.message_id",
            {"after": after, "limit": KEYS_BATCH},
        )
        rows = cursor.fetchall()
    end = UUID(rows[-1][1]) if len(rows) == KEYS_BATCH else None
    return [Finding(*row[:2]) for row in rows if row[2]], end


def orphan_keys_delete(conversation_id: UUID, message_ids: Sequence[UUID]) -> int:
    """Delete keys whose message is still not there, under the lock that a message would have to come by; how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        conversation_lock(cursor, conversation_id)
        cursor.execute(
            "DELETE FROM send_keys k WHERE k.message_id = ANY(%s::uuid[]) AND k.conversation_id = %s"
            " AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = k.message_id)",
            [list(message_ids), conversation_id],
        )
        return int(cursor.rowcount)
