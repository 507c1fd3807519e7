"""More than there should be at once."""

import asyncio
import signal
import time
from types import MappingProxyType

from tests.chaos.faults.base import Fault
from tests.chaos.system import POOL


class ReconnectStorm(Fault):
    """F39."""

    id = "F39"
    name = "2,000 sockets are reset at once"
    expects = "all caught up within 30 s; no more connections to PostgreSQL than the pools have"
    seconds = 0.0
    sockets = 2_000
    quick = MappingProxyType({"sockets": 300})
    each = 15  # sockets a user, who may have 20

    async def inject(self) -> None:
        crowd = await self.population.crowd(round(self.sockets / self.each), self.each)
        talks = [await self.population.talk(*crowd[at : at + 10]) for at in range(0, len(crowd), 10)]
        for talk in talks:  # there is something to catch up with
            for _ in range(4):
                talk.people[0].devices[0].submit(self.population.message(talk, self.random))
        devices = [device for person in crowd for device in person.devices]
        self.watching = asyncio.create_task(self._watch())
        for device in devices:
            device.reset()
        for link in self.system.links_to("client-"):
            link.reset()
        self.note(f"{len(devices)} sockets were reset, beside those of the others")

    async def _watch(self) -> None:
        self.sessions = 0
        while True:
            rows = await self.system.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'")
            self.sessions = max(self.sessions, rows[0][0])
            await asyncio.sleep(0.25)

    async def remove(self) -> None:
        self.watching.cancel()
        await asyncio.gather(self.watching, return_exceptions=True)

    async def settled(self) -> None:
        allowed = int(POOL) * len(self.system.processes)
        self.audit(f"more than {allowed} sessions, {self.sessions}", int(self.sessions > allowed))


class HugeBacklog(Fault):
    """F40."""

    id = "F40"
    name = "a device comes back to 50,000 messages while more are sent"
    expects = "paged, live in between, no gap at the seam"
    seconds = 1.0
    messages = 50_000
    quick = MappingProxyType({"messages": 2_000})
    window = 256

    async def inject(self) -> None:
        talk = self.population.talks[1]
        away = talk.people[0].devices[1]  # the user's other device is there, and far ahead
        away.leave()
        authors = [person.devices[0] for person in talk.people[1:3]]
        for author in authors:
            author.widen(self.window)
        began = time.monotonic()
        for number in range(self.messages):
            author = authors[number % 2]
            author.submit(self.population.message(talk, self.random))
            while len(author.outbox) > 2 * self.window:
                away.leave()
                await asyncio.sleep(0.02)
        async with asyncio.timeout(150):
            while any(len(author.outbox) > 50 for author in authors):
                away.leave()
                await asyncio.sleep(0.1)
        home = talk.people[0].devices[0].held[talk.id]
        sent = max(max(author.held[talk.id].own) for author in authors)
        async with asyncio.timeout(150):
            while home.acked < sent - self.window:  # the other device is far ahead
                away.leave()
                await asyncio.sleep(0.1)
        self.note(f"{self.messages} were sent in {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        away.come_back()
        async with asyncio.timeout(60):
            while not away.synced.is_set():  # what its acknowledgements do to what the other device's have done
                await self.population.ask_receipts(authors[0], talk)
                await asyncio.sleep(0.1)
        self.note(f"the device had caught up after {time.monotonic() - began:.1f} s")


class ThunderingHerd(Fault):
    """F41."""

    id = "F41"
    name = "500 senders write into one conversation at once"
    expects = "each settled, in one order; the control pair is served"
    seconds = 1.0
    isolated = True
    senders = 500
    connected = 60  # the others send over REST: 500 who get 500 messages each are 250,000 pushes to one Python process
    quick = MappingProxyType({"senders": 40, "connected": 40})

    async def inject(self) -> None:
        crowd = await self.population.crowd(self.connected)
        for _ in range(self.senders - self.connected):
            crowd.append(self.population.person(crowd=True))
            crowd[-1].devices[0].only_rest = True
        talk = await self.population.talk(*crowd)
        began = time.monotonic()
        for person in crowd:
            person.devices[0].submit(self.population.message(talk, self.random))
        async with asyncio.timeout(60):
            while any(person.devices[0].outbox for person in crowd):
                await asyncio.sleep(0.05)
        self.note(f"{len(crowd)} were answered within {time.monotonic() - began:.1f} s")


class RetryStorm(Fault):
    """F42."""

    id = "F42"
    name = "PostgreSQL hangs for 60 s under 1,000 clients that all try again"
    expects = "refused quickly, memory flat, and no collapse on its return"
    seconds = 60.0
    clients = 1_000
    quick = MappingProxyType({"seconds": 12.0, "clients": 60})
    grown_max = 128 * 1024 * 1024  # bytes of one server process, through the fault

    async def inject(self) -> None:
        crowd = await self.population.crowd(self.clients)
        talks = [await self.population.talk(*crowd[at : at + 6]) for at in range(0, len(crowd), 6)]
        self.resident = self._memory()
        self.system.signal_postgres(signal.SIGSTOP)
        for _ in range(3):
            for talk in talks:
                for person in talk.people:
                    person.devices[0].submit(self.population.message(talk, self.random))

    async def heal(self) -> None:
        after = self._memory()
        self.system.signal_postgres(signal.SIGCONT)
        grown = [new - old for old, new in zip(self.resident, after, strict=True)]
        said = " and ".join(f"{one / 2**20:.0f} MiB" for one in grown)
        self.audit(f"processes that grew a lot, by {said}", sum(one > self.grown_max for one in grown))

    def _memory(self) -> list[int]:
        return [web.resident_bytes for web in self.system.webs]


FAULTS: tuple[type[Fault], ...] = (ReconnectStorm, HugeBacklog, ThunderingHerd, RetryStorm)
