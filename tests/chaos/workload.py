"""What people do: a few groups and pairs, several devices each, and one pair that has nothing to do with the others."""

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from tests.chaos.client import Device
from tests.chaos.history import History, hash_of
from tests.chaos.system import System
from tests.chaos.wire import Held, Outgoing, entry_fields

EMOJI = ("👍", "🎉", "❤️", "🚀")
RANDOM_BITS = 53
# What a device does next, and how often.
DEEDS = {
    "text": 60,
    "burst": 8,
    "edit": 7,
    "delete": 4,
    "react": 9,
    "ephemeral": 5,
    "fetch": 3,
    "leave": 2,
    "schedule": 2,
}
PAGE = 200
FETCH_TRIES = 20  # of a page of a reading at the end: a process may still be starting
CROWD_SECONDS = 150.0  # until the last one of a crowd is connected
CROWD_PAUSE_SECONDS = 0.008
CROWD_BEAT_SECONDS = 25.0
FRESH_MAX = 12  # people who look at everything again at the end: all of those of every run


@dataclass(eq=False)
class Person:
    """A user and their devices."""

    user: UUID
    devices: list[Device]
    control: bool = False


@dataclass(eq=False)
class Talk:
    """A conversation, and who writes in it."""

    id: str
    people: list[Person]
    guest: Person | None = None  # comes and goes


@dataclass
class Population:
    """The people of one run, on one system."""

    system: System
    history: History
    seed: str
    rate: float = 2.0  # deeds a second and device
    people: list[Person] = field(default_factory=list)
    talks: list[Talk] = field(default_factory=list)
    extra: list[Device] = field(default_factory=list)
    revoked: Device = field(init=False)
    blocked: tuple[Person, Person, Talk] = field(init=False)
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    _count: int = 0
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.seed}-workload")

    # --- who there is

    def person(self, devices: int = 1, *, control: bool = False, crowd: bool = False) -> Person:
        """A new user."""
        user = uuid4()
        person = Person(user, [], control)
        for _ in range(devices):
            person.devices.append(self.device(user, control=control, crowd=crowd))
        self.people.append(person)
        return person

    def device(self, user: UUID, *, control: bool = False, crowd: bool = False) -> Device:
        """A new device, not started. One of a crowd has no link, and is silent for longer."""
        links = self.system.links_to("control-" if control else "client-")
        self._count += 1
        seed = f"{self.seed}-{self._count}"
        if not crowd:
            return Device(self.history, links, self.system.secret, user, seed=seed, control=control)
        straight = [link.past() for link in links]
        device = Device(
            self.history, straight, self.system.secret, user, seed=seed, reads=False, beat=CROWD_BEAT_SECONDS
        )
        device.rest_share = 0.0
        return device

    async def crowd(self, people: int, devices: int = 1) -> list[Person]:
        """So many more people, connected. They write only what a fault has them write."""
        crowd = [self.person(devices, crowd=True) for _ in range(people)]
        for device in (one for person in crowd for one in person.devices):
            device.start()
            await asyncio.sleep(CROWD_PAUSE_SECONDS)
        async with asyncio.timeout(CROWD_SECONDS):
            await asyncio.gather(*(one.synced.wait() for person in crowd for one in person.devices))
        return crowd

    async def talk(self, *people: Person, kind: str = "group", guest: Person | None = None) -> Talk:
        """A conversation of these people; the first one owns it."""
        body = {"type": kind, "members": [str(one.user) for one in people], "id": str(uuid4())}
        end, answer = await people[0].devices[0].request("create", "POST", "conversations", body)
        if end.phase != "ok":
            raise RuntimeError(f"a conversation could not be made: {end.code}")
        made = Talk(str(answer["id"]), list(people), guest)
        self.talks.append(made)
        return made

    async def settle_in(self) -> None:
        """The people of every run, connected and caught up."""
        ann, ben, cleo, dan, eve = self.person(2), self.person(2), self.person(), self.person(), self.person()
        guest = self.person()
        fay, gus = self.person(), self.person()
        control = (self.person(control=True), self.person(control=True))
        await self.talk(ann, ben, cleo, dan, eve, guest=guest)
        await self.talk(ben, cleo, dan)
        await self.talk(ann, ben, kind="direct")
        await self.talk(dan, eve, kind="direct")
        await self.talk(*control, kind="direct")
        self.blocked = (fay, gus, await self.talk(fay, gus, kind="direct"))
        self.revoked = self.device(ann.user)
        self.extra.append(self.revoked)
        for device in self.devices:
            device.start()
        async with asyncio.timeout(90):
            await asyncio.gather(*(device.synced.wait() for device in self.devices))

    @property
    def devices(self) -> list[Device]:
        """Everybody's."""
        return [device for person in self.people for device in person.devices] + self.extra

    def talks_of(self, person: Person) -> list[Talk]:
        """Where a person may write."""
        return [talk for talk in self.talks if person in talk.people or person is talk.guest]

    # --- what they do

    def begin(self) -> None:
        """Let everybody live, until `quiet`."""
        for person in self.people:
            for device in person.devices:
                self._tasks.append(asyncio.create_task(self._live(person, device)))
        self._tasks += [asyncio.create_task(self._revoke()), asyncio.create_task(self._block())]
        for talk in self.talks:
            if talk.guest is not None:
                self._tasks.append(asyncio.create_task(self._come_and_go(talk, talk.guest)))

    async def quiet(self) -> None:
        """No new deeds; what is under way goes on."""
        self._stop.set()
        for device in self.devices:
            device.come_back()
        async with asyncio.timeout(90):
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def end(self) -> None:
        """Everybody goes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(device.stop() for device in self.devices), return_exceptions=True)

    async def _live(self, person: Person, device: Device) -> None:
        chance = random.Random(f"{self.seed}-{device.seed_name}")
        deeds, weights = list(DEEDS), list(DEEDS.values())
        while await self._pause(chance.expovariate(1.0)):
            talks = self.talks_of(person)
            if not talks:
                continue
            talk = chance.choice(talks)
            deed = "text" if person.control else chance.choices(deeds, weights)[0]
            await self._do(deed, device, talk, chance)

    async def _pause(self, deeds: float) -> bool:
        """Wait for as long as so many deeds take, at the rate of each moment; False: nobody does anything any more."""
        while deeds > 0 and not self._stop.is_set():
            seconds = min(deeds / self.rate, 0.5)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stop.wait()
            deeds -= seconds * self.rate
        return not self._stop.is_set()

    async def _do(self, deed: str, device: Device, talk: Talk, chance: random.Random) -> None:
        held = device.held.get(talk.id) or Held()
        if deed == "leave" and device.paused.is_set():  # else a fault keeps it away
            device.leave()
            await asyncio.sleep(chance.uniform(0.2, 1.5))
            device.come_back()
        elif deed == "burst":
            for _ in range(chance.randint(3, 8)):
                device.submit(self.message(talk, chance))
        elif deed == "ephemeral":
            device.submit(self.message(talk, chance, type="ephemeral", ttl=chance.randint(2, 4)))
        elif deed == "fetch":
            await fetch(device, talk.id, final=False)
            await self.ask_receipts(device, talk)
        elif deed == "schedule":
            await self._schedule(device, talk, chance)
        elif deed in ("edit", "delete", "react") and held.messages:
            own = [one["messageId"] for one in held.messages.values() if one["senderId"] == device.user]
            if deed == "react":
                target = chance.choice(list(held.messages))
                emoji, remove = chance.choice(EMOJI), chance.random() < 0.2
                device.submit(
                    self.message(talk, chance, type="reaction", empty=True, target=target, emoji=emoji, remove=remove)
                )
            elif own and deed == "edit":
                device.submit(self.message(talk, chance, type="edit", target=chance.choice(own)))
            elif own:
                await device.delete(talk.id, chance.choice(own))
        else:
            device.submit(self.message(talk, chance))

    def message(
        self, talk: Talk, chance: random.Random, *, type: str = "text", empty: bool = False, size: int = 0, **more: Any
    ) -> Outgoing:
        """A message with a content of its own, of `size` bytes and a few, which holds a canary."""
        self._count += 1
        padding = bytes(chance.randrange(256) for _ in range(chance.randint(8, 64)))
        content = b"" if empty else f"canary-{self.seed}-{self._count}-".encode() + padding + bytes(size)
        return Outgoing(talk.id, type, content, chance.getrandbits(RANDOM_BITS), **more)

    async def _schedule(self, device: Device, talk: Talk, chance: random.Random) -> None:
        planned = self.message(talk, chance)
        due = round(time.time() + chance.uniform(2, 5), 3)
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(due)) + f".{int(due * 1000) % 1000:03d}Z"
        await device.request(
            "schedule",
            "POST",
            "messages/scheduled",
            planned.payload() | {"scheduledFor": when},
            conversation=talk.id,
            client_random=planned.client_random,
            hash=hash_of(planned.content),
            due=due,
        )

    async def _come_and_go(self, talk: Talk, guest: Person) -> None:
        """The owner adds the guest and removes them again."""
        owner = talk.people[0].devices[0]
        path, users = f"conversations/{talk.id}/members", [str(guest.user)]
        while await self._pause(self.random.uniform(1.0, 4.0)):
            await owner.request(
                "member", "POST", path, {"userIds": users}, conversation=talk.id, users=users, code="add"
            )
            if not await self._pause(self.random.uniform(1.0, 4.0)):
                return
            await owner.request(
                "member", "DELETE", f"{path}/{guest.user}", conversation=talk.id, users=users, code="remove"
            )

    async def _revoke(self) -> None:
        """Somebody loses a device, and says so from another one."""
        await asyncio.sleep(self.random.uniform(1.0, 6.0))
        lost, owner = self.revoked, self.people[0].devices[0]
        lost.is_revoked = True
        while True:
            end, _ = await owner.request("revoke", "DELETE", f"devices/{lost.id}", target=lost.id)
            if end.phase != "info":
                return
            await asyncio.sleep(0.5)

    async def _block(self) -> None:
        """Somebody has heard enough."""
        await asyncio.sleep(self.random.uniform(1.0, 6.0))
        fay, gus, talk = self.blocked
        who, about = fay.devices[0], {"target": str(gus.user), "conversation": talk.id}
        while True:
            end, _ = await who.request("block", "PUT", f"blocks/{gus.user}", **about)
            if end.phase != "info":
                return
            await asyncio.sleep(0.5)

    # --- whether all is well again

    async def lacking(self) -> list[str]:
        """What is not as it should be when everything works and nobody does anything."""
        found: list[str] = []
        heads = {str(row[0]): row[1] for row in await self.system.sql("SELECT id, last_seq FROM conversations")}
        rows = await self.system.sql("SELECT conversation_id, user_id FROM members WHERE left_seq IS NULL")
        members = {(str(row[0]), str(row[1])) for row in rows}
        known = {talk.id for talk in self.talks}
        for device in self.devices:
            if device.is_revoked:
                continue
            name = device.id[:8]
            if device.outbox:
                found.append(f"{name} has {len(device.outbox)} unsettled")
            if device.only_rest:
                continue
            if not device.synced.is_set():
                found.append(f"{name} is not caught up")
            for conversation in known:
                if (conversation, device.user) not in members:
                    continue
                upto = device.held[conversation].upto if conversation in device.held else None
                if (upto or 0) < heads[conversation]:
                    found.append(f"{name} has {conversation[:8]} up to {upto} of {heads[conversation]}")
                elif device.held[conversation].acked < heads[conversation]:
                    found.append(f"{name} acknowledged {device.held[conversation].acked} of {heads[conversation]}")
        return found

    # --- everything afresh

    async def look_at_everything(self) -> None:
        """Each user on a device that has nothing, and by every page; what the server says of receipts."""
        fresh: list[Device] = []
        for person in self.people[:FRESH_MAX]:
            device = self.device(person.user, control=person.control)
            device.reads = False
            person.devices.append(device)
            fresh.append(device)
            device.start()
        async with asyncio.timeout(90):
            await asyncio.gather(*(device.synced.wait() for device in fresh))
        for talk in self.talks:
            for person in [*talk.people[:FRESH_MAX], *([talk.guest] if talk.guest else [])]:
                await fetch(person.devices[0], talk.id, final=True)
            await self.ask_receipts(talk.people[0].devices[0], talk)
            await self._deliveries(talk)

    async def ask_receipts(self, asking: Device, talk: Talk) -> None:
        """How far the server says that everybody is."""
        end, answer = await asking.request("receipts", "GET", f"conversations/{talk.id}/receipts", conversation=talk.id)
        for one in answer["receipts"] if end.phase == "ok" else ():
            self.history.write(
                "receipt",
                "ok",
                id=end.id,
                conversation=talk.id,
                recipient=one["userId"],
                up_to=one["deliveredSeq"],
                read_up_to=one["readSeq"],
            )

    async def _deliveries(self, talk: Talk) -> None:
        """What became of the last messages of each device, for their sender."""
        for device in [one for person in talk.people[:FRESH_MAX] for one in person.devices]:
            held = device.held.get(talk.id)
            own = [one for one in (held.messages.values() if held else ()) if one["senderId"] == device.user]
            for message in own[-2:]:
                path = f"messages/{message['messageId']}/delivery"
                end, answer = await device.request("deliveries", "GET", path, message_id=message["messageId"])
                for one in answer["recipients"] if end.phase == "ok" else ():
                    self.history.write(
                        "delivery",
                        "ok",
                        conversation=talk.id,
                        message_id=message["messageId"],
                        recipient=one["userId"],
                        status=one["status"],
                        at=one.get("deliveredAt"),
                        read_at=one.get("readAt"),
                    )


async def fetch(device: Device, conversation: str, *, final: bool) -> None:
    """Read a conversation by its pages: all of them, or only the newest one."""
    note = "final" if final else None
    line = device.begin_fetch(conversation, note)
    after: int | None = 0 if final else None
    head = 0
    while True:
        where = "" if after is None else f"&after={after}"
        path = f"conversations/{conversation}/messages?limit={PAGE}{where}"
        status, page = await device.rest("GET", path)
        for _ in range(FETCH_TRIES if final else 0):
            if status in (200, 404):
                break
            await asyncio.sleep(0.5)
            status, page = await device.rest("GET", path)
        if status != 200:
            device.end_fetch(line, status, page, None)
            return
        for entry in page["messages"]:
            device.history.write("view", "ok", id=line.id, user=device.user, device=device.id, **entry_fields(entry))
            head = max(head, entry["seq"])
        if after is None or not page["hasMore"] or not page["messages"]:
            break
        after = head
    device.end_fetch(line, 200, None, head)
