"""Who is to be told what by push (docs/architecture.md "Pushes"): the outbox of the sends, and a state for each user
and conversation that lag.

PostgreSQL's clock alone counts. Nothing here waits for a lock that a send holds, and no send for one of these.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from delivery.events import PUSH_MESSAGE_IDS_MAX
from delivery.store.dead_letters import dead_letter_write

OUTBOX = "push_outbox"  # the kind of its dead letters

# What one transaction takes from the outbox at most: rows, each a batch of sends, and members of their conversations.
OUTBOX_ROWS = 64
MEMBERS_MAX = 5_000
# Looked through at most, from the newest on, of each of a hundred claims: 58 claims with 226 messages each took 144 ms
# on a busy machine. No client shows more than "99+".
SCAN = 200
# A badge sums up so many conversations, of each so many messages.
BADGE_CONVERSATIONS = 100
BADGE_SCAN = 100

# What a user may be told of: messages of others, readable now, not hidden by the user.
_TELLING = """
    e.message_type IN ('text', 'media', 'ephemeral') AND NOT e.is_deleted AND NOT e.withheld
    AND (e.expires_at IS NULL OR e.expires_at > clock_timestamp())"""

_TAKE_OUTBOX = """
DELETE FROM push_outbox WHERE id IN (
    SELECT id FROM push_outbox WHERE at <= clock_timestamp() - make_interval(secs => %s)
    ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING id, conversation_ids, from_seqs, at"""
_PUT_BACK = "INSERT INTO push_outbox (conversation_ids, from_seqs, at) VALUES (%s::uuid[], %s::bigint[], %s)"

# The members who did not acknowledge what was sent at least a grace ago. Who lags already is due as before, or once
# the window of the last push is over. In the order of the unique key, as everyone who locks these rows does.
_ARM = f"""
INSERT INTO push_states AS p (user_id, conversation_id, due_at, armed_at, pushed_devices)
SELECT b.user_id, b.conversation_id, clock_timestamp(), f.at, '{{}}'
FROM unnest(%s::uuid[], %s::bigint[], %s::timestamptz[]) AS f(conversation_id, from_seq, at)
CROSS JOIN LATERAL (SELECT * FROM conversations c WHERE c.id = f.conversation_id AND c.deleted_at IS NULL LIMIT 1) c
CROSS JOIN LATERAL (SELECT * FROM members m WHERE m.conversation_id = f.conversation_id AND m.left_seq IS NULL
                    AND m.delivered_seq < c.last_seq OFFSET 0) b
WHERE EXISTS (
    SELECT 1 FROM messages e WHERE e.conversation_id = f.conversation_id
    AND e.seq >= greatest(f.from_seq, b.delivered_seq + 1, b.joined_seq) AND e.sender_id <> b.user_id
    AND e.sent_at <= clock_timestamp() - make_interval(secs => %s) AND {_TELLING})
ORDER BY b.user_id, b.conversation_id
ON CONFLICT (user_id, conversation_id) DO UPDATE SET
    due_at = CASE WHEN p.due_at IS NOT NULL AND p.attempts > 0 THEN p.due_at
             ELSE least(p.due_at, greatest(excluded.due_at, p.pushed_at + make_interval(secs => %s))) END,
    armed_at = CASE WHEN p.due_at IS NULL THEN excluded.armed_at ELSE p.armed_at END"""

_CLAIM = """
UPDATE push_states p SET claimed_until = f.until, due_at = f.until
FROM (SELECT id, clock_timestamp() + make_interval(secs => %s) AS until FROM push_states
      WHERE due_at <= clock_timestamp() AND (claimed_until IS NULL OR claimed_until <= clock_timestamp())
      ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED) f
WHERE p.id = f.id RETURNING p.id"""

# What there is to tell each claimed one now. `told`: messages past what was pushed and acknowledged; `waiting`: all
# that was not acknowledged. A push reaches at least as far as the one before whose outcome is unknown: without a newer
# message it is the same push, whatever became of the messages. A reading elsewhere or a socket that closed makes a
# state due at once: what came since is not told before its grace and the window are over. (A message of later than now
# was sent before the clock went back.)
_FACTS = f"""
SELECT p.id, p.user_id, p.conversation_id, p.claimed_until, p.armed_at, p.key_seq, p.pushed_seq, p.is_shown,
       p.pushed_devices, p.read_device_id, p.attempts,
       b.id IS NOT NULL AND c.id IS NOT NULL, coalesce(b.delivered_seq, 0), coalesce(b.read_seq, 0),
       t.told, t.waiting, t.message_ids, greatest(p.key_seq, t.up_to), t.expires_at, k.id,
       greatest(extract(epoch FROM greatest(p.pushed_at + make_interval(secs => %s),
           CASE WHEN t.since <= clock_timestamp() THEN t.since + make_interval(secs => %s) END)
           - clock_timestamp()), 0)::float8
FROM unnest(%s::bigint[]) AS i(id)
CROSS JOIN LATERAL (SELECT * FROM push_states p WHERE p.id = i.id LIMIT 1) p
LEFT JOIN LATERAL (SELECT * FROM conversations c WHERE c.id = p.conversation_id AND c.deleted_at IS NULL LIMIT 1) c
    ON true
LEFT JOIN LATERAL (SELECT * FROM members m WHERE m.conversation_id = p.conversation_id AND m.user_id = p.user_id
                   AND m.left_seq IS NULL LIMIT 1) b ON true
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE e.seq > p.pushed_seq) AS told, count(*) AS waiting,
           (array_agg(e.id ORDER BY e.seq DESC))[:{PUSH_MESSAGE_IDS_MAX}] AS message_ids, max(e.seq) AS up_to,
           min(e.sent_at) FILTER (WHERE e.seq > p.pushed_seq) AS since,
           CASE WHEN bool_and(e.expires_at IS NOT NULL) THEN max(e.expires_at) END AS expires_at
    FROM (SELECT * FROM messages m WHERE m.conversation_id = p.conversation_id
          AND m.seq > greatest(b.delivered_seq, b.joined_seq - 1) AND m.seq <= c.last_seq
          ORDER BY m.seq DESC LIMIT {SCAN}) e
    WHERE e.sender_id <> p.user_id AND {_TELLING}
    AND NOT EXISTS (SELECT 1 FROM hidden_messages h WHERE h.message_id = e.id AND h.user_id = p.user_id)
) t
LEFT JOIN LATERAL (SELECT m.id FROM messages m WHERE m.conversation_id = p.conversation_id
                   AND m.seq = greatest(p.key_seq, t.up_to) LIMIT 1) k ON true"""

_BADGES = f"""
SELECT w.user_id, coalesce(sum(u.unread), 0)::bigint FROM unnest(%s::uuid[]) AS w(user_id)
LEFT JOIN LATERAL (
    SELECT m.conversation_id, m.user_id, m.read_seq, m.joined_seq FROM members m
    JOIN conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
    WHERE m.user_id = w.user_id AND m.left_seq IS NULL AND c.last_seq > m.read_seq
    LIMIT {BADGE_CONVERSATIONS}) m ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS unread FROM (SELECT * FROM messages x WHERE x.conversation_id = m.conversation_id
        AND x.seq > greatest(m.read_seq, m.joined_seq - 1) ORDER BY x.seq DESC LIMIT {BADGE_SCAN}) e
    WHERE e.sender_id <> m.user_id AND {_TELLING}) u ON true
GROUP BY w.user_id"""


class Telling(NamedTuple):
    """What a claimed state comes to: `told` new messages of `waiting`, not before `wait` seconds; a push would reach
    `up_to`.

    `key_id` is the message that names the push. `claimed_until` is the claim: what another has claimed since is not
    settled under this one.
    """

    id: int
    user_id: UUID
    conversation_id: UUID
    claimed_until: datetime
    armed_at: datetime | None
    key_seq: int | None
    pushed_seq: int
    is_shown: bool
    pushed_devices: list[UUID]
    read_device_id: UUID | None
    attempts: int
    is_member: bool
    delivered_seq: int
    read_seq: int
    told: int
    waiting: int
    message_ids: list[UUID] | None
    up_to: int | None
    expires_at: datetime | None
    key_id: UUID | None
    wait: float

    @property
    def is_new(self) -> bool:
        """Whether there is something to tell now."""
        return self.is_member and self.told > 0 and self.wait <= 0

    @property
    def delay(self) -> float | None:
        """Seconds until there is something to tell, where there will be."""
        return self.wait if self.is_member and self.told > 0 and self.wait > 0 else None

    @property
    def is_read(self) -> bool:
        """Whether what is shown was read elsewhere."""
        return self.is_member and self.is_shown and self.read_seq >= self.pushed_seq


class DeviceToken(NamedTuple):
    """Where a user's pushes go."""

    user_id: UUID
    device_id: UUID
    platform: str
    token: str

    def __repr__(self) -> str:
        return f"DeviceToken({self.device_id}, {self.platform!r})"


def outbox_take(grace_seconds: float, window_seconds: float) -> int:
    """Take what lies in the outbox for over a grace, and arm the members who did not acknowledge it; of how many rows.

    One transaction: what is not armed is still in the outbox. Rows with too many members go on in the next one. A row
    that cannot be read is a dead letter, and holds up no other.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_TAKE_OUTBOX, [grace_seconds, OUTBOX_ROWS])
        rows = sorted(cursor.fetchall())
        first: dict[UUID, tuple[int, datetime]] = {}
        for row_id, conversation_ids, from_seqs, at in rows:
            if len(conversation_ids) != len(from_seqs) or None in conversation_ids or None in from_seqs:
                dead_letter_write(OUTBOX, str(row_id), "internal_error", "unreadable")
            for conversation_id, seq in zip(conversation_ids, _padded(from_seqs, len(conversation_ids)), strict=True):
                if conversation_id is not None:
                    known = first.get(conversation_id, (seq, at))
                    first[conversation_id] = (min(known[0], seq), min(known[1], at))
        if not first:
            return len(rows)
        now, later = _split(cursor, list(first))
        if later:
            at = min(first[one][1] for one in later)
            cursor.execute(_PUT_BACK, [later, [first[one][0] for one in later], at])
        places = [(one, *first[one]) for one in now]
        cursor.execute(_ARM, [*map(list, zip(*places, strict=True)), grace_seconds, window_seconds])
        return len(rows)


def _padded(from_seqs: Sequence[int | None], count: int) -> list[int]:
    """So many first messages; where none is readable it is the first of all: who lacks nothing is not told all the
    same, for watermarks decide."""
    readable = [1 if seq is None else seq for seq in from_seqs[:count]]
    return readable + [1] * (count - len(readable))


def _split(cursor: CursorWrapper, conversation_ids: list[UUID]) -> tuple[list[UUID], list[UUID]]:
    """The conversations that have MEMBERS_MAX members together, at least one of them, and the others."""
    cursor.execute("SELECT id, member_count FROM conversations WHERE id = ANY(%s::uuid[])", [conversation_ids])
    sizes: dict[UUID, int] = dict(cursor.fetchall())
    now: list[UUID] = []
    members = 0
    for place, conversation_id in enumerate(conversation_ids):
        members += sizes.get(conversation_id, 0)
        if now and members > MEMBERS_MAX:
            return now, conversation_ids[place:]
        now.append(conversation_id)
    return now, []


def pushes_claim(limit: int, lease_seconds: float, grace_seconds: float, window_seconds: float) -> list[Telling]:
    """Claim up to `limit` due states for `lease_seconds`, those that are overdue longest first, and what each is to be
    told: no message before `grace_seconds`, and nothing within `window_seconds` of the last push. Committed before
    anybody is told, so that a claim whose worker dies is due again when its lease is over.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CLAIM, [lease_seconds, limit])
        ids = [row[0] for row in cursor.fetchall()]
    return _list_tellings(ids, grace_seconds, window_seconds)


def _list_tellings(ids: Sequence[int], grace_seconds: float, window_seconds: float) -> list[Telling]:
    """What these states come to now."""
    if not ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_FACTS, [window_seconds, grace_seconds, list(ids)])
        return [Telling(*row) for row in cursor.fetchall()]


def list_push_devices(user_ids: Sequence[UUID]) -> list[DeviceToken]:
    """The live devices with a push token of these users."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT user_id, id, platform, push_token FROM devices WHERE user_id = ANY(%s::uuid[])"
            " AND revoked_at IS NULL AND push_token <> '' ORDER BY user_id, id",
            [list(user_ids)],
        )
        return [DeviceToken(*row) for row in cursor.fetchall()]


def get_badges(user_ids: Sequence[UUID]) -> dict[UUID, int]:
    """The unread messages of each user in all conversations, counted to a bound."""
    with connection.cursor() as cursor:
        cursor.execute(_BADGES, [sorted(set(user_ids))])
        return dict(cursor.fetchall())
