"""The sends of each user's last minute, in Redis: one exact count for all processes (docs/protocol.md "Limits")."""

from collections.abc import Mapping
from uuid import UUID

from whispr.kernel.redis import RedisLink, Script

WINDOW_SECONDS = 60

# A user's key is the list of the times (µs, Redis's own clock) of the last `limit` sends, newest first. One more fits
# when the oldest of these is a window ago. That is exact for any 60 s, and costs no search.
_TAKE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local limit = tonumber(ARGV[1])
local window = tonumber(ARGV[2]) * 1000000
local answers = {}
for i, key in ipairs(KEYS) do
    local wanted = tonumber(ARGV[i + 2])
    local granted = 0
    local wait = 0
    local newest = redis.call('LINDEX', key, 0)
    if newest and tonumber(newest) > now then
        redis.call('DEL', key) -- the clock was set back: times to come would lock the user out until then
    end
    while granted < wanted do
        local oldest = redis.call('LINDEX', key, limit - 1)
        if oldest and tonumber(oldest) + window > now then
            wait = tonumber(oldest) + window - now
            break
        end
        redis.call('LPUSH', key, string.format('%.0f', now))
        granted = granted + 1
    end
    if granted > 0 then
        redis.call('LTRIM', key, 0, limit - 1)
        redis.call('PEXPIRE', key, window / 1000)
    end
    answers[2 * i - 1] = granted
    answers[2 * i] = wait
end
return answers
""")


async def sends_take(link: RedisLink, wanted: Mapping[UUID, int], limit: int) -> dict[UUID, tuple[int, float]]:
    """Take up to `wanted` sends for each user, at most `limit` in any 60 seconds, in one step.

    Returns for each user how many fit, and the seconds until one more does (0 when all fitted). What does not fit is
    not counted. Raises RedisAway, when it may still be counted by a Redis that was only slow.
    """
    keys = [f"whispr:sends:{user_id.hex}" for user_id in wanted]
    answers = await link.run(_TAKE, keys, [limit, WINDOW_SECONDS, *wanted.values()])
    return {user_id: (int(answers[2 * i]), int(answers[2 * i + 1]) / 1_000_000) for i, user_id in enumerate(wanted)}
