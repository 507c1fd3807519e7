"""What clients are told of outages: `service_state`, at each change and after a join (docs/protocol.md "Outages").

A process speaks of what its own circuits say; of the services around it also of what other processes found, which use
them more: pushes are sent by the workers.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import msgspec

from messaging.events import NOBODY
from messaging.fanout import publish_user_event
from messaging.fanout.hub import hub
from messaging.fanout.news import News, UserChange, UserPush
from messaging.store.recovery import read_nothing
from whispr.kernel import database
from whispr.kernel.breaker import State, breakers, subscribe
from whispr.kernel.errors import WhisprError
from whispr.kernel.loops import PerLoop

# What clients cannot do, or do otherwise, by what is away.
LOST: dict[str, tuple[str, ...]] = {
    "database": ("sends", "changes", "history", "receipts", "typing"),
    "writes": ("sends", "changes", "receipts"),
    "redis": ("presence", "typing"),
    "user_service": ("permissions",),
    "media_service": ("media",),
    "notification_service": ("push",),
}
Mode = Literal["writes"]
SHARED = ("user_service", "media_service", "notification_service")
REPEAT_SECONDS = 20.0
HEARD_SECONDS = 3 * REPEAT_SECONDS
PROBE_SECONDS = 1.0
# Sockets that are told at one go: 500 pushes are some milliseconds of the event loop.
TELL_AT_ONCE = 500
_ORIGIN = secrets.token_hex(4)


class ServiceState(msgspec.Struct, frozen=True):
    """`service_state` (docs/protocol.md §5)."""

    state: Literal["normal", "degraded"]
    lost: tuple[str, ...]


class Announcer:
    """Tells the sockets of one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._modes: set[Mode] = set()
        self._heard: dict[tuple[str, str], float] = {}  # (service, process) to until when, by time.monotonic()
        self._told = self.state
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._end = subscribe(self._on_circuit)
        self._on_change()

    @property
    def state(self) -> ServiceState:
        """What is away now, as far as this process knows."""
        away = {name for name, circuit in breakers().items() if circuit.state != "closed"}
        now = time.monotonic()
        away |= {name for (name, _), until in self._heard.items() if until > now}
        lost = dict.fromkeys(one for name, these in LOST.items() if name in away | self._modes for one in these)
        return ServiceState("degraded" if lost else "normal", tuple(lost))

    def payload(self) -> bytes | None:
        """What a device that joins is told; nothing while all is well."""
        state = self.state
        return None if state.state == "normal" else msgspec.json.encode(state)

    def mode(self, mode: Mode, is_on: bool) -> None:
        """Something is lost, or there again, that no circuit tells of."""
        (self._modes.add if is_on else self._modes.discard)(mode)
        self._on_change()

    def hear(self, name: str, process: str, is_away: bool) -> None:
        """Another process found a service away, or there again."""
        if name not in SHARED or process == _ORIGIN:
            return
        if is_away:
            self._heard[name, process] = time.monotonic() + HEARD_SECONDS
            self._loop.call_later(HEARD_SECONDS + 1, self._on_change)  # it may never say that it is back
        else:
            self._heard.pop((name, process), None)
        self._on_change()

    def _on_circuit(self, name: str, state: State) -> None:
        """In whatever thread the circuit changed."""
        try:
            self._loop.call_soon_threadsafe(self._on_change)
        except RuntimeError:  # the loop is closed
            self._end()

    def _on_change(self) -> None:
        circuits = breakers()
        if circuits["database"].state != "closed":
            self._run("probe", self._probe)
        if any(circuits[name].state != "closed" for name in SHARED):
            self._run("share", self._share)
        for key in [key for key, until in self._heard.items() if until <= time.monotonic()]:
            del self._heard[key]
        if self.state != self._told:
            self._run("tell", self._tell)

    def _run(self, name: Literal["probe", "share", "tell"], work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        running = self._tasks.get(name)
        if running is None or running.done():
            self._tasks[name] = self._loop.create_task(work())

    async def _tell(self) -> None:
        while self._told != self.state:
            self._told = self.state
            payload = msgspec.json.encode(self._told)
            listeners = [one for these in tuple(hub.listeners.values()) for one in these]
            for number, listener in enumerate(listeners, 1):
                listener.on_user_push(UserPush(NOBODY, "service_state", payload, None))
                if number % TELL_AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def _probe(self) -> None:
        """Ask the database whether it is back, where nobody else does: clients wait to be told."""
        while breakers()["database"].state != "closed":
            await asyncio.sleep(PROBE_SECONDS)
            with contextlib.suppress(WhisprError):
                await database.run(read_nothing)

    async def _share(self) -> None:
        """Tell other processes what is away, again and again, and that it is back."""
        told: set[str] = set()
        while True:
            circuits = breakers()
            away = {name for name in SHARED if circuits[name].state != "closed"}
            for name in away | told:
                said = {"service": name, "process": _ORIGIN, "away": name in away}
                publish_user_event(NOBODY, "service", said)
            told = away
            if not told:
                return
            for _ in range(int(REPEAT_SECONDS / PROBE_SECONDS)):
                await asyncio.sleep(PROBE_SECONDS)
                if away != {one for one in SHARED if circuits[one].state != "closed"}:
                    break


announcers: PerLoop[Announcer] = PerLoop(Announcer)


def _hear(news: News) -> None:
    if isinstance(news, UserChange) and news.kind == "service":
        said = msgspec.json.decode(news.payload)
        announcers.get().hear(str(said.get("service")), str(said.get("process")), said.get("away") is True)


hub.watchers.append(_hear)
