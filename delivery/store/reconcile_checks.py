"""What the reconciliation checks, and how it repairs it (docs/operations.md "Reconciliation").

Each check is one query over windows of conversations' logs: `bad` lists what is wrong, `fix` is a statement that makes
it right from what `bad` says. A repair runs the same query again under the conversation's lock, so that it changes what
is wrong then, and twice does nothing twice. What the log itself lacks is reported and never invented.
"""

from dataclasses import dataclass
from typing import Literal

# The windows, and the entries in them.
WINDOWS = (
    "w AS (SELECT * FROM unnest(%(ids)s::uuid[], %(lows)s::bigint[], %(highs)s::bigint[]) AS w(conversation_id, low,"
    " high))"
)
_ENTRIES = "w JOIN messages m ON m.conversation_id = w.conversation_id AND m.seq BETWEEN w.low AND w.high"
_HEADS = "w JOIN conversations c ON c.id = w.conversation_id"
_MESSAGE = "m.message_type IN ('text', 'media', 'ephemeral') AND m.target_id IS NULL"
_IS_THERE = "(NOT m.is_deleted AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp()))"
# Of the push states that were told and not acknowledged, the purge keeps those of so many days (push_settle.py).
_PUSHED_DAYS = 30
# Whoever dispatches has a message out of the outbox and into states long before that; it works in the meantime.
_PUSH_MINUTES = 10


def _was_member(user: str) -> str:
    """Whether `user` was a member when the entry `m` was sent."""
    return (
        f"(EXISTS (SELECT 1 FROM members b WHERE b.conversation_id = m.conversation_id AND b.user_id = {user}"
        " AND m.seq >= b.joined_seq AND (b.left_seq IS NULL OR m.seq <= b.left_seq))"
        f" OR EXISTS (SELECT 1 FROM member_spans p WHERE p.conversation_id = m.conversation_id AND p.user_id = {user}"
        " AND NOT p.shared AND m.seq BETWEEN p.from_seq AND p.to_seq))"
    )


@dataclass(frozen=True, slots=True)
class Check:
    """`bad` gives conversation_id and subject (an id or a seq), and what `fix` needs; without `fix` it is only told."""

    name: str
    what: str
    bad: str
    fix: str | None = None
    level: Literal["head", "entries"] = "entries"


CHECKS = (
    Check(
        "head_seq",
        "a head that is behind its log: raised to the last entry",
        f"SELECT c.id AS conversation_id, c.last_seq AS subject, x.seq AS should FROM {_HEADS} CROSS JOIN LATERAL ("
        " SELECT m.seq FROM messages m WHERE m.conversation_id = c.id ORDER BY m.seq DESC LIMIT 1) x"
        " WHERE c.last_seq < x.seq",
        "UPDATE conversations c SET last_seq = bad.should FROM bad WHERE c.id = bad.conversation_id",
        "head",
    ),
    Check(
        "head_time",
        "a head whose time is not that of its last entry: set to it",
        f"SELECT c.id AS conversation_id, c.last_seq AS subject, m.sent_at AS should FROM {_HEADS}"
        " JOIN messages m ON m.conversation_id = c.id AND m.seq = c.last_seq"
        " WHERE c.last_sent_at IS DISTINCT FROM m.sent_at",
        "UPDATE conversations c SET last_sent_at = bad.should FROM bad WHERE c.id = bad.conversation_id",
        "head",
    ),
    Check(
        "head_hash",
        "a head whose hash is not that of its last entry: set to it",
        f"SELECT c.id AS conversation_id, c.last_seq AS subject, m.chain_hash AS should FROM {_HEADS}"
        " JOIN messages m ON m.conversation_id = c.id AND m.seq = c.last_seq"
        " WHERE c.head_hash IS DISTINCT FROM m.chain_hash",
        "UPDATE conversations c SET head_hash = bad.should FROM bad WHERE c.id = bad.conversation_id",
        "head",
    ),
    Check(
        "member_count",
        "a count of members that is not how many there are: counted",
        f"SELECT c.id AS conversation_id, c.member_count AS subject, n.should FROM {_HEADS} CROSS JOIN LATERAL ("
        " SELECT count(*) AS should FROM members b WHERE b.conversation_id = c.id AND b.left_seq IS NULL) n"
        " WHERE c.member_count <> n.should",
        "UPDATE conversations c SET member_count = bad.should FROM bad WHERE c.id = bad.conversation_id",
        "head",
    ),
    Check(
        "watermark_above_head",
        "a member who received more than there is: lowered to the head, or what comes next would count as received",
        "SELECT b.conversation_id, b.user_id AS subject, b.id, coalesce(b.left_seq, c.last_seq) AS head"
        f" FROM {_HEADS} JOIN members b ON b.conversation_id = c.id"
        " WHERE b.delivered_seq > coalesce(b.left_seq, c.last_seq)",
        "UPDATE members b SET delivered_seq = least(b.delivered_seq, bad.head), read_seq = least(b.read_seq, bad.head),"
        " public_read_seq = least(b.public_read_seq, bad.head) FROM bad WHERE b.id = bad.id",
        "head",
    ),
    Check(
        "cursor_above_head",
        "a device that acknowledged more than there is: lowered to the head, or it would miss what comes next",
        f"SELECT d.conversation_id, d.device_id AS subject, d.id, c.last_seq AS head FROM {_HEADS}"
        " JOIN device_cursors d ON d.conversation_id = c.id WHERE d.acked_seq > c.last_seq",
        "UPDATE device_cursors d SET acked_seq = bad.head FROM bad WHERE d.id = bad.id AND d.acked_seq > bad.head",
        "head",
    ),
    Check(
        "push_above_head",
        "a push state beyond the head: lowered to it, or what comes next would not be pushed",
        f"SELECT p.conversation_id, p.user_id AS subject, p.id, c.last_seq AS head FROM {_HEADS}"
        " JOIN members b ON b.conversation_id = c.id"
        " JOIN push_states p ON p.user_id = b.user_id AND p.conversation_id = b.conversation_id"
        " WHERE p.pushed_seq > c.last_seq",
        "UPDATE push_states p SET pushed_seq = bad.head FROM bad WHERE p.id = bad.id AND p.pushed_seq > bad.head",
        "head",
    ),
    Check(
        "gap",
        "a seq without an entry: told, for nobody knows what it was. Restore a backup (and `new_epoch`) if it matters",
        "SELECT w.conversation_id, g.seq AS subject FROM w CROSS JOIN LATERAL ("
        "  SELECT count(*) AS n FROM messages m WHERE m.conversation_id = w.conversation_id"
        "  AND m.seq BETWEEN w.low AND w.high) c CROSS JOIN LATERAL ("
        "  SELECT s AS seq FROM generate_series(w.low, w.high) s WHERE NOT EXISTS (SELECT 1 FROM messages m"
        "   WHERE m.conversation_id = w.conversation_id AND m.seq = s)) g WHERE c.n <> w.high - w.low + 1",
    ),
    Check(
        "time_order",
        "an entry that is not later than the one before it: told",
        "SELECT conversation_id, seq AS subject FROM (SELECT w.conversation_id, m.seq, m.sent_at <= lag(m.sent_at)"
        " OVER (PARTITION BY w.conversation_id, w.low ORDER BY m.seq) AS is_back FROM w JOIN messages m"
        " ON m.conversation_id = w.conversation_id AND m.seq BETWEEN w.low - 1 AND w.high) o WHERE is_back",
    ),
    Check(
        "key_wrong",
        "a deduplication key that names another place than its message has: set to it",
        "SELECT w.conversation_id, k.message_id AS subject, m.seq, m.sent_at"
        f" FROM {_ENTRIES} JOIN send_keys k ON k.message_id = m.id WHERE m.client_random IS NOT NULL"
        " AND (k.conversation_id, k.seq, k.sent_at) IS DISTINCT FROM (m.conversation_id, m.seq, m.sent_at)",
        "UPDATE send_keys k SET conversation_id = bad.conversation_id, seq = bad.seq, sent_at = bad.sent_at FROM bad"
        " WHERE k.message_id = bad.subject",
    ),
    Check(
        "key_missing",
        "a message without its deduplication key within the retention: made again where its content is there, and told"
        " where it is not or the message expires",
        f"SELECT w.conversation_id, m.id AS subject FROM {_ENTRIES} WHERE m.client_random IS NOT NULL"
        " AND m.sent_at > clock_timestamp() - make_interval(secs => %(keys_kept)s) AND NOT EXISTS ("
        " SELECT 1 FROM send_keys k WHERE k.sender_id = m.sender_id AND k.client_random = m.client_random)",
    ),
    Check(
        "status_orphan",
        "a status of somebody who was no recipient: deleted",
        f"SELECT w.conversation_id, s.id AS subject FROM {_ENTRIES} JOIN delivery_statuses s ON s.message_id = m.id"
        f" WHERE NOT ({_MESSAGE}) OR s.user_id = m.sender_id OR NOT {_was_member('s.user_id')}",
        "DELETE FROM delivery_statuses s USING bad WHERE s.id = bad.subject",
    ),
    Check(
        "status_missing",
        "a recipient without a status: written, delivered where the recipient acknowledged it",
        "SELECT w.conversation_id, m.id AS subject, r.user_id, r.is_past AND c.type = 'group' AND NOT m.withheld"
        f" AND {_IS_THERE} AS is_delivered FROM {_ENTRIES} JOIN conversations c ON c.id = w.conversation_id"
        " CROSS JOIN LATERAL (SELECT o.user_id, o.delivered_seq >= m.seq AS is_past, count(*) OVER () AS recipients"
        "  FROM members o WHERE o.conversation_id = m.conversation_id AND o.user_id <> m.sender_id"
        f"  AND {_was_member('o.user_id')}) r"
        f" WHERE {_MESSAGE} AND r.recipients <= %(rows_max)s AND NOT EXISTS (SELECT 1 FROM delivery_statuses s"
        "  WHERE s.message_id = m.id AND s.user_id = r.user_id)",
        "INSERT INTO delivery_statuses (message_id, user_id, delivered_at) SELECT subject, user_id,"
        " CASE WHEN is_delivered THEN clock_timestamp() END FROM bad ON CONFLICT DO NOTHING",
    ),
    Check(
        "watermark_behind",
        "a member who is behind their own statuses: raised",
        "SELECT w.conversation_id, b.user_id AS subject, b.id, max(m.seq) AS delivered_to,"
        " coalesce(max(m.seq) FILTER (WHERE s.read_at IS NOT NULL), 0) AS read_to"
        f" FROM {_ENTRIES} JOIN delivery_statuses s ON s.message_id = m.id AND s.delivered_at IS NOT NULL"
        " JOIN members b ON b.conversation_id = w.conversation_id AND b.user_id = s.user_id"
        " GROUP BY w.conversation_id, b.user_id, b.id, b.delivered_seq, b.public_read_seq"
        " HAVING max(m.seq) > b.delivered_seq"
        " OR coalesce(max(m.seq) FILTER (WHERE s.read_at IS NOT NULL), 0) > b.public_read_seq",
        "UPDATE members b SET delivered_seq = greatest(b.delivered_seq, bad.delivered_to),"
        " read_seq = greatest(b.read_seq, bad.read_to), public_read_seq = greatest(b.public_read_seq, bad.read_to)"
        " FROM bad WHERE b.id = bad.id",
    ),
    Check(
        "status_behind",
        "a status that is behind its group's member: delivered now",
        f"SELECT w.conversation_id, s.id AS subject FROM {_ENTRIES}"
        " JOIN conversations c ON c.id = w.conversation_id AND c.type = 'group'"  # a block keeps a direct one's behind
        " JOIN delivery_statuses s ON s.message_id = m.id AND s.delivered_at IS NULL"
        " JOIN members b ON b.conversation_id = w.conversation_id AND b.user_id = s.user_id"
        f" AND m.seq BETWEEN b.joined_seq AND b.delivered_seq WHERE NOT m.withheld AND {_IS_THERE}",
        "UPDATE delivery_statuses s SET delivered_at = clock_timestamp() FROM bad WHERE s.id = bad.subject"
        " AND s.delivered_at IS NULL",
    ),
    Check(
        "push_missing",
        "somebody who did not receive a message, was not told of it, and was not going to be: told",
        f"SELECT w.conversation_id, b.user_id AS subject FROM {_ENTRIES}"
        " JOIN conversations c ON c.id = w.conversation_id AND c.deleted_at IS NULL"
        " JOIN members b ON b.conversation_id = w.conversation_id AND b.left_seq IS NULL AND b.user_id <> m.sender_id"
        f" AND m.seq > b.delivered_seq AND m.seq >= b.joined_seq WHERE {_MESSAGE} AND NOT m.withheld AND {_IS_THERE}"
        f" AND m.sent_at BETWEEN clock_timestamp() - interval '{_PUSHED_DAYS} days'"
        f" AND clock_timestamp() - interval '{_PUSH_MINUTES} minutes'"
        " AND NOT EXISTS (SELECT 1 FROM hidden_messages h WHERE h.message_id = m.id AND h.user_id = b.user_id)"
        " AND NOT EXISTS (SELECT 1 FROM push_states p WHERE p.user_id = b.user_id"
        "  AND p.conversation_id = b.conversation_id"
        "  AND (p.due_at IS NOT NULL OR p.pushed_seq >= m.seq OR p.attempts > 0))"  # the last: a dead letter tells
        " AND w.conversation_id NOT IN (SELECT u.id FROM push_outbox o, unnest(o.conversation_ids) AS u(id)"
        "  WHERE u.id IS NOT NULL)"
        " GROUP BY w.conversation_id, b.user_id",
        "INSERT INTO push_states AS p (user_id, conversation_id, due_at, armed_at, pushed_devices)"
        " SELECT subject, conversation_id, clock_timestamp(), clock_timestamp(), '{}' FROM bad ORDER BY 1, 2"
        " ON CONFLICT (user_id, conversation_id) DO UPDATE SET due_at = least(p.due_at, excluded.due_at),"
        " armed_at = CASE WHEN p.due_at IS NULL THEN excluded.armed_at ELSE p.armed_at END",
    ),
    Check(
        "media_link_missing",
        "a message with a medium that the media service is not told of: told",
        f"SELECT w.conversation_id, m.id AS subject, m.media_id FROM {_ENTRIES} WHERE m.media_id IS NOT NULL"
        " AND NOT m.is_deleted AND NOT EXISTS (SELECT 1 FROM media_links l WHERE l.message_id = m.id)",
        "INSERT INTO media_links (media_id, message_id, conversation_id, attempts, next_try_at)"
        " SELECT media_id, subject, conversation_id, 0, clock_timestamp() FROM bad ON CONFLICT DO NOTHING",
    ),
    Check(
        "media_link_stale",
        "a medium that is kept for a message which is gone: its removal is told",
        f"SELECT w.conversation_id, l.id AS subject FROM {_ENTRIES} JOIN media_links l ON l.message_id = m.id"
        " WHERE m.is_deleted AND l.removed_at IS NULL",
        "UPDATE media_links l SET removed_at = clock_timestamp(), next_try_at = clock_timestamp(), attempts = 0"
        " FROM bad WHERE l.id = bad.subject",
    ),
    Check(
        "media_link_parked",
        "a link that is not tried any more, of which no dead letter tells: tried",
        f"SELECT w.conversation_id, l.id AS subject FROM {_ENTRIES} JOIN media_links l ON l.message_id = m.id"
        " WHERE (l.linked_at IS NULL OR l.removed_at IS NOT NULL) AND l.next_try_at > now() + interval '1 year'"
        " AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.kind = 'media_link' AND d.key = l.id::text"
        "  AND d.state IN ('waiting', 'discarded'))",
        "UPDATE media_links l SET next_try_at = clock_timestamp(), attempts = 0 FROM bad WHERE l.id = bad.subject",
    ),
)
KEY_ORPHAN = Check("key_orphan", "a deduplication key without its message: deleted, so that a resend is kept", "")
