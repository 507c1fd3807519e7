"""The built-in push log, bounded (docs/operations.md "Pushes"): what would have gone out, without a token."""

from collections.abc import Sequence

from django.db import connection, transaction

from delivery.events import Push

PLATFORMS_CHARS = 200


def push_log_insert(pushes: Sequence[Push], keep: int) -> None:
    """Note pushes whose key is not there yet, and forget all but the last `keep` at most."""
    rows = [
        (
            push.key,
            push.kind,
            push.user_id,
            push.conversation_id,
            push.count,
            push.badge,
            ", ".join(sorted({device.platform for device in push.devices if device.platform}))[:PLATFORMS_CHARS],
            len(push.devices),
        )
        for push in sorted(pushes, key=lambda push: push.key)
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO push_log (key, kind, user_id, conversation_id, count, badge, platforms, devices)"
            " SELECT * FROM unnest(%s::text[], %s::text[], %s::uuid[], %s::uuid[], %s::int[], %s::int[], %s::text[],"
            " %s::int[]) ON CONFLICT (key) DO NOTHING",
            list(map(list, zip(*rows, strict=True))),
        )
        cursor.execute("DELETE FROM push_log WHERE id <= (SELECT max(id) FROM push_log) - %s", [keep])
