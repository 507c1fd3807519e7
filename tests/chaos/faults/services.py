"""The services around it: gone, silent, slow, wrong; and what waits for them."""

import asyncio
import json

from tests.chaos.faults.base import Fault
from tests.chaos.history import hash_of
from tests.chaos.proxy import Shape


class _Mode(Fault):
    """Services that behave in another way for a while."""

    services = True
    modes: dict[str, str]

    async def inject(self) -> None:
        self.system.set_services(self.modes)
        await self.more()

    async def more(self) -> None:
        """What people do meanwhile."""

    async def heal(self) -> None:
        self.system.set_services(dict.fromkeys(self.modes, "ok"))
        for link in self.system.links_to("service-"):
            link.heal()


class UsersGone(_Mode):
    """F29."""

    id = "F29"
    name = "the user service is gone"
    expects = "known members go on by the local tables"
    modes = {"users": "gone"}


class ServicesHang(_Mode):
    """F30."""

    id = "F30"
    name = "every service takes connections and never answers, then answers after 5 s"
    expects = "deadlines of 300 ms, circuits that open, no pile of threads"
    modes = {"users": "slow:5", "media": "slow:5", "notifications": "slow:5"}
    seconds = 3.0

    async def inject(self) -> None:
        for link in self.system.links_to("service-"):
            link.set(Shape(held=frozenset({"down"})))
        await asyncio.sleep(4)
        for link in self.system.links_to("service-"):
            link.heal()
        await super().inject()


class ServicesWrong(_Mode):
    """F31."""

    id = "F31"
    name = "every service gives answers that make no sense, and fails"
    expects = "such answers are failures, not facts"
    modes = {"users": "wrong", "media": "wrong", "notifications": "wrong"}
    seconds = 3.0

    async def inject(self) -> None:
        await super().inject()
        await asyncio.sleep(3)
        self.system.set_services(dict.fromkeys(self.modes, "error"))


class LinksFail(_Mode):
    """F32."""

    id = "F32"
    name = "the media service fails after it granted the medium"
    expects = "the message stays; its link is told later, once"
    modes = {"media": "error"}
    seconds = 4.0

    async def inject(self) -> None:
        self.system.set_services({"media": "ok"})
        talk = self.population.talks[0]
        authors = [person.devices[0] for person in talk.people]
        for number in range(12):
            sent = self.population.message(talk, self.random, type="media")
            sent.media_id = f"medium-{self.scene.seed}-{hash_of(sent.content)}"
            authors[number % len(authors)].submit(sent)
            if number == 4:
                self.system.set_services(self.modes)
            await asyncio.sleep(0.15)


class NotificationsGone(_Mode):
    """F33."""

    id = "F33"
    name = "the notification service is gone for 8 s while people are away"
    expects = "delivery goes on; then pushes, none twice and none for what was read"
    modes = {"notifications": "gone"}
    seconds = 6.0

    async def more(self) -> None:
        await asyncio.sleep(2)

    async def heal(self) -> None:
        await super().heal()
        await asyncio.sleep(1)
        keys: dict[str, int] = {}
        path = self.system.push_log
        for line in path.read_text().splitlines() if path.exists() else ():
            key = str(json.loads(line).get("key"))
            keys[key] = keys.get(key, 0) + 1
        twice = sum(count > 1 for key, count in keys.items() if key != "None")
        self.scene.history.write("audit", "ok", note=f"pushes shown twice, of {len(keys)}", count=twice)


FAULTS: tuple[type[Fault], ...] = (UsersGone, ServicesHang, ServicesWrong, LinksFail, NotificationsGone)
