"""Much at once. The log says in which order it happened; in that order the model has to allow it."""

import asyncio
import base64
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from tests.live.client import Reply
from tests.model.devices import Connection
from tests.model.items import Item
from tests.model.operations import Operations
from tests.model.world import AUDITOR, DEVICES, THERE, USERS, Outcome


@dataclass
class Racer:
    """One operation of a burst, under way."""

    kind: str
    user: int
    device: int
    body: dict[str, Any]
    future: Any
    connection: Connection | None = None

    async def outcome(self) -> Outcome:
        found = await self.future
        if self.connection is None:
            return found
        return ("ok", found.response) if found.status == "ok" else ("error", found.code)


class Bursts(Operations):
    """A group in which things happen at once, too."""

    async def burst(self, index: int, removed: int | None, edited: bool, deleted: bool) -> None:
        """Much at once: all online devices send, twice without waiting, the owner removes somebody, an author edits and
        deletes a message, another reacts to it, and devices come back meanwhile. The log says in which order it
        happened; in that order the model has to allow it."""
        before, message = self.model.head, self.message(index)
        if removed is not None and (self.model.users[removed].role == "owner" or not self.model.may_remove(0, removed)):
            removed = None  # an owner who goes hands over: two entries
        racers: list[Racer] = []
        for key, one in self.devices.items():
            if one.online:
                connection = one.connections[-1]
                for _ in range(2):
                    body = self._body(self.token(), conversationId=self.conversation, type="text")
                    asked = await connection.client.asked(connection.client.inbox, "send_message", body)
                    racers.append(Racer("send", *key, body, asked, connection))
        if message is not None:
            author, path = (message.sender, AUDITOR), f"messages/{message.message_id}"
            if edited:
                body = self._body(self.token())
                racers.append(Racer("edit", *author, body, self.soon(self.rest(*author, "PUT", path, body))))
            body = self._body(None, emoji="a")
            other = ((message.sender + 1) % USERS, AUDITOR)
            racers.append(Racer("react", *other, body, self.soon(self.rest(*other, "POST", f"{path}/reactions", body))))
            if deleted:
                work = self.rest(*author, "DELETE", f"{path}?for_everyone=true")
                racers.append(Racer("message_deleted", *author, {}, self.soon(work)))
        if removed is not None:
            path = f"conversations/{self.conversation}/members/{self.people[removed]}"
            racers.append(Racer("member_removed", 0, AUDITOR, {}, self.soon(self.rest(0, AUDITOR, "DELETE", path))))
        acknowledged = [] if message is None or message.ttl_after_read else await self._acknowledge_at_once(before)
        for user, device in [key for key, one in self.devices.items() if not one.online and key[1] < DEVICES][:1]:
            await self.reconnect(user, device, True, synced=False)
        outcomes = [await racer.outcome() for racer in racers]
        if acknowledged:
            assert [(await reply).ok for reply in acknowledged] == [{}, {}]
            if deleted and message is not None and self.model.acked[THERE[0]] < message.seq:
                message.perhaps = frozenset({THERE[0]})
            self.model.acknowledge(*THERE[0], before, read=True)
            self.note_receipts(0)
        await self._settle_burst(before, message, removed, list(zip(racers, outcomes, strict=True)))

    async def _acknowledge_at_once(self, head: int) -> "list[asyncio.Future[Reply]]":
        """The owner reads everything, and with the next frame says again that a part of it was received."""
        device = self.devices[THERE[0]]
        await self.caught_up(device)
        places = [{"conversationId": self.conversation, "upTo": up_to} for up_to in (head, 1)]
        client, events = device.client, ("message_read", "message_received")
        return [await client.asked(client.inbox, *one) for one in zip(events, places, strict=True)]

    async def _settle_burst(
        self, before: int, message: Item | None, removed: int | None, raced: "list[tuple[Racer, Outcome]]"
    ) -> None:
        sql = (
            "SELECT seq, id::text, sender_id::text, client_random, metadata ->> 'event' FROM messages"
            " WHERE conversation_id = %s AND seq > %s ORDER BY seq"
        )
        rows = self.database.execute(sql, [self.conversation, before]).fetchall()
        assert [row[0] for row in rows] == list(range(before + 1, before + 1 + len(rows)))
        for _, message_id, sender, client_random, event in rows:
            key = (event, None, None) if event else (None, sender, client_random)
            (at,) = [number for number, (racer, _) in enumerate(raced) if self._key(racer) == key]
            racer, outcome = raced.pop(at)
            assert outcome[0] == "ok", (racer, outcome)
            item = self._apply(racer, message, removed)
            assert item is not None, racer
            item.message_id = message_id
            if racer.body:
                self._placed(item, outcome[1], racer.connection)
        for racer, outcome in raced:  # what is not in the log was refused, or changed nothing
            if racer.kind == "send":
                assert outcome == ("error", "not_found"), (racer, outcome)
                assert racer.user not in self.model.members
            else:
                item, code = self._changed(lambda r=racer: self._apply(r, message, removed))
                assert item is None, (racer, outcome)
                # What changed nothing is not in the log, so whether it came before a removal is not known.
                assert removed is not None or outcome[0] == ("error" if code else "ok"), (racer, outcome, code)

    def _key(self, racer: "Racer") -> tuple[str | None, str | None, int | None]:
        """What finds an operation's entry in the log: a system entry's event, or who wrote it under which key."""
        if not racer.body:
            return racer.kind, None, None
        return None, str(self.people[racer.user]), racer.body["clientRandom"]

    def _apply(self, racer: "Racer", message: Item | None, removed: int | None) -> Item | None:
        """The model's side of one of a burst; Refused where it must not have happened."""
        model, random = self.model, {"client_random": racer.body.get("clientRandom")}
        content = base64.b64decode(racer.body.get("content", ""))
        if racer.kind == "send":
            return model.send(racer.user, racer.device, content, **random)
        if racer.kind == "member_removed":
            assert removed is not None
            return model.remove(0, removed)
        assert message is not None
        if racer.kind == "edit":
            return model.edit(racer.user, racer.device, message, content, **random)
        if racer.kind == "react":
            return model.react(racer.user, racer.device, message, "a", False, **random)
        return model.delete(racer.user, message)

    @staticmethod
    def soon(work: Coroutine[Any, Any, Outcome]) -> "asyncio.Task[Outcome]":
        return asyncio.get_running_loop().create_task(work)
