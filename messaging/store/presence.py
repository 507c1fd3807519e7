"""Who is present where, in Redis: a set of sockets for each conversation; a socket that is not renewed expires."""

import struct
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from whispr.kernel.redis import RedisLink, Script

# A conversation has at most 1,000 members: 1,000 sockets are shown, some 130 KB of `presence_state`.
SOCKETS_MAX = 1_000
# A socket as a member of its conversation's set: form 1, user, device, reference, since when (ms), process.
_MEMBER = struct.Struct(">B16s16s9sQ8s")
MEMBER_BYTES = _MEMBER.size
_FORM = 1


@dataclass(frozen=True, slots=True)
class PresentSocket:
    """A socket that is present in a conversation. `origin` is the process that renews it."""

    user_id: UUID
    device_id: UUID
    ref: bytes  # 9 random bytes
    online_at_ms: int
    origin: bytes

    def pack(self) -> bytes:
        """Its form in Redis and on the bus: always the same bytes for the same socket."""
        return _MEMBER.pack(_FORM, self.user_id.bytes, self.device_id.bytes, self.ref, self.online_at_ms, self.origin)

    @classmethod
    def unpack(cls, member: bytes) -> "PresentSocket | None":
        """The socket of a member; None for a form that this version does not know."""
        if len(member) != MEMBER_BYTES or member[0] != _FORM:
            return None
        _, user, device, ref, online_at_ms, origin = _MEMBER.unpack(member)
        return cls(UUID(bytes=user), UUID(bytes=device), ref, online_at_ms, origin)

    @property
    def phx_ref(self) -> str:
        """The reference as clients see it."""
        return urlsafe_b64encode(self.ref).decode()

    @property
    def online_at(self) -> datetime:
        """Since when it is present."""
        return datetime.fromtimestamp(self.online_at_ms / 1000, UTC)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What to do with one conversation's set: `renewals` and `joins` are put in, and then `leaves` taken out."""

    conversation_id: UUID
    renewals: Sequence[bytes] = ()  # members that should be there already
    joins: Sequence[bytes] = ()
    leaves: Sequence[bytes] = ()
    wants_list: bool = False


@dataclass(frozen=True, slots=True)
class Exchanged:
    """`lost`: so many renewals were not there, and are now. `members`: the set, where it was wanted."""

    lost: int
    members: frozenset[bytes]


# Scores are when a member expires, by Redis's own clock (ms): the processes' clocks may differ.
_EXCHANGE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetime = tonumber(ARGV[1])
local room = tonumber(ARGV[2])
local at = 3
local answers = {}
for i, key in ipairs(KEYS) do
    local renewals, joins, leaves = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local wants_list = ARGV[at + 3] == '1'
    at = at + 4
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    local free = room - redis.call('ZCARD', key)
    local lost = 0
    for j = 1, renewals + joins do
        local member = ARGV[at]
        at = at + 1
        if redis.call('ZSCORE', key, member) then
            redis.call('ZADD', key, now + lifetime, member)
        else
            if free > 0 then
                if j <= renewals then lost = lost + 1 end
                redis.call('ZADD', key, now + lifetime, member)
                free = free - 1
            end
        end
    end
    for j = 1, leaves do
        redis.call('ZREM', key, ARGV[at])
        at = at + 1
    end
    if renewals + joins > 0 then redis.call('PEXPIRE', key, lifetime) end
    answers[i] = { lost, wants_list and redis.call('ZRANGE', key, 0, -1) or {} }
end
return answers
""")


async def presences_exchange(
    link: RedisLink, exchanges: Sequence[Exchange], lifetime_seconds: float
) -> list[Exchanged]:
    """Do all exchanges in one step. What is put in stays for `lifetime_seconds` unless it is renewed.

    At most SOCKETS_MAX members a conversation are kept. Raises RedisAway.
    """
    args: list[bytes | int] = [int(lifetime_seconds * 1000), SOCKETS_MAX]
    for one in exchanges:
        args += (len(one.renewals), len(one.joins), len(one.leaves), int(one.wants_list))
        args += (*one.renewals, *one.joins, *one.leaves)
    keys = [f"whispr:presence:{one.conversation_id.hex}" for one in exchanges]
    return [Exchanged(lost, frozenset(members)) for lost, members in await link.run(_EXCHANGE, keys, args)]
