"""What became of messages, kept for while the database is away (specification §10.2), and never against it.

| key | what | kept for |
| --- | --- | --- |
| `delivery:{messageId}` | the statuses at its recipients, and the stamps that they hold under | 7 days |
| `conv:delivery:{id}` | the stamp of a conversation, of a user, or of everything | 8 days |

A hint holds as long as its three stamps are there. Whatever makes it untrue takes a stamp away, which is one command
for all hints of a conversation, and nothing where there are none (`recent_note`). A stamp is made before the database
is read, so a change that comes meanwhile takes it away, too.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from django.db import connection

from delivery.store.status import list_delivery
from messaging.events import DeliveryView
from whispr.kernel.limits import LIMITS
from whispr.kernel.redis import RedisLink, Script

HINT_SECONDS = 7 * 24 * 3600
STAMP_SECONDS = 8 * 24 * 3600
EVERYTHING = UUID(int=0)  # the stamp that all hints hold under


class Hint(msgspec.Struct, frozen=True):
    """What a sender was told of one message, and until when it can hold."""

    conversation_id: UUID
    user_id: UUID
    until: datetime  # then it expires, or its delivery times out
    recipients: list[DeliveryView]


_STAMPS = Script("""
local found = {}
for i = 3, #ARGV do
    local key = 'conv:delivery:' .. ARGV[i]
    redis.call('SET', key, ARGV[2], 'NX')
    redis.call('EXPIRE', key, ARGV[1])
    found[#found + 1] = redis.call('GET', key)
end
return found
""")

_GET = Script("""
local hint = redis.call('HMGET', 'delivery:' .. ARGV[1], 'of', 'stamps', 'hint')
if not hint[3] then return false end
local now = ''
for id in string.gmatch(hint[1], '%S+') do now = now .. (redis.call('GET', 'conv:delivery:' .. id) or '-') .. ' ' end
return now == hint[2] and hint[3]
""")

_PUT = Script("""
for i = 2, #ARGV, 4 do
    local key = 'delivery:' .. ARGV[i]
    redis.call('HSET', key, 'of', ARGV[i + 1], 'stamps', ARGV[i + 2], 'hint', ARGV[i + 3])
    redis.call('EXPIRE', key, ARGV[1])
end
return 0
""")


def _of(conversation_id: UUID, user_id: UUID) -> tuple[str, str, str]:
    return str(conversation_id), str(user_id), str(EVERYTHING)


async def stamps_make(link: RedisLink, ids: Sequence[UUID]) -> dict[str, str]:
    """The stamps of these conversations and users and of everything, made where there are none. Raises RedisAway, as
    all of these do."""
    names = [*map(str, ids), str(EVERYTHING)]
    found = await link.run(_STAMPS, [], [STAMP_SECONDS, secrets.token_hex(8), *names])
    return {name: stamp.decode() for name, stamp in zip(names, found, strict=True)}


async def hints_put(link: RedisLink, hints: Sequence[tuple[UUID, Hint]], stamps: dict[str, str]) -> None:
    """Keep what was read after `stamps` were made, by message."""
    args: list[str | bytes | int] = [HINT_SECONDS]
    for message_id, hint in hints:
        names = _of(hint.conversation_id, hint.user_id)
        args += [str(message_id), " ".join(names), "".join(f"{stamps[name]} " for name in names)]
        args.append(msgspec.msgpack.encode(hint))
    await link.run(_PUT, [], args)


async def get_hint(link: RedisLink, message_id: UUID) -> Hint | None:
    """What became of a message, if nothing changed since that was read."""
    packed = await link.run(_GET, [], [str(message_id)])
    return msgspec.msgpack.decode(packed, type=Hint) if packed else None


def list_own_places(pairs: Sequence[tuple[UUID, UUID]]) -> dict[UUID, UUID]:
    """The conversation of each message of `pairs` (sender, message)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT m.id, m.conversation_id FROM messages m"
            " JOIN unnest(%s::uuid[], %s::uuid[]) AS f(sender_id, id) ON m.id = f.id AND m.sender_id = f.sender_id",
            [[pair[0] for pair in pairs], [pair[1] for pair in pairs]],
        )
        return dict(cursor.fetchall())


def read_hint(user_id: UUID, message_id: UUID) -> Hint | None:
    """What became of a message of the user's, as it is now; None where it is gone, or soon: of an erasure nothing is
    kept, for it changes with every device."""
    recipients = list_delivery(user_id, message_id)
    if recipients is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conversation_id, least(expires_at, sent_at + make_interval(secs => %s)) FROM messages"
            " WHERE id = %s AND NOT is_deleted AND coalesce(expires_at > clock_timestamp(), true)",
            [LIMITS.delivery_timeout_seconds, message_id],
        )
        row = cursor.fetchone()
    return None if row is None else Hint(row[0], user_id, row[1], recipients)
