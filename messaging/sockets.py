"""The open sockets of this process, and the sweep that ends those whose time is over."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from uuid import UUID

from delivery.services.push_bell import pushes_rearm
from messaging.events import Actor
from messaging.outbox import Outbox
from messaging.phoenix import Session
from messaging.services.devices import device_states, devices_seen
from whispr.kernel import telemetry
from whispr.kernel.environment import number
from whispr.kernel.errors import WhisprError
from whispr.kernel.limits import LIMITS

log = logging.getLogger(__name__)

# A revocation reaches every process by the bus; this often the database is asked as well, for when the bus is away.
DEVICE_CHECK_SECONDS = number("WHISPR_DEVICE_CHECK_SECONDS", 20.0, least=0.1)
DEVICE_CHECK_CHUNK = 1_000

# When sockets close, their devices' last being there is written, for so long together and at most so many at once.
GONE_SECONDS = 1.0
GONE_MAX = 2_000

# When the process ends: how fast its sockets go, for how long what they asked may take to be answered, and for how long
# their answers to the close are waited for. 500 that come back a second are what one process takes in.
CLOSES_PER_SECOND = 500
SPREAD_SECONDS = 3.0
FINISH_SECONDS = 2.0
ANSWER_SECONDS = 2.0

# One sweep over all sockets instead of timers for each.
SWEEP_SECONDS = 2.0


class OpenSocket(Protocol):
    """What the sweep needs of a socket."""

    actor: Actor
    session: Session
    outbox: Outbox
    expires_at: int
    warned: bool
    task: asyncio.Task[Any] | None

    def close(self, code: int, reason: str) -> None:
        """Close the socket."""

    def warn(self) -> None:
        """Tell the client that its token expires soon."""

    def hold(self) -> None:
        """Take no more frames."""

    @property
    def is_settled(self) -> bool:
        """Whether everything that it asked is answered."""


async def _until(holds: Callable[[], bool], seconds: float) -> None:
    """Wait until `holds()`, for at most so long: at the end of a process, where looking costs less than telling."""
    ends = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < ends:
        if holds():
            return
        await asyncio.sleep(0.02)


class Sockets:
    """The registry of open sockets."""

    def __init__(self) -> None:
        self.is_draining = False  # the process ends: no new ones
        self._all: set[OpenSocket] = set()
        self._gone: dict[UUID, float] = {}  # devices whose sockets closed, and when: not in the database yet
        self._left: set[UUID] = set()  # their users, to whom what they did not acknowledge may have to be pushed
        self._sweeping: asyncio.Task[None] | None = None
        self._noting: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._all)

    def add(self, socket: OpenSocket) -> None:
        """Register a socket; the first one starts the sweep."""
        self._all.add(socket)
        telemetry.sockets.set(len(self._all))
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    def remove(self, socket: OpenSocket) -> None:
        """Forget a socket; one that was never added is ignored."""
        if socket in self._all:
            self._all.discard(socket)
            self._gone[socket.actor.device_id] = time.monotonic()
            self._left.add(socket.actor.user_id)
            if self._noting is None or self._noting.done():
                self._noting = asyncio.get_running_loop().create_task(self._note_gone())
            telemetry.sockets.set(len(self._all))

    async def drain(self, code: int) -> None:
        """Let every socket go, because the process ends: answer what it asked, then close it with `code`.

        They go one after the other, CLOSES_PER_SECOND and all within SPREAD_SECONDS, so that they do not all come back
        at one moment; until its turn each is served as ever. Takes at most 7 seconds.
        """
        self.is_draining = True
        leaving = list(self._all)
        random.shuffle(leaving)
        step = min(SPREAD_SECONDS / max(1, len(leaving)), 1 / CLOSES_PER_SECOND)
        await asyncio.gather(*(self._let_go(one, number * step, code) for number, one in enumerate(leaving)))
        await _until(lambda: not self._all, ANSWER_SECONDS)

    @staticmethod
    async def _let_go(socket: OpenSocket, after: float, code: int) -> None:
        if after:
            await asyncio.sleep(after)
        socket.hold()
        await _until(lambda: socket.is_settled, FINISH_SECONDS)
        socket.close(code, "restart")

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        next_check = loop.time() + DEVICE_CHECK_SECONDS
        while self._all:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                self.sweep(loop.time(), time.time())
                if loop.time() >= next_check:
                    next_check = loop.time() + DEVICE_CHECK_SECONDS
                    await self.check_devices(tuple(self._all))
            except WhisprError:
                continue  # the database is away; the next check is soon
            except Exception:
                log.exception("The sweep failed; it is tried again")

    async def check_devices(self, open_sockets: Sequence[OpenSocket]) -> None:
        """Ask the database about these sockets' devices: a revoked one is closed (4403), a new key is taken over."""
        for start in range(0, len(open_sockets), DEVICE_CHECK_CHUNK):
            chunk = open_sockets[start : start + DEVICE_CHECK_CHUNK]
            states = await device_states([socket.actor.device_id for socket in chunk])
            for socket in chunk:
                state = states.get(socket.actor.device_id)
                if state is None or state.revoked or state.user_id != socket.actor.user_id:
                    socket.close(4403, "revoked")
                elif state.public_key != socket.actor.public_key:
                    socket.actor = Actor(socket.actor.user_id, socket.actor.device_id, state.public_key)

    async def _note_gone(self) -> None:
        """Write when the devices whose sockets closed were last there, and look for what they did not acknowledge.

        What cannot be written is let go: the pushes are looked at again anyway.
        """
        while self._gone:
            await asyncio.sleep(GONE_SECONDS)
            now = time.monotonic()
            gone = {device_id: now - at for device_id, at in tuple(self._gone.items())[:GONE_MAX]}
            for device_id in gone:
                del self._gone[device_id]
            left, self._left = self._left, set()
            try:
                await devices_seen(gone)
                await pushes_rearm(left)
            except WhisprError:
                continue  # the database is away: the time of the last connection stays
            except Exception:
                log.exception("It was not noted when devices were last there")

    def sweep(self, now: float, wall: float) -> None:
        """Close what is idle (4408), expired (4401) or stuck. `now` is loop time, `wall` unix seconds."""
        for socket in tuple(self._all):
            idle = socket.session.idle(now)
            if idle is not None:
                socket.close(idle.code, idle.reason)
            elif wall >= socket.expires_at:
                socket.close(4401, "token expired")
            elif not socket.warned and wall >= socket.expires_at - LIMITS.token_warning_seconds:
                socket.warn()
            stuck = socket.outbox.writing_since
            if stuck is not None and now - stuck > LIMITS.write_seconds:
                socket.close(4408, "too slow")
                self._abort(socket)

    @staticmethod
    def _abort(socket: OpenSocket) -> None:
        """The client takes nothing: a close frame would wait behind the rest. End the connection."""
        if socket.task is not None:
            socket.outbox.abort_transport()
            socket.task.cancel()


sockets = Sockets()
