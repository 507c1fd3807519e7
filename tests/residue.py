"""Where bytes that should be gone might still be: every table of the database, every key of Redis."""

import os

import redis
from django.db import connection

# Types whose text can carry a canary; ciphertext is looked for as it is and as base64.
_TYPES = ("text", "character varying", "jsonb", "json", "bytea", "character")


def tables_with(canary: bytes) -> list[str]:
    """`table.column` of every column of the schema that holds `canary`, as bytes, hex or base64 text."""
    found: list[str] = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'public' AND data_type = ANY(%s) ORDER BY 1, 2",
            [list(_TYPES)],
        )
        for table, column, kind in cursor.fetchall():
            value = f'"{column}"' if kind == "bytea" else f"convert_to(\"{column}\"::text, 'UTF8')"
            needles = [canary, canary.hex().encode(), _base64_core(canary)]
            where = " OR ".join([f"position(%s::bytea IN {value}) > 0"] * len(needles))
            cursor.execute(f'SELECT count(*) FROM "{table}" WHERE {where}', needles)
            if cursor.fetchone()[0]:
                found.append(f"{table}.{column}")
    return found


def _base64_core(canary: bytes) -> bytes:
    """What of the canary's base64 does not depend on the bytes around it, where it begins a group of three."""
    import base64

    return base64.b64encode(canary[: len(canary) // 3 * 3])


def redis_keys_with(canary: bytes) -> list[bytes]:
    """Every key of the tests' Redis database whose name or serialised value holds `canary`."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    needles = (canary, canary.hex().encode(), _base64_core(canary))
    try:
        return [
            key
            for key in client.scan_iter(count=1_000)
            if any(needle in key or needle in (client.dump(key) or b"") for needle in needles)
        ]
    finally:
        client.close()
