"""Who is online, in Redis: for each user the devices that have an open socket; one that is not renewed expires."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from whispr.kernel.redis import RedisLink, Script


@dataclass(frozen=True, slots=True)
class Line:
    """One socket of a user's device. A device has one socket (a newer one replaces it), so it counts once."""

    user_id: UUID
    device_id: UUID
    socket: bytes  # its name, unique over all processes

    @property
    def member(self) -> bytes:
        """Its form in Redis: the device first, so that a newer socket of it is found."""
        return self.device_id.bytes + self.socket


@dataclass(frozen=True, slots=True)
class Change:
    """`enters`: put the line in, unless the user has as many as are allowed; otherwise take it out."""

    line: Line
    enters: bool


# Scores are when a member expires, by Redis's own clock (ms).
_CHANGE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetime = tonumber(ARGV[1])
local limit = tonumber(ARGV[2])
local answers = {}
for i, key in ipairs(KEYS) do
    local member = ARGV[2 * i + 1]
    if ARGV[2 * i + 2] == '1' then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
        for _, other in ipairs(redis.call('ZRANGE', key, 0, -1)) do
            if string.sub(other, 1, 16) == string.sub(member, 1, 16) then redis.call('ZREM', key, other) end
        end
        if redis.call('ZCARD', key) < limit then
            redis.call('ZADD', key, now + lifetime, member)
            redis.call('PEXPIRE', key, lifetime)
            answers[i] = 1
        else
            answers[i] = 0
        end
    else
        redis.call('ZREM', key, member)
        answers[i] = 1
    end
end
return answers
""")

_RENEW = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetime = tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + lifetime, ARGV[i + 1])
    redis.call('PEXPIRE', key, lifetime)
end
return #KEYS
""")

_LOOK = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answers = {}
for i, key in ipairs(KEYS) do
    answers[i] = redis.call('ZCOUNT', key, '(' .. string.format('%.0f', now), '+inf')
end
return answers
""")


def _key(user_id: UUID) -> str:
    return f"whispr:online:{user_id.hex}"


async def lines_change(link: RedisLink, changes: Sequence[Change], limit: int, lifetime_seconds: float) -> list[bool]:
    """Do all changes in one step: whether each was done, which a line over `limit` of its user is not.

    A line that enters replaces that of the same device. Raises RedisAway.
    """
    args: list[bytes | int] = [int(lifetime_seconds * 1000), limit]
    for change in changes:
        args += (change.line.member, int(change.enters))
    return [bool(done) for done in await link.run(_CHANGE, [_key(change.line.user_id) for change in changes], args)]


async def lines_renew(link: RedisLink, lines: Sequence[Line], lifetime_seconds: float) -> None:
    """Keep lines for another `lifetime_seconds`, also those that Redis lost. Raises RedisAway."""
    args: list[bytes | int] = [int(lifetime_seconds * 1000), *(line.member for line in lines)]
    await link.run(_RENEW, [_key(line.user_id) for line in lines], args)


async def list_online(link: RedisLink, user_ids: Sequence[UUID]) -> set[UUID]:
    """Which of the users have a line. Raises RedisAway."""
    counts = await link.run(_LOOK, [_key(user_id) for user_id in user_ids], [])
    return {user_id for user_id, count in zip(user_ids, counts, strict=True) if count}
