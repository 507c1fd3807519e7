"""The services around it: gone, silent, slow, wrong; and what waits for them."""

import asyncio
import json
import time
from collections import Counter
from types import MappingProxyType
from typing import Any

from tests.chaos.faults.base import Fault
from tests.chaos.history import hash_of
from tests.chaos.proxy import Shape

RECOVERY_SECONDS = 30.0
# Talks in which somebody lacks something that is to be told.
_LACKING = """
SELECT DISTINCT m.conversation_id FROM messages m JOIN members b ON b.conversation_id = m.conversation_id
WHERE b.user_id = %s AND b.left_seq IS NULL AND m.sender_id <> b.user_id
AND m.seq > greatest(b.delivered_seq, b.joined_seq - 1)
AND m.message_type IN ('text', 'media', 'ephemeral') AND NOT m.is_deleted AND NOT m.withheld
AND (m.expires_at IS NULL OR m.expires_at > now() + interval '1 minute')"""
# user/message of what nobody is to be told any more: it was read there, or is expired.
_STALE = """
SELECT b.user_id || '/' || m.id FROM messages m JOIN members b ON b.conversation_id = m.conversation_id
WHERE m.seq <= b.read_seq OR m.expires_at < now()"""


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
    name = "the notification service is gone for 10 minutes, and one of the people for as long"
    expects = "delivery goes on; then pushes, one a conversation, none twice and none for what was read"
    modes = {"notifications": "gone"}
    seconds = 600.0
    quick = MappingProxyType({"seconds": 8.0})

    async def more(self) -> None:
        self.calm()
        self.away = self.population.people[4]
        for device in self.away.devices:
            device.leave()
        self.began = len(self._shown())

    async def heal(self) -> None:
        self.liven()
        before = self._shown()
        self.audit("pushes shown while the service was gone", len(before) - self.began)
        stale = {str(row[0]) for row in await self.system.sql(_STALE)}
        lacking = {str(row[0]) for row in await self.system.sql(_LACKING, str(self.away.user))}
        await super().heal()
        told: Counter[str] = Counter()
        late: list[dict[str, Any]] = []
        until = time.monotonic() + RECOVERY_SECONDS
        while lacking - told.keys() and time.monotonic() < until:
            await asyncio.sleep(0.5)
            late = [one for one in self._shown()[len(before) :] if one["kind"] == "KIND_MESSAGE"]
            told = Counter(one["conversationId"] for one in late if one["userId"] == str(self.away.user))
        keys = Counter(one["key"] for one in self._shown())
        self.audit(f"pushes shown twice, of {len(keys)}", sum(count > 1 for count in keys.values()))
        self.audit(f"talks of which who was away is not told, of {len(lacking)}", len(lacking - told.keys()))
        self.audit("talks of which who was away is told again and again", sum(count > 3 for count in told.values()))
        self.audit(
            f"pushes for what was read or expired before, of {len(late)}",
            sum(not stale.isdisjoint([f"{one['userId']}/{message}" for message in one["messageIds"]]) for one in late),
        )
        for device in self.away.devices:
            device.come_back()

    def _shown(self) -> list[dict[str, Any]]:
        path = self.system.push_log
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


FAULTS: tuple[type[Fault], ...] = (UsersGone, ServicesHang, ServicesWrong, LinksFail, NotificationsGone)
