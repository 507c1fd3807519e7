"""Clients that vanish without a word, whose words are lost, or that read slowly."""

from tests.chaos.client import Device
from tests.chaos.faults.base import Fault
from tests.chaos.proxy import Link, Shape


class _OneDevice(Fault):
    """A device behind a link of its own, which is spoiled; the others are not to feel it."""

    isolated = True
    shape: Shape

    async def inject(self) -> None:
        self.link = Link("alone", self.system.link("client-0").target, self.scene.seed)
        await self.link.start()
        person = self.population.people[self.random.randrange(5)]
        self.device: Device = person.devices[-1]
        self.before = self.device.links
        self.device.links = [self.link]
        self.device.disconnect()
        await self.device.synced.wait()
        self.link.set(self.shape)
        await self.more()

    async def more(self) -> None:
        """What else happens to it."""

    async def heal(self) -> None:
        self.link.heal()
        self.device.links = self.before
        self.link.reset()


class HalfOpen(_OneDevice):
    """F35."""

    id = "F35"
    name = "a client vanishes without a word"
    expects = "its messages stay undelivered and come on its return; others do not feel it"
    seconds = 8.0
    shape = Shape(held=frozenset({"up", "down"}))


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
    name = "a client reads 1 KB/s"
    expects = "little is held for it; it is served from the log; others do not feel it"
    seconds = 10.0
    shape = Shape(rate=1_000)

    async def more(self) -> None:
        talk = next(one for one in self.population.talks if str(self.device.user) in {str(p.user) for p in one.people})
        author = next(person for person in talk.people if str(person.user) != self.device.user).devices[0]
        for _ in range(600):
            author.submit(self.population.message(talk, self.random))


class ClientsReset(Fault):
    """F37: every client's connection is reset, again and again."""

    id = "F37"
    name = "every client's connection is reset five times, with requests under way"
    expects = "unknown outcomes are settled by the resend"
    seconds = 0.5

    async def inject(self) -> None:
        import asyncio

        for _ in range(5):
            for link in self.system.links_to("client-"):
                link.reset()
            await asyncio.sleep(self.random.uniform(0.7, 1.5))


FAULTS: tuple[type[Fault], ...] = (HalfOpen, AcksLost, SlowConsumer, ClientsReset)
