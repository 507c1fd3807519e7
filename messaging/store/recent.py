"""The caches of specification §10.2 in Redis: what to go by while the database is away, and never against it.

| key | what | kept for |
| --- | --- | --- |
| `conv:recent:{conversationId}` | the last entries of a log, by seq; `-{seq}` where one must not be kept | 1 h |
| `conv:members:{conversationId}` | who was a member when the log's head was `seq` | 1 h |
| `dedup:{userId}:{clientRandom}` | the message and the conversation that a send became | 24 h |

What became of messages (`delivery:{messageId}`) is in `messaging/store/delivery_hints.py`; here is only how it is
forgotten, in the same round.

They are written after the commit. What expires and what is withheld is never kept here; what is deleted is erased.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from messaging.events import Entry
from whispr.kernel.limits import LIMITS
from whispr.kernel.redis import RedisLink, Script

RECENT_SECONDS = 3_600
DEDUP_SECONDS = 24 * 3_600
# As many entries as the default page of `history`.
KEPT = 50

Members = dict[UUID, int]  # user to the first seq that they see
# The conversation, seq, the entry's JSON or `-` and its id where its content must not be kept, the send's key, and the
# target of an edit; empty where there is none.
Note = tuple[str, int, str, str, str]
# The JSON of every entry begins `{"messageId":"<36 characters>","conversationId":"<36 characters>"`.
_MESSAGE, _CONVERSATION = slice(14, 50), slice(70, 106)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Who was a member of a conversation when its head was `seq`."""

    conversation_id: UUID
    seq: int
    members: Members


@dataclass(frozen=True, slots=True)
class Recent:
    """What the cache has of a conversation: entries without a hole up to the last one, and the members."""

    first_seq: int
    last_seq: int
    entries: list[Entry]  # those whose content is kept, in ascending seq
    members_seq: int
    members: Members


# An entry that comes after a later one, from another process, may have been deleted by that one, where it is the
# server's or not shown here: then its content is not taken any more.
_NOTE = Script("""
for _, id in ipairs(cmsgpack.unpack(ARGV[6])) do redis.call('UNLINK', 'conv:delivery:' .. id) end
for _, note in ipairs(cmsgpack.unpack(ARGV[4])) do
    local key, seq, member, send = 'conv:recent:' .. note[1], note[2], note[3], note[4]
    local id, is_known = string.sub(member, 15, 50), false
    if string.sub(member, 1, 1) == '-' then id, member = string.sub(member, 2), '-' .. seq end
    if redis.call('ZCOUNT', key, seq, '+inf') > 0 then
        is_known = redis.call('ZCOUNT', key, seq, seq) > 0
        for _, later in ipairs(is_known and {} or redis.call('ZRANGEBYSCORE', key, seq, '+inf')) do
            if string.sub(later, 1, 1) == '-' or string.find(later, '"type":"system"', 1, true) then
                member = '-' .. seq
            end
        end
    end
    if not is_known then
        redis.call('ZADD', key, seq, member)
        redis.call('ZREMRANGEBYRANK', key, 0, -1 - tonumber(ARGV[1]))
        redis.call('PEXPIRE', key, ARGV[2])
    end
    if note[5] ~= '' then -- an edit: the versions before the last ones are gone from the log as well
        local edits = {}
        for _, one in ipairs(redis.call('ZRANGE', key, 0, -1)) do
            if string.find(one, '"type":"edit"', 1, true) and string.find(one, '"target":"' .. note[5], 1, true) then
                edits[#edits + 1] = one
            end
        end
        for i = 1, #edits - tonumber(ARGV[5]) do
            local at = redis.call('ZSCORE', key, edits[i])
            redis.call('ZREM', key, edits[i])
            redis.call('ZADD', key, at, '-' .. at)
        end
    end
    if send ~= '' then redis.call('SET', 'dedup:' .. send, id .. note[1], 'EX', ARGV[3]) end
end
return 0
""")

_ERASE = Script("""
local key = 'conv:recent:' .. ARGV[1]
local found = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
for i = 1, #found, 2 do
    for j = 2, #ARGV do
        local is_it = string.find(found[i], '"messageId":"' .. ARGV[j], 1, true)
        if is_it or string.find(found[i], '"target":"' .. ARGV[j], 1, true) then
            redis.call('ZREM', key, found[i])
            redis.call('ZADD', key, found[i + 1], '-' .. found[i + 1])
            break
        end
    end
end
return 0
""")

_FORGET = Script("for _, one in ipairs(ARGV) do redis.call('DEL', 'conv:recent:' .. one) end return 0")

# A reading of the members that is older than what is known of their changes is not taken.
_MEMBERS = Script("""
for i = 2, #ARGV, 3 do
    local key = 'conv:members:' .. ARGV[i]
    if tonumber(redis.call('HGET', key, 'seq') or '-1') <= tonumber(ARGV[i + 1]) then
        redis.call('HSET', key, 'seq', ARGV[i + 1], 'members', ARGV[i + 2])
        redis.call('PEXPIRE', key, ARGV[1])
    end
end
return 0
""")

_GET = Script("""
local entries = redis.call('ZRANGE', 'conv:recent:' .. ARGV[1], 0, -1, 'WITHSCORES')
return {entries, redis.call('HMGET', 'conv:members:' .. ARGV[1], 'seq', 'members')}
""")

_GET_MEMBERS = Script("""
local found = {}
for i, one in ipairs(ARGV) do found[i] = redis.call('HGET', 'conv:members:' .. one, 'members') or '' end
return found
""")

_GET_SENT = Script("""
local found = {}
for i, one in ipairs(ARGV) do found[i] = redis.call('GET', 'dedup:' .. one) or '' end
return found
""")


def note_of(entry: Entry, payload: bytes, *, is_kept: bool) -> Note:
    """The note of an entry whose JSON is `payload`. Its ids are cut out of it: to spell three of them anew would take
    as long as all the rest."""
    send = "" if entry.client_random is None else f"{entry.sender_id}:{entry.client_random}"
    text = payload.decode()  # Redis's msgpack knows of no bytes
    target = str(entry.target) if entry.type == "edit" else ""
    return text[_CONVERSATION], entry.seq, text if is_kept else "-" + text[_MESSAGE], send, target


async def recent_note(link: RedisLink, notes: Sequence[Note], moved: Sequence[str] = ()) -> None:
    """Add entries, and what their sends became; `moved` are the conversations (and users) of whose messages it is no
    longer known what became of them. Raises RedisAway, as all of these do."""
    # In one argument: the client takes 4 µs for each.
    packed = msgspec.msgpack.encode(notes)
    edits = LIMITS.edit_versions - 1
    forgotten = msgspec.msgpack.encode(moved)
    await link.run(_NOTE, [], [KEPT, RECENT_SECONDS * 1000, DEDUP_SECONDS, packed, edits, forgotten])


async def recent_erase(link: RedisLink, conversation_id: UUID, message_ids: Iterable[str]) -> None:
    """Take the content of messages away, and of what changed them."""
    await link.run(_ERASE, [], [str(conversation_id), *message_ids])


async def recent_forget(link: RedisLink, conversation_ids: Iterable[UUID]) -> None:
    """Take all entries of conversations away."""
    await link.run(_FORGET, [], [str(one) for one in conversation_ids])


async def members_note(link: RedisLink, snapshots: Sequence[Snapshot]) -> None:
    """Keep who is a member, unless something newer is known."""
    args: list[str | bytes | int] = [RECENT_SECONDS * 1000]
    for one in snapshots:
        args += [str(one.conversation_id), one.seq, msgspec.msgpack.encode(one.members)]
    await link.run(_MEMBERS, [], args)


async def members_forget(link: RedisLink, changes: Mapping[UUID, int]) -> None:
    """The members of conversations changed, at these seqs: what was read before is not to be gone by."""
    args: list[str | bytes | int] = [RECENT_SECONDS * 1000]
    for conversation_id, seq in changes.items():
        args += [str(conversation_id), seq, b""]
    await link.run(_MEMBERS, [], args)


async def get_recent(link: RedisLink, conversation_id: UUID) -> Recent | None:
    """What is known of a conversation; None where it is not enough to show any of it."""
    found, (seq, packed) = await link.run(_GET, [], [str(conversation_id)])
    if not found or not packed:
        return None
    entries: list[Entry] = []
    first = last = int(float(found[-1]))
    for member, score in zip(reversed(found[::2]), reversed(found[1::2]), strict=True):
        if int(float(score)) not in (first, first - 1):
            break
        first = int(float(score))
        if not member.startswith(b"-"):
            entries.append(msgspec.json.decode(member, type=Entry))
    members = msgspec.msgpack.decode(packed, type=Members)
    return Recent(first, last, entries[::-1], int(seq), members)


async def list_members(link: RedisLink, conversation_ids: Sequence[UUID]) -> dict[UUID, Members]:
    """Who is known to be a member of each conversation; those of which nothing is known are left out."""
    found = await link.run(_GET_MEMBERS, [], [str(one) for one in conversation_ids])
    return {
        one: msgspec.msgpack.decode(packed, type=Members)
        for one, packed in zip(conversation_ids, found, strict=True)
        if packed
    }


async def list_sent(link: RedisLink, keys: Sequence[tuple[UUID, int]]) -> list[tuple[UUID, UUID] | None]:
    """(message, conversation) that each (sender, clientRandom) became, as far as it is known."""
    found = await link.run(_GET_SENT, [], [f"{sender_id}:{client_random}" for sender_id, client_random in keys])
    return [(UUID(one[:36].decode()), UUID(one[36:].decode())) if len(one) == 72 else None for one in found]


def list_snapshots(conversation_ids: Sequence[UUID]) -> list[Snapshot]:
    """Who is a member of each conversation, and its head, as PostgreSQL has them at one moment."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.id, c.last_seq, array_agg(m.user_id), array_agg(m.joined_seq) FROM conversations c"
            " JOIN members m ON m.conversation_id = c.id AND m.left_seq IS NULL"
            " WHERE c.id = ANY(%s::uuid[]) AND c.deleted_at IS NULL GROUP BY c.id, c.last_seq",
            [list(conversation_ids)],
        )
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return [Snapshot(id_, seq, dict(zip(users, joined, strict=True))) for id_, seq, users, joined in rows]
