"""The recovery queue: sends that wait in Redis while the database is away (docs/protocol.md "Pending sends").

It is the one thing in Redis that is not made again from elsewhere, so it is used only where Redis keeps it: with an
append-only file that is written and synchronised before an answer, and without eviction. What a queue holds:

| key | what |
| --- | --- |
| `retry:messages:{priority}` | a list: the places of entries, in the order in which they came |
| `retry:message:{messageId}` | the entry; it expires with the message's ttl |
| `retry:keys` | (sender, clientRandom) of the entries: a fingerprint and the message's id |
| `retry:waiting`, `retry:levels` | for each conversation: how many wait, and the lowest priority among them |
| `retry:bytes` | the size of all entries |
| `retry:lease` | who drains |
| `retry:dead:{messageId}` | an entry whose append failed for no known reason; staff may have it tried again |
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import msgspec
from django.db import connection
from redis import exceptions as redis_errors

from messaging.store.log import NewEntry
from whispr.kernel.errors import ClientRandomReused, Overloaded, Timeout, WhisprError
from whispr.kernel.limits import LIMITS
from whispr.kernel.redis import RedisAway, Script, redis_access, redis_answered, redis_client, redis_failed

Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
LEASE_MS = 10_000
# Above the second that a server with `appendfsync everysec` may take to synchronise.
SYNC_MS = 2_500
WAIT_SECONDS = 4.0
_KEY = "retry:messages:"
# Places that are looked through for what is not held: of 150 bytes each, some milliseconds of Redis's time.
HELD_DEPTH = 5_000


class QueueNotDurable(Exception):
    """Redis would not keep what it is given; the text says why, for operators."""


@dataclass(frozen=True, slots=True)
class Place:
    """One entry's place in the queue, as the list has it."""

    packed: str
    message_id: UUID
    conversation_id: UUID
    sender_id: UUID
    client_random: int
    accepted_ms: int  # Redis's clock
    ttl_ms: int  # 0: the message has none

    @classmethod
    def of(cls, packed: bytes) -> "Place":
        """The place that a list's item spells: `id:conversation:sender.clientRandom:bytes:accepted:ttl:level`."""
        text = packed.decode()
        id_, conversation, key, _, accepted, ttl, _ = text.split(":")
        sender, _, client_random = key.partition(".")
        return cls(text, UUID(id_), UUID(conversation), UUID(sender), int(client_random), int(accepted), int(ttl))


@dataclass(frozen=True, slots=True)
class Queued:
    """A place and its entry; None where it expired, or is not there for another reason."""

    place: Place
    entry: NewEntry | None


# An entry goes behind every earlier one of its conversation: it takes the lowest priority that waits there.
_ENQUEUE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local names = {'retry:messages:high', 'retry:messages:normal', 'retry:messages:low'}
local count = redis.call('LLEN', names[1]) + redis.call('LLEN', names[2]) + redis.call('LLEN', names[3])
local bytes = tonumber(redis.call('GET', 'retry:bytes') or '0')
local answers = {}
for i = 3, #ARGV, 7 do
    local id, level, conversation, key = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
    local fingerprint, ttl, body = ARGV[i + 4], tonumber(ARGV[i + 5]), ARGV[i + 6]
    local known = redis.call('HGET', 'retry:keys', key)
    if known and string.sub(known, 1, -33) == fingerprint then
        answers[#answers + 1] = string.sub(known, -32)
    elseif known then
        answers[#answers + 1] = 'reused'
    elseif count >= tonumber(ARGV[1]) or bytes + #body > tonumber(ARGV[2]) then
        answers[#answers + 1] = 'full'
    else
        level = math.max(level, tonumber(redis.call('HGET', 'retry:levels', conversation) or '0'))
        redis.call('HSET', 'retry:levels', conversation, level)
        redis.call('HINCRBY', 'retry:waiting', conversation, 1)
        redis.call('HSET', 'retry:keys', key, fingerprint .. id)
        redis.call('SET', 'retry:message:' .. id, body)
        if ttl > 0 then redis.call('PEXPIRE', 'retry:message:' .. id, ttl) end
        local place = {id, conversation, key, #body, string.format('%.0f', now), ttl, level}
        redis.call('RPUSH', names[level + 1], table.concat(place, ':'))
        redis.call('INCRBY', 'retry:bytes', #body)
        count, bytes = count + 1, bytes + #body
        answers[#answers + 1] = id
    end
end
return answers
""")

_HEADS = Script("""
if ARGV[1] ~= redis.call('GET', 'retry:lease') then return false end
redis.call('PEXPIRE', 'retry:lease', ARGV[3])
local answer, held, limit, depth = {}, {}, tonumber(ARGV[2]), tonumber(ARGV[2])
for i = 5, #ARGV do held[ARGV[i]], depth = true, tonumber(ARGV[4]) end
for _, name in ipairs({'retry:messages:high', 'retry:messages:normal', 'retry:messages:low'}) do
    for _, place in ipairs(redis.call('LRANGE', name, 0, depth - 1)) do
        if not held[string.sub(place, 34, 65)] then
            answer[#answer + 1] = place
            answer[#answer + 1] = redis.call('GET', 'retry:message:' .. string.sub(place, 1, 32)) or ''
        end
        if #answer >= 2 * limit then break end
    end
    if #answer > 0 then break end
end
return answer
""")

# Idempotent: a place that is gone is passed over. With a dead letter's life (ms), the entry is kept aside for so long.
_SETTLE = Script("""
for i = 2, #ARGV do
    local place = ARGV[i]
    local id, conversation, key, bytes, level = string.match(place, '^(%x+):(%x+):([^:]+):(%d+):%d+:%d+:(%d)$')
    local name = ({'retry:messages:high', 'retry:messages:normal', 'retry:messages:low'})[level + 1]
    if redis.call('LREM', name, 1, place) > 0 then
        if tonumber(ARGV[1]) > 0 and redis.call('EXISTS', 'retry:message:' .. id) == 1 then
            local left = redis.call('PTTL', 'retry:message:' .. id)
            redis.call('RENAME', 'retry:message:' .. id, 'retry:dead:' .. id)
            if left < 0 then redis.call('PEXPIRE', 'retry:dead:' .. id, ARGV[1]) end
        else
            redis.call('DEL', 'retry:message:' .. id)
        end
        if string.sub(redis.call('HGET', 'retry:keys', key) or '', -32) == id then
            redis.call('HDEL', 'retry:keys', key)
        end
        if redis.call('DECRBY', 'retry:bytes', bytes) <= 0 then redis.call('DEL', 'retry:bytes') end
        if redis.call('HINCRBY', 'retry:waiting', conversation, -1) <= 0 then
            redis.call('HDEL', 'retry:waiting', conversation)
            redis.call('HDEL', 'retry:levels', conversation)
        end
    end
end
return 0
""")

_RELEASE = Script("if redis.call('GET', 'retry:lease') == ARGV[1] then redis.call('DEL', 'retry:lease') end return 0")
_COUNT = Script("""
return {redis.call('LLEN', 'retry:messages:high'), redis.call('LLEN', 'retry:messages:normal'),
        redis.call('LLEN', 'retry:messages:low')}
""")


def read_nothing() -> None:
    """Ask for an answer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def write_nothing() -> None:
    """Write what is there already. Raises what PostgreSQL says where it takes no writes."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE log_epoch SET epoch = epoch WHERE id = 1")


def priority_of(entry: NewEntry) -> Priority:
    """`high`: what expires soon, and the server's own; `normal`: other messages; `low`: edits and reactions."""
    if entry.type in ("system", "ephemeral") or entry.ttl is not None:
        return "high"
    return "low" if entry.type in ("edit", "reaction") else "normal"


async def pending_check() -> None:
    """Make sure that Redis keeps what it is given. Raises QueueNotDurable, or RedisAway where it does not answer."""
    pipeline = _client().pipeline(transaction=False)
    pipeline.info("persistence")
    pipeline.info("memory")
    pipeline.info("replication")
    for name in ("appendfsync", "maxmemory-policy"):
        pipeline.execute_command("CONFIG", "GET", name)
    persistence, memory, replication, *settings = await _execute(pipeline)
    for answer in (persistence, memory, replication, *settings):
        if isinstance(answer, Exception):
            raise QueueNotDurable(f"Redis does not tell how it is set up: {answer}")
    reason = _why_not(persistence, memory, replication, *(_setting(answer) for answer in settings))
    if reason is not None:
        raise QueueNotDurable(reason)


def _why_not(
    persistence: dict[str, Any], memory: dict[str, Any], replication: dict[str, Any], fsync: str, eviction: str
) -> str | None:
    if persistence.get("loading"):
        return "it is reading its file"
    if not persistence.get("aof_enabled"):
        return "it has no append-only file (appendonly yes)"
    if persistence.get("aof_last_write_status") != "ok":
        return "the last write of its append-only file failed"
    if fsync not in ("always", "everysec"):
        return f"it leaves it open when its file is on the disk (appendfsync {fsync})"
    if memory.get("maxmemory") and eviction != "noeviction":
        return f"it may evict keys (maxmemory-policy {eviction})"
    if replication.get("role") != "master":
        return "it is a replica"
    return None


def _setting(answer: Any) -> str:
    pairs = list(answer.items()) if isinstance(answer, dict) else list(zip(answer[::2], answer[1::2], strict=True))
    value = pairs[0][1] if pairs else b""
    return value.decode() if isinstance(value, bytes) else str(value)


async def pending_enqueue(entries: Sequence[NewEntry]) -> list[UUID | WhisprError]:
    """Put entries into the queue, in order, and on the disk.

    For each: the id under which it waits, which is another's where the same send waits already; ClientRandomReused;
    or Overloaded where the queue is full. Raises Timeout where it is not known whether they are on the disk, and
    RedisAway where Redis could not be asked.
    """
    args: list[str | bytes | int] = [LIMITS.recovery_waiting_max, LIMITS.recovery_waiting_bytes]
    for entry in entries:
        level = PRIORITIES.index(priority_of(entry))
        ttl = LIMITS.unread_ttl_seconds if entry.from_reading else entry.ttl or 0
        key = f"{entry.sender_id.hex}.{entry.client_random}"
        args += [entry.message_id.hex, level, entry.conversation_id.hex, key, entry.fingerprint, ttl * 1000]
        args.append(msgspec.msgpack.encode(msgspec.structs.replace(entry, origin=None)))
    answers, synced = await _run_synced(_ENQUEUE, args)
    if not synced:
        raise Timeout("The message may not be on the disk yet; send again with the same clientRandom.")
    return [_accepted(answer.decode()) for answer in answers]


def _accepted(answer: str) -> UUID | WhisprError:
    if answer == "reused":
        return ClientRandomReused()
    if answer == "full":
        return Overloaded("Too many messages wait for the database.", retry_after=30.0)
    return UUID(answer)


async def _run_synced(script: Script, args: Sequence[str | bytes | int]) -> tuple[Any, bool]:
    """The script's answer, and whether what it wrote is on the disk. Raises RedisAway where it did not run."""
    client = _client()
    name, source = "EVALSHA", script.sha
    while True:
        pipeline = client.pipeline(transaction=False)
        pipeline.execute_command(name, source, 0, *args)
        pipeline.execute_command("WAITAOF", 1, 0, SYNC_MS)
        try:
            answer, synced = await _execute(pipeline)
        except RedisAway as error:
            if isinstance(error.__cause__, redis_errors.ConnectionError) and "connecting" in str(error.__cause__):
                raise
            raise Timeout("The queue did not answer; send again with the same clientRandom.") from error
        if isinstance(answer, redis_errors.NoScriptError) and name == "EVALSHA":
            name, source = "EVAL", script.source
            continue
        if isinstance(answer, Exception):
            raise RedisAway from answer
        if isinstance(synced, redis_errors.ResponseError) and "unknown command" in str(synced).lower():
            return answer, await _syncs_always()
        return answer, not isinstance(synced, Exception) and int(synced[0]) >= 1


async def _syncs_always() -> bool:
    """A server older than WAITAOF (Redis 7.2): its answer itself must mean that the file is on the disk."""
    pipeline = _client().pipeline(transaction=False)
    pipeline.execute_command("CONFIG", "GET", "appendfsync")
    (answer,) = await _execute(pipeline)
    return not isinstance(answer, Exception) and _setting(answer) == "always"


async def lease_take() -> str | None:
    """The right to drain, for LEASE_MS and as long as it is used; None where another has it. Raises RedisAway."""
    token = secrets.token_hex(8)
    pipeline = _client().pipeline(transaction=False)
    pipeline.set("retry:lease", token, nx=True, px=LEASE_MS)
    (taken,) = await _execute(pipeline)
    return token if taken and not isinstance(taken, Exception) else None


async def lease_release(token: str) -> None:
    """Give the right to drain back. Raises RedisAway."""
    await _run(_RELEASE, [token])


async def list_queued(token: str, limit: int, held: Iterable[UUID] = ()) -> list[Queued] | None:
    """The first entries of the highest priority that anything waits with, but for those of the conversations `held`
    (behind HELD_DEPTH of these nobody is looked for); None where the lease was lost.

    Raises RedisAway.
    """
    answer = await _run(_HEADS, [token, limit, LEASE_MS, HELD_DEPTH, *(one.hex for one in held)])
    if answer is None:
        return None
    return [
        Queued(Place.of(place), msgspec.msgpack.decode(body, type=NewEntry) if body else None)
        for place, body in zip(answer[::2], answer[1::2], strict=True)
    ]


async def pending_settle(places: Sequence[Place], keep_ms: int = 0) -> None:
    """Take entries out of the queue; with `keep_ms` they are put aside for so long. Raises RedisAway."""
    if places:
        await _run(_SETTLE, [keep_ms, *(place.packed for place in places)])


async def dead_take(message_id: UUID) -> NewEntry | None:
    """An entry that was put aside, which is gone from there; None where there is none. Raises RedisAway."""
    pipeline = _client().pipeline(transaction=False)
    pipeline.getdel(f"retry:dead:{message_id.hex}")
    (body,) = await _execute(pipeline)
    return msgspec.msgpack.decode(body, type=NewEntry) if isinstance(body, bytes) else None


async def count_waiting(conversation_ids: Sequence[UUID]) -> list[int]:
    """How many entries of each conversation wait. Raises RedisAway."""
    pipeline = _client().pipeline(transaction=False)
    pipeline.hmget("retry:waiting", [one.hex for one in conversation_ids])
    (answer,) = await _execute(pipeline)
    if isinstance(answer, Exception):
        raise RedisAway from answer
    return [int(count or 0) for count in answer]


async def count_pending() -> dict[Priority, int]:
    """How many entries wait with each priority. Raises RedisAway."""
    return dict(zip(PRIORITIES, map(int, await _run(_COUNT, [])), strict=True))


async def _run(script: Script, args: Sequence[str | bytes | int]) -> Any:
    for name, source in (("EVALSHA", script.sha), ("EVAL", script.source)):
        pipeline = _client().pipeline(transaction=False)
        pipeline.execute_command(name, source, 0, *args)
        (answer,) = await _execute(pipeline)
        if not isinstance(answer, redis_errors.NoScriptError):
            break
    if isinstance(answer, Exception):
        raise RedisAway from answer
    return answer


async def _execute(pipeline: Any) -> list[Any]:
    """The answers, refusals among them. Raises RedisAway where there are none."""
    ticket = redis_access()
    try:
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
    except (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError) as error:
        redis_failed(ticket)
        raise RedisAway from error
    except redis_errors.RedisError as error:
        redis_answered(ticket)
        raise RedisAway from error
    redis_answered(ticket)
    return answers


def _client() -> Any:
    return redis_client(WAIT_SECONDS)
