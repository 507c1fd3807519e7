"""Where bytes that should be gone might still be: every table of the database, every key of Redis, any other bytes.

A canary is looked for as it is, as hex and as base64, wherever in a longer text it begins.
"""

import asyncio
import base64
import os
from typing import Any

import redis
from django.db import connection

# What cannot carry text: numbers, times, ids. All else is looked through, types that are not known yet among it.
_BARE = (
    "bigint",
    "boolean",
    "date",
    "double precision",
    "inet",
    "integer",
    "numeric",
    "real",
    "smallint",
    "time without time zone",
    "timestamp with time zone",
    "timestamp without time zone",
    "uuid",
)


def needles(canary: bytes) -> list[bytes]:
    """The forms in which a text or a dump would hold the canary."""
    return [canary, canary.hex().encode(), *_base64_cores(canary)]


def _base64_cores(canary: bytes) -> list[bytes]:
    """What of the canary's base64 does not depend on the bytes around it, for each place in a group of three."""
    cores = []
    for before in range(3):
        text = base64.b64encode(b"\0" * before + canary)
        cores.append(text[(0, 2, 3)[before] : (before + len(canary)) // 3 * 4])
    return cores


def tables_with(canary: bytes) -> list[str]:
    """`table.column` of every column of the database's own schemas that holds `canary`."""
    found: list[str] = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema <> 'information_schema' AND table_schema NOT LIKE 'pg\\_%%'"
            " AND data_type <> ALL(%s) ORDER BY 1, 2, 3",
            [list(_BARE)],
        )
        for schema, table, column, kind in cursor.fetchall():
            value = f'"{column}"' if kind == "bytea" else f"convert_to(\"{column}\"::text, 'UTF8')"
            wanted = needles(canary)
            where = " OR ".join([f"position(%s::bytea IN {value}) > 0"] * len(wanted))
            cursor.execute(f'SELECT count(*) FROM "{schema}"."{table}" WHERE {where}', wanted)
            if cursor.fetchone()[0]:
                found.append(f"{table}.{column}")
    return found


def redis_keys_with(canary: bytes) -> list[bytes]:
    """Every key of the tests' Redis database, queues among them, whose name or value holds `canary`."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    wanted = needles(canary)
    try:
        return [
            key
            for key in client.scan_iter(count=1_000)
            if any(needle in part for part in (key, *_parts(client, key)) for needle in wanted)
        ]
    finally:
        client.close()


def recent_keys_delete() -> None:
    """Take away what earlier tests left in the cache of recent entries: their loops ended before they could."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    try:
        for key in client.scan_iter("conv:recent:*", count=1_000):
            client.delete(key)
    finally:
        client.close()


async def redis_keys_left(canary: bytes, seconds: float = 10.0) -> list[bytes]:
    """The same once a cache had time to hear of it: what is still there after `seconds` (there is a minute)."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while (found := await asyncio.to_thread(redis_keys_with, canary)) and loop.time() < deadline:
        await asyncio.sleep(0.05)
    return found


def _parts(client: Any, key: bytes) -> list[bytes]:
    """What a key holds, as it was written: a serialised value (DUMP) may be compressed, and shows no canary."""
    kind = client.type(key)
    if kind == b"string":
        return [client.get(key) or b""]
    if kind == b"list":
        return list(client.lrange(key, 0, -1))
    if kind == b"set":
        return list(client.smembers(key))
    if kind == b"zset":
        return list(client.zrange(key, 0, -1))
    if kind == b"hash":
        return [part for pair in client.hgetall(key).items() for part in pair]
    if kind == b"stream":
        return [part for _, fields in client.xrange(key) for pair in fields.items() for part in pair]
    return [client.dump(key) or b""]
