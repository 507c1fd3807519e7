"""Clients that vanish without a word, whose words are lost, or that read slowly."""

import asyncio

from tests.chaos.client import Device
from tests.chaos.faults.base import Fault
from tests.chaos.proxy import Link, Shape
from tests.chaos.workload import Person

SLACK_SECONDS = 2.0  # the harness shares its cores with the system


class _OneDevice(Fault):
    """A device behind a link of its own, which is spoiled; the others are not to feel it."""

    isolated = True
    shape: Shape

    async def inject(self) -> None:
        self.link = Link("alone", self.system.link("client-0").target, self.scene.seed)
        await self.link.start()
        self.person = self.choose()
        self.device: Device = self.person.devices[-1]
        self.before_links = self.device.links
        self.device.links = [self.link]
        self.device.disconnect()
        await asyncio.sleep(0.1)
        await self.device.synced.wait()
        self.began = asyncio.get_running_loop().time()
        self.connections = tuple(self.link.connections)
        self.link.set(self.shape)
        await self.more()

    def choose(self) -> Person:
        """Whose device it is."""
        return self.population.people[self.random.randrange(5)]

    async def more(self) -> None:
        """What else happens to it."""

    def look_at_the_end(self, seconds: float) -> None:
        """Whether the server ended the connection within so many seconds."""
        ends = [one.left - self.began for one in self.connections if one.left]
        self.note(f"the server ended its connection after {', '.join(f'{one:.1f} s' for one in ends) or 'never'}")
        late = len(self.connections) - sum(one <= seconds for one in ends)
        self.audit(f"connections that the server held for over {seconds:.0f} s", late)

    async def heal(self) -> None:
        self.link.heal()
        self.link.reset()
        await asyncio.sleep(0.5)  # what was under way on it ends as cut by us
        self.device.links = self.before_links


class HalfOpen(_OneDevice):
    """F35."""

    id = "F35"
    name = "a client vanishes without a word, for 50 s"
    expects = "it is missed within 40 s; its messages stay undelivered, it is told by push, and gets them on its return"
    seconds = 50.0
    shape = Shape(held=frozenset({"up", "down"}))

    def choose(self) -> Person:
        return self.population.people[self.random.randrange(2, 5)]  # who has no other device

    async def heal(self) -> None:
        self.look_at_the_end(40.0 + SLACK_SECONDS)
        rows = await self.system.sql(
            "SELECT count(*) FROM push_states WHERE user_id = %s AND pushed_at > now() - interval '50 seconds'",
            str(self.person.user),
        )
        self.audit("people who vanished and were not told by push", int(not rows[0][0]))
        await super().heal()


class AcksLost(_OneDevice):
    """F36."""

    id = "F36"
    name = "what a client says is lost on the way"
    expects = "it is sent again on its return, once each in the end"
    seconds = 8.0
    shape = Shape(dropped=frozenset({"up"}))


class SlowConsumer(_OneDevice):
    """F38."""

    id = "F38"
    name = "a client reads 1 KB/s while 5 MB are sent to it"
    expects = "little is held for it; it is served from the log, as often as it comes back; others do not feel it"
    seconds = 45.0
    shape = Shape(rate=1_000)
    messages = 600
    size = 8_000
    grown_max = 64 * 1024 * 1024

    async def more(self) -> None:
        web = self.system.webs[0]
        self.resident = web.resident_bytes
        talk = next(one for one in self.population.talks if self.person in one.people)
        author = next(person for person in talk.people if person is not self.person).devices[0]
        for _ in range(self.messages):
            author.submit(self.population.message(talk, self.random, size=self.size))

    async def heal(self) -> None:
        grown = self.system.webs[0].resident_bytes - self.resident
        self.audit(f"a process that grew, by {grown / 2**20:.0f} MiB", int(grown > self.grown_max))
        await super().heal()


class ClientsReset(Fault):
    """F37: every client's connection is reset, again and again."""

    id = "F37"
    name = "every client's connection is reset five times, with requests under way"
    expects = "unknown outcomes are settled by the resend"
    seconds = 0.5

    async def inject(self) -> None:
        for _ in range(5):
            for link in self.system.links_to("client-"):
                link.reset()
            await asyncio.sleep(self.random.uniform(0.7, 1.5))


FAULTS: tuple[type[Fault], ...] = (HalfOpen, AcksLost, SlowConsumer, ClientsReset)
