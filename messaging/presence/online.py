"""Which users have an open socket in any process, and how many: for "online" and for the cap of sockets a user.

Each process holds its own sockets and renews them in Redis. Nothing is told to anybody when a socket comes or goes: who
wants to know asks. Without Redis a process knows its own sockets, and the cap is one for each process.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import Hashable, Sequence
from uuid import UUID

from messaging.store.online import Change, Line, lines_change, lines_renew, list_online
from whispr.kernel.errors import Overloaded
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop
from whispr.kernel.redis import RedisAway, RedisBatch, RedisLink

log = logging.getLogger(__name__)

# Renewed so often, forgotten after three times as long: a process that died leaves its users online for 45 s.
RENEW_SECONDS = 15.0
LIFETIME_SECONDS = 3 * RENEW_SECONDS
# Lines of one renewal: about 100 KB and a few milliseconds of Redis's time.
RENEW_CHUNK = 1_000


class Online:
    """One process's open sockets, on one event loop."""

    def __init__(self, renew_seconds: float = RENEW_SECONDS) -> None:
        self.link = RedisLink("online")
        self._origin = secrets.token_bytes(8)
        self._renew_seconds = renew_seconds
        self._lines: dict[Hashable, Line] = {}
        self._users: dict[UUID, dict[UUID, Hashable]] = {}  # of each user: its devices' sockets
        self._batch: RedisBatch[Change, bool] = RedisBatch(self._flush)
        self._renewing: asyncio.Task[None] | None = None

    async def enter(self, socket: Hashable, user_id: UUID, device_id: UUID) -> bool:
        """Count a socket, until `leave()`. False where its user has LIMITS.sockets_per_user other devices online.

        An older socket of the same device, which this one replaces, does not count. Waits for Redis for at most about
        LIMITS.redis_timeout_ms; without Redis only this process's sockets count.
        """
        line = Line(user_id, device_id, self._origin + secrets.token_bytes(8))
        self._add(socket, line)
        allowed = True
        if self.link.is_up:
            try:
                allowed = await self._batch.submit(Change(line, enters=True))
            except (RedisAway, Overloaded):
                pass
            except asyncio.CancelledError:
                self.leave(socket)
                raise
        if not allowed or len(self._users.get(user_id, ())) > LIMITS.sockets_per_user:
            self.leave(socket)
            return False
        return True

    def leave(self, socket: Hashable) -> None:
        """Count the socket no longer; never waits, unknown ones are ignored."""
        line = self._lines.pop(socket, None)
        if line is None:
            return
        devices = self._users[line.user_id]
        del devices[line.device_id]
        if not devices:
            del self._users[line.user_id]
        if self.link.is_up:
            try:
                self._batch.submit(Change(line, enters=False))
            except Overloaded:
                pass  # its lifetime ends it

    async def among(self, user_ids: Sequence[UUID]) -> set[UUID]:
        """Which of the users have an open socket; without Redis, which of them have one in this process."""
        here = {user_id for user_id in user_ids if user_id in self._users}
        if not user_ids:
            return here
        try:
            return here | await list_online(self.link, user_ids)
        except RedisAway:
            return here

    def _add(self, socket: Hashable, line: Line) -> None:
        # An older socket of the device in this process is on its way out (4409): it counts no longer.
        self.leave(self._users.get(line.user_id, {}).get(line.device_id))
        self._lines[socket] = line
        self._users.setdefault(line.user_id, {})[line.device_id] = socket
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.get_running_loop().create_task(self._renew())

    async def _flush(self, changes: Sequence[Change]) -> Sequence[bool | Exception]:
        return await lines_change(self.link, changes, LIMITS.sockets_per_user, LIFETIME_SECONDS)

    async def _renew(self) -> None:
        while self._lines:
            await asyncio.sleep(self._renew_seconds * random.uniform(0.8, 1.0))
            try:
                await self.renew()
            except RedisAway:
                continue  # put back at the next renewal
            except Exception:
                log.exception("Open sockets were not renewed; trying again")

    async def renew(self) -> None:
        """Renew this process's sockets in Redis. Raises RedisAway."""
        lines = tuple(self._lines.items())
        for start in range(0, len(lines), RENEW_CHUNK):
            chunk = [line for socket, line in lines[start : start + RENEW_CHUNK] if self._lines.get(socket) is line]
            if chunk:
                await lines_renew(self.link, chunk, LIFETIME_SECONDS)


onlines: PerLoop[Online] = PerLoop(Online)
