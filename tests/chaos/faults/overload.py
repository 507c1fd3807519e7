"""More than there should be at once."""

import asyncio
import signal

from tests.chaos.faults.base import Fault


class ReconnectStorm(Fault):
    """F39."""

    id = "F39"
    name = "300 sockets are reset at once"
    expects = "all caught up within 30 s"
    seconds = 1.0
    sockets = 300

    async def inject(self) -> None:
        # At most 20 sockets a user: the storm is of people of their own, who have something to catch up with.
        people = [self.population.person(devices=15) for _ in range(self.sockets // 15)]
        extra = [device for person in people for device in person.devices]
        talk = await self.population.talk(*people)
        for device in extra:
            device.reads = False
            device.start()
            await asyncio.sleep(0.01)
        async with asyncio.timeout(150):
            await asyncio.gather(*(device.synced.wait() for device in extra))
        for _ in range(50):
            extra[0].submit(self.population.message(talk, self.random))
        for _ in range(2):
            for link in self.system.links_to("client-"):
                link.reset()
            await asyncio.sleep(2)


class HugeBacklog(Fault):
    """F40."""

    id = "F40"
    name = "a device comes back to 2,000 messages while more are sent"
    expects = "paged, live in between, no gap at the seam"
    seconds = 1.0
    messages = 2_000

    async def inject(self) -> None:
        talk = self.population.talks[1]
        away = talk.people[0].devices[1]  # the user's other device is there, and far ahead
        away.leave()
        authors = [person.devices[0] for person in talk.people[1:3]]
        for number in range(self.messages):
            authors[number % 2].submit(self.population.message(talk, self.random))
        async with asyncio.timeout(150):
            while any(len(author.outbox) > 50 for author in authors):
                away.leave()
                await asyncio.sleep(0.1)
        away.come_back()
        for _ in range(15):
            await self.population.ask_receipts(authors[0], talk)
            await asyncio.sleep(0.1)


class ThunderingHerd(Fault):
    """F41."""

    id = "F41"
    name = "40 senders write 8 messages each into one conversation at once"
    expects = "each settled, in one order; the control pair is served"
    seconds = 1.0
    isolated = True

    async def inject(self) -> None:
        people = [self.population.person() for _ in range(40)]
        for person in people:
            person.devices[0].start()
        async with asyncio.timeout(90):
            await asyncio.gather(*(person.devices[0].synced.wait() for person in people))
        talk = await self.population.talk(*people)
        for _ in range(8):
            for person in people:
                person.devices[0].submit(self.population.message(talk, self.random))


class RetryStorm(Fault):
    """F42."""

    id = "F42"
    name = "PostgreSQL hangs for 12 s under 60 clients that all try again"
    expects = "refused quickly, and no collapse on its return"
    seconds = 12.0

    async def inject(self) -> None:
        people = [self.population.person() for _ in range(60)]
        for person in people:
            person.devices[0].start()
        async with asyncio.timeout(90):
            await asyncio.gather(*(person.devices[0].synced.wait() for person in people))
        talks = [await self.population.talk(*people[at : at + 6]) for at in range(0, 60, 6)]
        self.system.signal_postgres(signal.SIGSTOP)
        for _ in range(3):
            for talk in talks:
                for person in talk.people:
                    person.devices[0].submit(self.population.message(talk, self.random))

    async def heal(self) -> None:
        self.system.signal_postgres(signal.SIGCONT)


FAULTS: tuple[type[Fault], ...] = (ReconnectStorm, HugeBacklog, ThunderingHerd, RetryStorm)
