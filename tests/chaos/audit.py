"""What must hold in the database when all is quiet: each query counts what breaks it."""

import json
import re
from typing import Any

import psycopg

from tests.chaos.history import History
from tests.chaos.system import System

# name -> SQL of one number, which must be 0. A table that an older version lacks makes its query be passed over.
QUERIES = {
    "heads that are not the number of entries": """
        SELECT count(*) FROM conversations c JOIN (
            SELECT conversation_id, count(*) AS n, max(seq) AS head, min(seq) AS first FROM messages GROUP BY 1
        ) m ON m.conversation_id = c.id
        WHERE c.last_seq <> m.n OR c.last_seq <> m.head OR m.first <> 1""",
    "messages without exactly one key": """
        SELECT count(*) FROM messages m WHERE m.client_random IS NOT NULL AND 1 <> (SELECT count(*) FROM send_keys k
            WHERE k.message_id = m.id AND k.sender_id = m.sender_id AND k.client_random = m.client_random)""",
    "keys without their message": """
        SELECT count(*) FROM send_keys k WHERE k.seq > 0 AND NOT EXISTS (
            SELECT 1 FROM messages m
            WHERE m.id = k.message_id AND m.conversation_id = k.conversation_id AND m.seq = k.seq)""",
    "statuses without a message": """
        SELECT count(*) FROM delivery_statuses s
        WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = s.message_id)""",
    "messages whose statuses are not one a recipient": """
        SELECT count(*) FROM messages m JOIN conversations c ON c.id = m.conversation_id
        WHERE m.message_type IN ('text', 'media', 'ephemeral')
        AND NOT EXISTS (SELECT 1 FROM members b WHERE b.conversation_id = c.id
            AND (b.left_seq IS NOT NULL OR b.joined_seq > 1))
        AND (SELECT count(*) FROM delivery_statuses s WHERE s.message_id = m.id) <> c.member_count - 1""",
    "statuses that their member's watermark contradicts": """
        SELECT count(*) FROM delivery_statuses s JOIN messages m ON m.id = s.message_id
        JOIN members b ON b.conversation_id = m.conversation_id AND b.user_id = s.user_id
        WHERE NOT m.withheld AND b.left_seq IS NULL AND m.seq >= b.joined_seq
        AND m.expires_at IS NULL AND NOT m.is_deleted
        AND NOT EXISTS (SELECT 1 FROM blocks x WHERE (x.user_id, x.blocked_id) IN (
            (s.user_id, m.sender_id), (m.sender_id, s.user_id)))
        AND (s.delivered_at IS NOT NULL) <> (m.seq <= b.delivered_seq)""",
    "statuses read before they were delivered": """
        SELECT count(*) FROM delivery_statuses WHERE read_at IS NOT NULL
        AND (delivered_at IS NULL OR read_at < delivered_at)""",
    "watermarks beyond their log": """
        SELECT count(*) FROM members b JOIN conversations c ON c.id = b.conversation_id
        WHERE b.delivered_seq > c.last_seq OR b.read_seq > b.delivered_seq""",
    "cursors beyond their log": """
        SELECT count(*) FROM device_cursors d JOIN conversations c ON c.id = d.conversation_id
        WHERE d.acked_seq > c.last_seq""",
    "scheduled messages that are overdue": """
        SELECT count(*) FROM scheduled_messages WHERE state = 'scheduled'
        AND scheduled_for < now() - interval '30 seconds'""",
    "scheduled messages marked sent without a message": """
        SELECT count(*) FROM scheduled_messages s WHERE s.state = 'sent'
        AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = s.message_id)""",
    "expired contents that are still stored after a minute": """
        SELECT count(*) FROM messages WHERE expires_at < now() - interval '60 seconds' AND length(content) > 0""",
    "expired contents of edits that are still stored after a minute": """
        SELECT count(*) FROM messages e JOIN messages m ON m.id = e.target_id
        WHERE m.expires_at < now() - interval '60 seconds' AND length(e.content) > 0""",
    "pushes that wait for over a minute": """
        SELECT count(*) FROM push_outbox WHERE at < now() - interval '60 seconds'""",
    "pushes that are due for over a minute": """
        SELECT count(*) FROM push_states WHERE due_at < now() - interval '60 seconds'""",
    "messages that a recipient lacks and was never told of": """
        SELECT count(*) FROM messages m JOIN members b ON b.conversation_id = m.conversation_id
        AND b.left_seq IS NULL AND b.user_id <> m.sender_id AND m.seq > greatest(b.delivered_seq, b.joined_seq - 1)
        WHERE m.message_type IN ('text', 'media', 'ephemeral') AND NOT m.is_deleted AND NOT m.withheld
        AND (m.expires_at IS NULL OR m.expires_at > now()) AND m.sent_at < now() - interval '60 seconds'
        AND NOT EXISTS (SELECT 1 FROM push_states p WHERE p.conversation_id = m.conversation_id
            AND p.user_id = b.user_id AND (p.pushed_seq >= m.seq OR p.due_at IS NOT NULL))""",
    "media links that were tried five times": "SELECT count(*) FROM media_links WHERE attempts >= 5",
}
QUEUES = ("retry:messages:",)
# A change that was accepted while the database was away and is refused on its return, its message being deleted since.
REFUSALS = ("invalid_target", "edit_conflict", "not_found", "stale_membership", "client_random_reused")


async def audit(system: System, history: History, *, poisoned: int = 0) -> None:
    """Ask all of it, and note the answers. `poisoned` dead letters were there before, or meant."""
    for name, query in QUERIES.items():
        try:
            rows = await system.sql(query)
            shown = await _sample(system, query) if rows[0][0] else ""
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
            continue
        history.write("audit", "ok", note=f"{name}{shown}", count=int(rows[0][0]))
    waiting = 0
    for key in await system.redis("KEYS", "*"):
        if any(queue.encode() in key for queue in QUEUES):
            kind = (await system.redis("TYPE", key)).decode()
            waiting += int(
                await system.redis({"list": "LLEN", "stream": "XLEN", "zset": "ZCARD"}.get(kind, "EXISTS"), key)
            )
    history.write("audit", "ok", note="messages that wait in the recovery queue", count=waiting)
    named = sum(system.log_of(process.name).count("canary-") for process in system.processes)
    named += system.log_of("postgres").count("canary-") + system.log_of("valkey").count("canary-")
    history.write("audit", "ok", note="contents in logs", count=named)
    for user, number, state in await system.sql("SELECT user_id, client_random, state FROM scheduled_messages"):
        history.write("planned", "ok", user=str(user), client_random=number, status=state)
    dead = await dead_letters(system)
    count = max(0, sum(int(row[3]) for row in dead) - poisoned)
    note = "dead letters that nobody meant" + (f", as {dead[0][:3]}" if count else "")
    history.write("audit", "ok", note=note, count=count)


async def dead_letters(system: System) -> list[tuple[Any, ...]]:
    """(kind, code, detail, count) of what was given up, but for refusals."""
    try:
        return await system.sql(
            "SELECT kind, code, left(detail, 120), count(*) FROM dead_letters"
            " WHERE NOT (kind = 'pending' AND code = ANY(%s)) GROUP BY 1, 2, 3",
            list(REFUSALS),
        )
    except psycopg.errors.UndefinedTable:
        return []


async def _sample(system: System, query: str) -> str:
    """One of the rows that a query counts, without what is anybody's secret."""
    found = re.match(r"\s*SELECT count\(\*\) FROM (\w+)(?: (?!WHERE|JOIN)(\w+))?", query)
    assert found is not None, query
    alias = found[2] or found[1]
    shown = f"to_jsonb({alias}) - '{{content,metadata,signature,request,fingerprint}}'::text[]"
    rows = await system.sql(query.replace("count(*)", shown, 1) + " LIMIT 1")
    return f", as {json.dumps(rows[0][0], default=str)}" if rows else ""
