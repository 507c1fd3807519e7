"""Processes that die: at the worst moment, again and again, one after the other, all together."""

import asyncio
import contextlib
import os
import resource
import signal
import time
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from tests.chaos.faults.base import Fault
from tests.chaos.process import Process
from tests.chaos.proxy import Shape
from tests.chaos.system import answers
from tests.chaos.workload import Population


class _KilledAt(Fault):
    """A failpoint kills the process that first comes there, several times."""

    places: ClassVar[tuple[str, ...]]
    times: ClassVar[int] = 3
    seconds = 2.0

    async def inject(self) -> None:
        for _ in range(1 if self.scene.brief else self.times):
            # The one with more clients: one that has just come back may have none.
            number = max(
                range(len(self.system.webs)), key=lambda one: len(self.system.link(f"client-{one}").connections)
            )
            web = self.system.webs[number]
            deaths = len(web.ended)
            web.arm(f"{self.random.choice(self.places)}:kill:{self.random.randrange(6)}")
            for _ in range(300):
                await asyncio.sleep(0.05)
                if len(web.ended) > deaths:
                    break
            else:
                raise RuntimeError(f"{web.name} did not come to {web.failpoints.read_text()}")
            await self.system.until_ready()
            await asyncio.sleep(self.random.uniform(1.0, 2.5))

    async def heal(self) -> None:
        for web in self.system.webs:
            web.arm("")


class KilledAfterCommit(_KilledAt):
    """F1."""

    id = "F1"
    name = "a server process is killed after COMMIT, before the reply"
    expects = "the resend is answered duplicate with the same id; the others get it by the head check"
    places = ("send.after_commit", "send.before_reply", "send.after_publish")


class KilledBeforeCommit(_KilledAt):
    """F2."""

    id = "F2"
    name = "a server process is killed before COMMIT"
    expects = "nothing is visible; the resend creates it; no number is missing"
    places = ("send.after_lock", "send.before_write", "send.before_commit", "receipts.before_commit")


class KilledAgainAndAgain(Fault):
    """F3."""

    id = "F3"
    name = "a random server process is killed every 2 s"
    expects = "clients come back with their cursors; everything else as ever"
    seconds = 0.5

    async def inject(self) -> None:
        for _ in range(4):
            self.random.choice(self.system.webs).kill()
            await asyncio.sleep(self.random.uniform(1.5, 2.5))


class RollingRestart(Fault):
    """F5."""

    id = "F5"
    name = "rolling restart: SIGTERM one after the other"
    expects = "each ends within 10 s; no send fails but for a resend"
    seconds = 1.0

    async def inject(self) -> None:
        for number, web in enumerate(self.system.webs):
            took = await web.terminate(15.0)
            count = int(took > 10.0)
            self.scene.history.write("audit", "ok", note=f"{web.name} took {took:.1f} s to end, over 10 s", count=count)
            await web.start()
            while not await asyncio.to_thread(answers, self.system.link(f"client-{number}").target[1]):
                await asyncio.sleep(0.1)
        for worker in self.system.workers:
            await worker.terminate(15.0)
            await worker.start()


class EverythingDies(Fault):
    """F6."""

    id = "F6"
    name = "PostgreSQL, Valkey and every process are killed together"
    expects = "a cold start without anybody's help; nothing that was acknowledged is lost"
    seconds = 1.0

    async def inject(self) -> None:
        for process in self.system.processes:
            process.kill()
        await asyncio.gather(self.system.kill_postgres(), self.system.kill_valkey())

    async def heal(self) -> None:
        await self.system.start_valkey()
        await self.system.start_postgres()
        fsync = (await self.system.sql("SHOW fsync"))[0][0]
        self.scene.history.write("audit", "ok", note="fsync is not on", count=int(fsync != "on"))


class FewDescriptors(Fault):
    """F45."""

    id = "F45"
    name = "a server process has no file descriptors left"
    expects = "new sockets are refused, existing ones served; it recovers alone"
    seconds = 4.0

    async def inject(self) -> None:
        web = self.random.choice(self.system.webs)
        assert web.child is not None
        self.pid = web.child.process.pid
        self.before_limit = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        open_now = len(os.listdir(f"/proc/{self.pid}/fd"))
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (open_now + 2, self.before_limit[1]))
        await come_and_go(self.population)

    async def heal(self) -> None:
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.before_limit)


class NoMemory(Fault):
    """F45A: the other limit of F45. What Python does where an allocation fails is not ours to promise."""

    id = "F45A"
    name = "control: a server process has no address space left"
    expects = "nothing that was acknowledged is lost; it ends, or goes on afterwards"
    seconds = 4.0
    spare = 2 * 1024 * 1024  # bytes of address space beyond what it has
    spoils = True
    may_break = ("I21",)

    async def inject(self) -> None:
        web = self.random.choice(self.system.webs)
        assert web.child is not None
        self.pid = web.child.process.pid
        self.before_limit = resource.prlimit(self.pid, resource.RLIMIT_AS)
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + self.spare
        resource.prlimit(self.pid, resource.RLIMIT_AS, (limit, self.before_limit[1]))
        talk = self.population.talks[0]
        for person in talk.people:
            for _ in range(20):
                person.devices[0].submit(self.population.message(talk, self.random, size=40_000))
        await come_and_go(self.population)

    async def heal(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(self.pid, resource.RLIMIT_AS, self.before_limit)
            self.note("the process lived on without memory")


async def come_and_go(population: Population) -> None:
    """Half of the devices lose their connections and come back, twice."""
    for _ in range(2):
        for device in population.devices[::2]:
            device.disconnect()
        await asyncio.sleep(1.0)


class StoppedProcess(Fault):
    """F23."""

    id = "F23"
    name = "5,000 messages, as fast as they are taken, into one conversation, and a server process is stopped for 1 s"
    expects = "the neighbours' conversations have no gap and do not wait"
    seconds = 1.0
    isolated = True
    messages = 5_000
    quick = MappingProxyType({"messages": 1_000})
    window = 256  # of each of three authors

    async def inject(self) -> None:
        # The control pair's own server process is the other one: what is stopped cannot answer.
        web, other = self.system.webs[0], 1
        for device in self.population.devices:
            if device.control:
                device.links = [self.system.link(f"control-{other}")]
                device.disconnect()
        await asyncio.sleep(1.0)
        talk = self.population.talks[1]
        authors = [person.devices[0] for person in talk.people]
        for author in authors:
            author.widen(self.window)
        began = time.monotonic()
        stopping = asyncio.create_task(self._stop_for_a_second(web))
        for number in range(self.messages):
            author = authors[number % len(authors)]
            author.submit(self.population.message(talk, self.random))
            while len(author.outbox) > 2 * self.window:
                await asyncio.sleep(0.01)
        async with asyncio.timeout(60):
            while any(author.outbox for author in authors):
                await asyncio.sleep(0.02)
        await stopping
        self.note(f"{self.messages} were answered at {self.messages / (time.monotonic() - began):.0f} a second")

    async def _stop_for_a_second(self, web: Process) -> None:
        await asyncio.sleep(self.random.uniform(1.0, 3.0))
        web.signal(signal.SIGSTOP)
        await asyncio.sleep(1.0)
        web.signal(signal.SIGCONT)


class Swizzle(Fault):
    """F46."""

    id = "F46"
    name = "links stop one by one and are released in another order"
    expects = "everything heals whatever the order"
    seconds = 0.5

    async def inject(self) -> None:
        links = [link for name, link in self.system.links.items() if not name.startswith("control")]
        self.stopped = self.random.sample(links, self.random.randint(3, len(links)))
        for link in self.stopped:
            link.set(Shape(held=frozenset({"up", "down"})))
            await asyncio.sleep(self.random.uniform(0.1, 0.8))
        for link in self.random.sample(self.stopped, len(self.stopped)):
            link.heal()
            await asyncio.sleep(self.random.uniform(0.1, 0.8))


FAULTS: tuple[type[Fault], ...] = (
    KilledAfterCommit,
    KilledBeforeCommit,
    KilledAgainAndAgain,
    RollingRestart,
    EverythingDies,
    StoppedProcess,
    FewDescriptors,
    NoMemory,
    Swizzle,
)
