"""The baseline: pgbench alone on the same database, one transaction a message and one an acknowledgement.

What a system without group commit could make at best: each client has a conversation of its own (no row is contended),
each transaction is one prepared statement (one round trip), nothing stands between pgbench and PostgreSQL. One run
of the script is one full cycle, so pgbench's transactions a second are cycles a second.
"""

import asyncio
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit
from uuid import UUID

import psycopg

from bench.check import list_faults
from bench.client import ClientFault
from bench.latency import spread
from bench.ledger import Ledger
from bench.options import Options
from bench.report import Result
from bench.target import Target
from bench.usage import between
from whispr.embedded.finder import ServersMissing, find_postgres
from whispr.kernel.ids import new_id

# The statements of messaging/store/log.py and delivery/store/receipts.py, for one message instead of a batch.
SCRIPT = """\
\\set n :client_id + 1
\\set client_random random(0, 9007199254740991)
WITH place AS (
    UPDATE conversations c SET last_seq = c.last_seq + 1,
        last_sent_at = greatest(clock_timestamp(), c.last_sent_at + interval '1 microsecond')
    FROM bench_pairs p WHERE p.n = :n AND c.id = p.conversation_id
    RETURNING c.id, c.last_seq, c.last_sent_at, p.sender_id, p.sender_device_id
), entry AS (
    INSERT INTO messages (id, conversation_id, seq, sender_id, sender_device_id, message_type, content, metadata,
        client_random, sent_at, is_deleted, delete_for_everyone)
    SELECT {new_id}, id, last_seq, sender_id, sender_device_id, 'text', '\\x{content}'::bytea, '{{}}'::jsonb,
        :client_random, last_sent_at, false, false FROM place
    RETURNING id, conversation_id, seq, sender_id, sent_at
){keys}, statuses AS (
    INSERT INTO delivery_statuses (message_id, user_id)
    SELECT e.id, m.user_id FROM entry e
    JOIN members m ON m.conversation_id = e.conversation_id AND m.left_seq IS NULL AND m.user_id <> e.sender_id
)
SELECT id AS message_id, seq FROM entry \\gset
WITH who AS (
    SELECT conversation_id, recipient_id, recipient_device_id FROM bench_pairs WHERE n = :n
){positions}
UPDATE delivery_statuses s SET delivered_at = coalesce(s.delivered_at, clock_timestamp())
FROM who WHERE s.message_id = :message_id AND s.user_id = who.recipient_id;
"""
# What the system writes beyond the message, its status row and last_seq; --lean leaves it out.
KEYS = """, keys AS (
    INSERT INTO send_keys (message_id, sender_id, client_random, fingerprint, conversation_id, seq, sent_at)
    SELECT id, sender_id, :client_random, '\\x{fingerprint}'::bytea, conversation_id, seq, sent_at FROM entry
)"""
POSITIONS = """, watermark AS (
    UPDATE members m SET delivered_seq = greatest(m.delivered_seq, :seq)
    FROM who WHERE m.conversation_id = who.conversation_id AND m.user_id = who.recipient_id
), cursors AS (
    INSERT INTO device_cursors AS d (device_id, conversation_id, acked_seq)
    SELECT recipient_device_id, conversation_id, :seq FROM who
    ON CONFLICT (device_id, conversation_id) DO UPDATE SET acked_seq = excluded.acked_seq
    WHERE d.acked_seq < excluded.acked_seq
)"""
_TABLE = """
CREATE TABLE bench_pairs (n int PRIMARY KEY, conversation_id uuid, sender_id uuid, sender_device_id uuid,
    recipient_id uuid, recipient_device_id uuid)"""
_TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
_DONE = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)
_LATENCY = re.compile(r"^latency average = ([0-9.]+) ms", re.MULTILINE)


async def run(target: Target, options: Options) -> Result:
    """Cycles a second of pgbench with `options.clients` clients."""
    lean = ", lean" if options.lean else ""
    paced = f", {options.rate:g} cycles/s Poisson" if options.paced else ""
    title = f"pgbench alone{paced}, {options.clients} clients, 2 transactions a cycle{lean}, {options.size} bytes"
    result = Result("baseline", f"{title}, {options.seconds:g} s")
    conversations = await asyncio.to_thread(_make_pairs, target.database_url, options.clients)
    try:
        before = target.read_usage()
        started = time.monotonic()
        said, durations = await _pgbench(target, options)
        wall = time.monotonic() - started
        used = between(before, target.read_usage())
    finally:
        await asyncio.to_thread(_drop_table, target.database_url)
    tps, done, latency = (pattern.search(said) for pattern in (_TPS, _DONE, _LATENCY))
    if tps is None or done is None:
        raise ClientFault(f"pgbench said no rate:\n{said[-2000:]}")
    cycles = int(done[1])
    result.figures |= {"clients": options.clients, "lean": options.lean, "size": options.size, "wall_s": round(wall, 2)}
    result.add("cycles_per_s", "full cycles", round(float(tps[1]), 1), "a second")
    result.add("cycle_ms", "a cycle", float(latency[1]) if latency else None, "ms on average")
    if options.paced:
        result.add_spread("cycle_spread_ms", "a cycle, from when it was due", spread(durations))
    if used.postgres is not None:
        each = 1000 * used.postgres / max(1, cycles)
        result.add("cpu_postgres_s_per_1000", "CPU PostgreSQL", round(each, 4), "s per 1,000 cycles")
    result.faults += await asyncio.to_thread(_check, target.database_url, conversations, cycles, options.lean)
    return result


def find_pgbench() -> str:
    """pgbench of the PostgreSQL that the local run would use, or the one on the path. Raises ClientFault."""
    try:
        found = find_postgres(os.environ).path / "pgbench"
        if found.exists():
            return str(found)
    except ServersMissing:
        pass
    on_path = shutil.which("pgbench")
    if on_path is None:
        raise ClientFault("pgbench is neither beside the PostgreSQL in use nor on the path.")
    return on_path


def script_of(options: Options, new_id: str) -> str:
    """The script of one full cycle; `new_id` is the SQL that makes a message's id."""
    keys = "" if options.lean else KEYS.format(fingerprint=os.urandom(32).hex())
    positions = "" if options.lean else POSITIONS
    return SCRIPT.format(new_id=new_id, content=os.urandom(options.size).hex(), keys=keys, positions=positions)


async def _pgbench(target: Target, options: Options) -> tuple[str, list[float]]:
    """What pgbench printed, and, where it was paced, how long each cycle took from when it was due, in seconds."""
    with psycopg.connect(target.database_url) as connection:
        new = "uuidv7()" if connection.info.server_version >= 180_000 else "gen_random_uuid()"
    script = script_of(options, new)
    with tempfile.TemporaryDirectory(prefix="whispr-bench-") as directory:
        path = Path(directory) / "cycle.sql"
        path.write_text(script)
        address, secret = _without_password(target.database_url)
        process = await asyncio.create_subprocess_exec(
            *(find_pgbench(), "--no-vacuum", "--protocol=prepared", f"--client={options.clients}", "--jobs=2"),
            *(f"--time={max(1, round(options.seconds))}", f"--file={path}"),
            *((f"--rate={options.rate:g}", "--log", f"--log-prefix={directory}/log") if options.paced else ()),
            address,
            env={**os.environ, **secret},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(options.seconds + 60):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        durations = [second for log in Path(directory).glob("log.*") for second in durations_of(log.read_text())]
    said = output.decode(errors="replace")
    if process.returncode:
        raise ClientFault(f"pgbench ended with {process.returncode}:\n{said[-2000:]}")
    return said, durations


def durations_of(log: str) -> list[float]:
    """The seconds from when each cycle was due to its end, of a log that pgbench --rate --log wrote.

    A line is: client, number, microseconds (the delay of a late start included), script, second, microsecond, delay.
    """
    return [int(line.split()[2]) / 1e6 for line in log.splitlines()]


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    """The address for the command line, which everybody can read, and the password for the environment."""
    parts = urlsplit(url)
    if parts.password is None:
        return url, {}
    login, _, place = parts.netloc.rpartition("@")
    bare = parts._replace(netloc=f"{login.partition(':')[0]}@{place}")
    return urlunsplit(bare), {"PGPASSWORD": unquote(parts.password)}


def _make_pairs(url: str, count: int) -> list[UUID]:
    """A conversation of its own for each client, as REST would make it, but empty."""
    conversations = []
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE IF EXISTS bench_pairs")
        connection.execute(_TABLE)
        for number in range(1, count + 1):
            made, sender, recipient, sender_device, recipient_device = (new_id() for _ in range(5))
            conversations.append(made)
            for device, user in ((sender_device, sender), (recipient_device, recipient)):
                connection.execute("INSERT INTO devices (id, user_id) VALUES (%s, %s)", [device, user])
            key = ":".join(sorted((str(sender), str(recipient))))
            connection.execute(
                "INSERT INTO conversations (id, type, direct_key, created_by, member_count)"
                " VALUES (%s, 'direct', %s, %s, 2)",
                [made, key, sender],
            )
            for user in (sender, recipient):
                connection.execute(
                    "INSERT INTO members (conversation_id, user_id, joined_seq) VALUES (%s, %s, 1)", [made, user]
                )
            connection.execute(
                "INSERT INTO bench_pairs VALUES (%s, %s, %s, %s, %s, %s)",
                [number, made, sender, sender_device, recipient, recipient_device],
            )
        connection.commit()
        connection.autocommit = True
        connection.execute("ANALYZE bench_pairs, conversations, members")
    return conversations


def _drop_table(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS bench_pairs")


def _check(url: str, conversations: list[UUID], cycles: int, lean: bool) -> list[str]:
    """pgbench's own work is checked too: a script that wrote less would be an unfair measure."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*), count(s.delivered_at), count(k.message_id) FROM messages m"
            " LEFT JOIN delivery_statuses s ON s.message_id = m.id LEFT JOIN send_keys k ON k.message_id = m.id"
            " WHERE m.conversation_id = ANY(%s)",
            [conversations],
        ).fetchone()
        acked = connection.execute(
            "SELECT coalesce(sum(d.acked_seq), 0) FROM device_cursors d WHERE d.conversation_id = ANY(%s)",
            [conversations],
        ).fetchone()
    assert row is not None
    assert acked is not None
    faults = []
    beyond = 0 if lean else cycles
    if (*row, acked[0]) != (cycles, cycles, beyond, beyond):
        faults.append(f"{cycles} cycles left {row[0]} messages, {row[1]} delivered, {row[2]} keys, {acked[0]} acked")
    if lean:
        return faults
    heads = Ledger(conversations=set(conversations))
    heads.unanswered = _keys_of(url, conversations)
    return faults + list_faults(url, heads)


def _keys_of(url: str, conversations: list[UUID]) -> set[tuple[UUID, int]]:
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT sender_id, client_random FROM messages WHERE conversation_id = ANY(%s)", [conversations]
        )
        return {(row[0], row[1]) for row in rows}
