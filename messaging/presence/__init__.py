"""Who is present in a conversation, over all processes: Phoenix Presence for conversation topics (docs/protocol.md §2).

Each process holds, for the conversations that its own sockets watch, who is present as its sockets were told. Joins and
leaves travel on the bus at once; Redis holds everybody under a lifetime that each process renews for its own sockets.
Comparing with Redis at every renewal makes good what the bus lost, and lets go of the sockets of a process that died.
Without Redis, a process shows its own sockets and whom it knew, and puts them back when Redis is there again.
"""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Iterable, Sequence
from uuid import UUID

from messaging.fanout import publish_presence_change
from messaging.fanout.hub import hub
from messaging.fanout.news import News, PresenceChange
from messaging.presence.room import Room, Watcher
from messaging.store.presence import (
    MEMBER_BYTES,
    Exchange,
    Exchanged,
    PresentSocket,
    presences_exchange,
)
from whispr.kernel import telemetry
from whispr.kernel.environment import number
from whispr.kernel.errors import Overloaded
from whispr.kernel.loops import PerLoop
from whispr.kernel.redis import RedisAway, RedisBatch, RedisLink

__all__ = ["Presence", "Watcher", "presences"]

log = logging.getLogger(__name__)

# Each process renews its sockets so often; they are forgotten after three times as long: two renewals may fail.
RENEW_SECONDS = number("WHISPR_PRESENCE_SECONDS", 15.0, least=0.1)
LIFETIME_PERIODS = 3
# Joins and leaves of so long are told together: 1,000 that arrive at once are a few diffs, not 1,000 for each of 1,000.
DIFF_SECONDS = 0.05
# A socket that the bus told of may be on its way into Redis for so long: it is not missing yet.
ARRIVAL_SECONDS = 2.0
# The bounds of one exchange with Redis: 2,000 members are 120 KB and about 2 ms of Redis's time.
EXCHANGE_CONVERSATIONS = 200
EXCHANGE_MEMBERS = 2_000


class Presence:
    """One process's presences, on one event loop. `renew_seconds` is how often they are renewed in Redis."""

    def __init__(self, renew_seconds: float = RENEW_SECONDS) -> None:
        self.origin = secrets.token_bytes(8)
        self.link = RedisLink("presence")
        self._renew_seconds = renew_seconds
        self._lifetime_seconds = renew_seconds * LIFETIME_PERIODS
        self._rooms: dict[UUID, Room] = {}
        self._batch: RedisBatch[Exchange, Exchanged] = RedisBatch(self._flush)
        self._renewing: asyncio.Task[None] | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._changed: set[UUID] = set()
        self._keep_until = 0.0
        self._loop = asyncio.get_running_loop()

    async def track(self, conversation_id: UUID, user_id: UUID, device_id: UUID, watcher: Watcher) -> bytes:
        """Show this socket as present and tell `watcher` of every change from now on, until `untrack()`.

        Returns the payload of `presence_state`, this socket included; the diffs begin after it. Over
        `LIMITS.sockets_per_user` of one user, or SOCKETS_MAX in all, a socket watches without being shown. Waits for
        Redis for at most about `LIMITS.redis_timeout_ms` and raises nothing without it. Tracking again starts anew.
        """
        self.untrack(conversation_id, watcher)
        room = self._rooms.setdefault(conversation_id, Room())
        self._start()
        member: bytes | None = None
        if not room.shows_enough_of(user_id):
            now_ms = time.time_ns() // 1_000_000
            member = PresentSocket(user_id, device_id, secrets.token_bytes(9), now_ms, self.origin).pack()
        room.own[watcher] = member
        joins = () if member is None else (member,)
        if member is not None:
            telemetry.presences.inc()
            self._join(conversation_id, room, joins)
            publish_presence_change(conversation_id, joined=True, payload=member)
        try:
            await self._batch.submit(Exchange(conversation_id, joins=joins, wants_list=True))
        except (RedisAway, Overloaded):
            pass  # this process's own are shown, and put into Redis by the next renewal
        except asyncio.CancelledError:
            self.untrack(conversation_id, watcher)
            raise
        room.tell()
        if watcher in room.own and room.own[watcher] == member:
            room.told.add(watcher)
        return room.state()

    def untrack(self, conversation_id: UUID, watcher: Watcher) -> None:
        """Show and tell this socket no longer. Never fails and never waits; unknown watchers are ignored."""
        try:
            self._untrack(conversation_id, watcher)
        except Exception:
            log.exception("A socket's leave is not told; its lifetime in Redis ends it")

    def _untrack(self, conversation_id: UUID, watcher: Watcher) -> None:
        room = self._rooms.get(conversation_id)
        if room is None or watcher not in room.own:
            return
        member = room.own.pop(watcher)
        room.told.discard(watcher)
        if not room.own:
            del self._rooms[conversation_id]
        if member is None:
            return
        telemetry.presences.dec()
        if room.say_goodbye(member, self._loop.time()):
            self._tell_soon(conversation_id)
        publish_presence_change(conversation_id, joined=False, payload=member)
        if self.link.is_up:
            self._batch.submit(Exchange(conversation_id, leaves=(member,)))

    def _join(self, conversation_id: UUID, room: Room, members: Iterable[bytes]) -> None:
        now = self._loop.time()
        if sum(room.join(member, now) for member in members):
            self._tell_soon(conversation_id)

    def _tell_soon(self, conversation_id: UUID) -> None:
        self._changed.add(conversation_id)
        if self._telling is None:
            self._telling = self._loop.call_later(DIFF_SECONDS, self._tell)

    def _tell(self) -> None:
        self._telling = None
        changed, self._changed = self._changed, set()
        for conversation_id in changed:
            room = self._rooms.get(conversation_id)
            if room is not None:
                room.tell()

    def _learn(self, conversation_id: UUID, members: frozenset[bytes]) -> None:
        """Show whom Redis has and this process did not know; remove the sockets of its own whose leave was lost."""
        room = self._rooms.get(conversation_id)
        if room is None:
            return
        unknown = members - room.view.keys()
        own = set(room.own.values())
        ghosts = {member for member in unknown if member.endswith(self.origin) and member not in own}
        if ghosts:
            self._batch.submit(Exchange(conversation_id, leaves=tuple(ghosts)))
        self._join(conversation_id, room, unknown - ghosts)

    def _take(self, news: News) -> None:
        """What other processes tell, from the hub. Another loop of this process calls it from its own thread."""
        if not isinstance(news, PresenceChange) or self._loop.is_closed():
            return
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            self._hear(news)
        else:
            self._loop.call_soon_threadsafe(self._hear, news)

    def _hear(self, news: PresenceChange) -> None:
        room = self._rooms.get(news.conversation_id)
        if room is None:
            return
        size, payload = MEMBER_BYTES, news.payload
        members = [payload[at : at + size] for at in range(0, len(payload), size)]
        others = [member for member in members if not member.endswith(self.origin)]
        if news.joined:
            self._join(news.conversation_id, room, others)
            return
        now = self._loop.time()
        if sum(room.say_goodbye(member, now) for member in others):
            self._tell_soon(news.conversation_id)

    async def _flush(self, exchanges: Sequence[Exchange]) -> Sequence[Exchanged]:
        """One step for all that wait; what concerns one conversation is asked of Redis once."""
        merged: dict[UUID, Exchange] = {}
        for one in exchanges:
            other = merged.get(one.conversation_id)
            merged[one.conversation_id] = (
                one
                if other is None
                else Exchange(
                    one.conversation_id,
                    (*other.renewals, *one.renewals),
                    (*other.joins, *one.joins),
                    (*other.leaves, *one.leaves),
                    other.wants_list or one.wants_list,
                )
            )
        answers = await presences_exchange(self.link, tuple(merged.values()), self._lifetime_seconds)
        found = dict(zip(merged, answers, strict=True))
        for conversation_id, one in merged.items():
            if one.wants_list:
                self._learn(conversation_id, found[conversation_id].members)
        return [found[one.conversation_id] for one in exchanges]

    def _start(self) -> None:
        if self._renewing is None or self._renewing.done():
            hub.watchers.append(self._take)
            self._renewing = self._loop.create_task(self._renew())

    async def _renew(self) -> None:
        """Renew and compare for as long as there is something to watch."""
        pause = self._renew_seconds
        try:
            while self._rooms:
                await asyncio.sleep(pause * random.uniform(0.8, 1.0))
                pause = self._renew_seconds
                try:
                    await self.compare()
                except (RedisAway, Overloaded):
                    await self.link.wait_up(self._renew_seconds)
                    pause = self._renew_seconds / 5
                except Exception:
                    log.exception("Presences were not renewed; trying again")
        finally:
            hub.watchers.remove(self._take)

    async def compare(self) -> None:
        """Renew this process's sockets in Redis, and tell its watchers of what the bus did not. Raises RedisAway."""
        waiting = dict(self._rooms)
        while waiting:
            chunk: dict[UUID, Room] = {}
            members = 0
            while waiting and len(chunk) < EXCHANGE_CONVERSATIONS and members < EXCHANGE_MEMBERS:
                conversation_id, room = waiting.popitem()
                if self._rooms.get(conversation_id) is room:
                    chunk[conversation_id] = room
                    members += len(room.view) + 1
            started = self._loop.time()
            answers = await asyncio.gather(
                *(
                    self._batch.submit(Exchange(conversation_id, renewals=own, wants_list=True))
                    for conversation_id, room in chunk.items()
                    for own in [tuple(member for member in room.own.values() if member is not None)]
                )
            )
            if any(answer.lost for answer in answers):
                # Redis was emptied or away: the others put their sockets back within a period. Until then nobody left.
                self._keep_until = self._loop.time() + 1.5 * self._renew_seconds
            for (conversation_id, room), answer in zip(chunk.items(), answers, strict=True):
                if self._rooms.get(conversation_id) is room:
                    self._compare_room(conversation_id, room, answer.members, started)

    def _compare_room(self, conversation_id: UUID, room: Room, found: frozenset[bytes], started: float) -> None:
        for member in [member for member, at in room.left.items() if at < started - 2 * self._lifetime_seconds]:
            del room.left[member]
        if started < self._keep_until:
            return
        arrived = started - min(ARRIVAL_SECONDS, self._renew_seconds)
        own = set(room.own.values())
        gone = [member for member in room.view.keys() - found if room.since[member] < arrived and member not in own]
        if sum(room.leave(member) for member in gone):
            self._tell_soon(conversation_id)


presences: PerLoop[Presence] = PerLoop(Presence)
