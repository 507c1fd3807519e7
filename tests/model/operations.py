"""Every operation is done to the server and to the model, and expects what the model says of it: its outcome, its seq,
the code of its refusal."""

import asyncio
import base64
import json
import urllib.request
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

import psycopg
from nacl.public import PrivateKey

from messaging import tasks
from tests.live.client import Answer, token_of
from tests.live.server import Cluster
from tests.model.devices import Connection, Device, base64_of
from tests.model.items import Item
from tests.model.world import AUDITOR, REVOKED_SECONDS, THERE, Outcome, Over, World

LATER = 600  # seconds of a ttl: far enough never to end by itself, tests move the time
Step = tuple[str, dict[str, Any]]


@dataclass
class Sent:
    """A request with a key, and what it became, for resending it."""

    user: int
    device: int
    kind: Literal["send", "edit", "react"]
    body: dict[str, Any]
    answer: dict[str, Any]
    message: Item | None = None


@dataclass
class Scheduled:
    """A message that waits for its time, and what was true when it was encrypted."""

    user: int
    device: Device
    id: str
    version: int
    body: dict[str, Any]
    changes: list[int]
    rekeyed: int


class Operations(World):
    """A group in which one thing happens after the other."""

    def __init__(self, cluster: Cluster, database: "psycopg.Connection[Any]", over: Over | None = None) -> None:
        super().__init__(cluster, database, over)
        self.sent: list[Sent] = []
        self.scheduled: list[Scheduled] = []
        self.steps: list[Step] = []

    async def begin(self, members: list[int], direct: bool = False) -> None:
        """Make the group, or the direct conversation."""
        self.steps.append(("begin", {"members": members, "direct": direct}))
        await super().begin(members, direct)

    async def do(self, name: str, args: dict[str, Any]) -> None:
        """Carry out one operation; it is in `steps`, to be done again elsewhere."""
        self.steps.append((name, args))
        await getattr(self, name)(**args)

    def message(self, index: int) -> Item | None:
        """A message by number, counted from the newest."""
        messages = self.model.messages
        return messages[-1 - index % len(messages)] if messages else None

    def _body(self, content: bytes | None, **fields: Any) -> dict[str, Any]:
        named = {} if content is None else {"content": base64_of(content)}
        return {**named, "clientRandom": next(self._randoms), **fields}

    async def send(self, over: Over, user: int, device: int, kind: str, index: int) -> None:
        content = self.token()
        fields: dict[str, Any] = {}
        if kind in ("ttl", "read"):
            fields = {"ttl": LATER, "ttlStart": "send" if kind == "ttl" else "read"}
        elif kind == "metadata":
            fields = {"metadata": {"k": self.token().decode(), "n": index}}
        elif kind == "media":
            fields = {"type": "media", "mediaId": await self.upload(user, device)}
        target = self.message(index) if kind == "reply" else None
        body = self._body(content, conversationId=self.conversation, **({"type": "text"} | fields))
        if target is not None:
            body["replyTo"] = target.message_id
        connection = await self._socket(over, user, device)
        outcome = await (
            self.rest(user, device, "POST", "messages", body)
            if connection is None
            else self._ask(connection, "send_message", body)
        )
        known: dict[str, Any] = {"client_random": body["clientRandom"], "metadata": body.get("metadata", {})}
        known |= {
            "media_id": body.get("mediaId"),
            "ttl": kind in ("ttl", "read"),
            "ttl_after_read": LATER if kind == "read" else None,
        }
        item = self.expect(outcome, lambda: self.model.send(user, device, content, target, **known))
        if item is not None:
            self._placed(item, outcome[1], connection)
            self.sent.append(Sent(user, device, "send", body, outcome[1]))

    async def upload(self, user: int, device: int) -> str:
        """A medium of the user's own."""
        token = token_of(self.people[user], self.devices[(user, device)].id)
        answer = await asyncio.to_thread(upload, self.url, self.token(), token)
        assert answer.status == 201, answer
        return answer.body["mediaId"]

    async def _keyed(self, connection: Connection | None, sent: Sent, device: int) -> Outcome:
        """An edit or a reaction, or a send again."""
        body = sent.body
        if connection is not None:
            event = {"send": "send_message", "edit": "edit_message", "react": "react"}[sent.kind]
            return await self._ask(connection, event, body)
        if sent.kind == "send":
            return await self.rest(sent.user, device, "POST", "messages", body)
        path = f"messages/{body['messageId']}"
        if sent.kind == "edit":
            return await self.rest(sent.user, device, "PUT", path, body)
        if body["remove"]:
            query = f"emoji={body['emoji']}&clientRandom={body['clientRandom']}"
            return await self.rest(sent.user, device, "DELETE", f"{path}/reactions?{query}")
        return await self.rest(sent.user, device, "POST", f"{path}/reactions", body)

    async def edit(self, over: Over, user: int, device: int, index: int, times: int) -> None:
        message = self.message(index)
        for _ in range(times if message is not None else 0):
            content = self.token()
            body = self._body(content, messageId=message.message_id)
            sent = Sent(user, device, "edit", body, {}, message)
            connection = await self._socket(over, user, device)
            outcome = await self._keyed(connection, sent, device)
            random = {"client_random": body["clientRandom"]}
            item = self.expect(outcome, lambda c=content, r=random: self.model.edit(user, device, message, c, **r))
            if item is None:
                return
            self._placed(item, outcome[1], connection)
            sent.answer = outcome[1]
            self.sent.append(sent)

    async def react(self, over: Over, user: int, device: int, index: int, emoji: str, remove: bool) -> None:
        message = self.message(index)
        if message is None:
            return
        body = self._body(None, messageId=message.message_id, emoji=emoji, remove=remove)
        sent = Sent(user, device, "react", body, {}, message)
        connection = await self._socket(over, user, device)
        outcome = await self._keyed(connection, sent, device)
        random = {"client_random": body["clientRandom"]}
        item = self.expect(outcome, lambda: self.model.react(user, device, message, emoji, remove, **random))
        if outcome[0] != "ok":
            return
        if item is None:
            unchanged = {"messageId": message.message_id, "conversationId": self.conversation}
            assert outcome[1] == {"status": "duplicate", **unchanged}, outcome
        else:
            self._placed(item, outcome[1], connection)
        sent.answer = outcome[1]
        self.sent.append(sent)

    async def resend(self, over: Over, device: int, index: int) -> None:
        """The same key and content, by any device of the user: the first answer again."""
        if not self.sent:
            return
        sent = self.sent[-1 - index % len(self.sent)]
        connection = await self._socket(over, sent.user, device)
        outcome = await self._keyed(connection, sent, device)

        def again() -> dict[str, Any]:
            if sent.message is not None:
                self.model.place(sent.user, sent.message)
            return sent.answer | {"status": "duplicate"}

        expected = self.expect(outcome, again)
        assert expected is None or outcome[1] == expected, (outcome, expected)

    async def clash(self, over: Over, user: int, device: int, index: int) -> None:
        """The same key with another content is refused, whoever is a member."""
        mine = [one for one in self.sent if one.user == user and one.kind == "send"]
        if not mine:
            return
        body = mine[index % len(mine)].body | {"content": base64_of(self.token())}
        connection = await self._socket(over, user, device)
        outcome = await self._keyed(connection, Sent(user, device, "send", body, {}), device)
        assert outcome == ("error", "client_random_reused"), outcome

    async def delete(self, over: Over, user: int, device: int, index: int, for_everyone: bool) -> None:
        message = self.message(index)
        if message is None:
            return
        connection = await self._socket(over, user, device)
        if connection is None:
            path = f"messages/{message.message_id}?for_everyone={str(for_everyone).lower()}"
            outcome = await self.rest(user, device, "DELETE", path)
        else:
            body = {"messageId": message.message_id, "forEveryone": for_everyone}
            outcome = await self._ask(connection, "delete_message", body)
        change = self.model.delete if for_everyone else self.model.hide
        self.expect(outcome, lambda: change(user, message))
        if outcome[0] == "ok":
            assert outcome[1] == {"messageId": message.message_id}
            if connection is not None and not for_everyone:
                self.devices[(user, device)].hidden.add(message.message_id or "")

    async def expire(self, index: int, work: bool) -> None:
        """The time of one message is over; with `work` the worker comes at once, else at another step."""
        timed = [item for item in self.model.messages if item.ttl and not item.gone]
        if timed:
            message = timed[index % len(timed)]
            sql = (
                "UPDATE messages SET expires_at = (SELECT sent_at FROM messages WHERE id = %s)"
                " WHERE id = %s OR target_id = %s"
            )
            self.database.execute(sql, [message.message_id] * 3)
            message.due = message.expiry_moved = True
            message.expires_at = message.sent_at
        if work:
            await asyncio.to_thread(tasks.expire_messages)
            self.model.expire()

    async def add(self, by: int, user: int) -> None:
        body = {"userIds": [str(self.people[user])]}
        outcome = await self.rest(by, AUDITOR, "POST", f"conversations/{self.conversation}/members", body)
        self.expect(outcome, lambda: self.model.add(by, user))

    async def remove(self, by: int, user: int) -> None:
        path = f"conversations/{self.conversation}/members/{self.people[user]}"
        outcome = await self.rest(by, AUDITOR, "DELETE", path)
        self.expect(outcome, lambda: self.model.remove(by, user))

    async def acknowledge(self, over: Over, user: int, device: int, back: int, read: bool, again: bool = False) -> None:
        """Everything that the user may see but the last `back` entries is acknowledged; `again`: then the first entry
        is, as when acknowledgements overtake each other: nothing goes back."""
        seqs = [item.seq for item in self.model.visible(user)]
        if len(seqs) <= back:
            return
        connection = await self._socket(over, user, device)
        # A device acknowledges what it holds.
        one = self.devices[(user, device)]
        await (self.caught_up(one) if one.online else self.pull(one))
        for up_to in (seqs[-1 - back], seqs[0])[: 2 if again else 1]:
            place = {"conversationId": self.conversation, "upTo": up_to}
            if connection is None:
                status = {"status": "read" if read else "received"}
                outcome = await self.rest(user, device, "POST", "acks", place | status)
            else:
                outcome = await self._ask(connection, "message_read" if read else "message_received", place)
            self.expect(outcome, lambda to=up_to: self.model.acknowledge(user, device, to, read=read))
            self.note_receipts(user)

    async def schedule(self, user: int, device: int) -> None:
        content = self.token()
        body = self._body(content, conversationId=self.conversation, type="text")
        moment = self.database.execute("SELECT now() + interval '1 hour'").fetchone()
        assert moment is not None
        body["scheduledFor"] = moment[0].isoformat()
        outcome = await self.rest(user, device, "POST", "messages/scheduled", body)
        self.expect(outcome, lambda: self.model.access(user))
        if outcome[0] == "ok":
            one = self.devices[(user, device)]
            changes = [member.changes for member in self.model.users]
            self.scheduled.append(
                Scheduled(user, one, outcome[1]["id"], self.model.version, body, changes, one.rekeyed)
            )

    async def fire(self, index: int, cancel: bool) -> None:
        """A scheduled message's time comes, or it is cancelled just before: then it is never sent."""
        if not self.scheduled:
            return
        waiting = self.scheduled.pop(index % len(self.scheduled))
        user, id_, body, model = waiting.user, waiting.id, waiting.body, self.model
        if cancel:
            assert (await self.rest(user, AUDITOR, "DELETE", f"messages/scheduled/{id_}"))[0] == "ok"
        sql = "UPDATE scheduled_messages SET scheduled_for = now() - interval '1 second' WHERE id = %s"
        assert self.database.execute(sql, [id_]).rowcount == (0 if cancel else 1)
        await asyncio.to_thread(tasks.send_due_scheduled)
        outcome = await self.rest(user, AUDITOR, "GET", f"messages/scheduled/{id_}")
        if cancel:
            assert outcome == ("error", "not_found"), outcome
            return
        view = self.ok(outcome)
        changed = [one for one in model.members if model.users[one].changes != waiting.changes[one]]
        if waiting.device.revoked:
            assert (view["state"], view["reason"]) == ("failed", "unauthenticated"), view
        elif waiting.device.rekeyed != waiting.rekeyed or changed:
            assert (view["state"], view["reason"]) == ("needs_reencrypt", "stale_membership"), view
        elif user not in model.members:
            assert (view["state"], view["reason"]) == ("failed", "not_found"), view
        elif waiting.version != model.version:
            assert (view["state"], view["reason"]) == ("needs_reencrypt", "stale_membership"), view
        else:
            assert (view["state"], view["reason"], view["content"]) == ("sent", None, None), view
            content = base64.b64decode(body["content"])
            item = model.send(user, waiting.device.number, content, client_random=body["clientRandom"])
            item.message_id = view["messageId"]

    async def disconnect(self, user: int, device: int) -> None:
        one = self.devices[(user, device)]
        if one.online and (user, device) not in THERE:
            one.absorb()
            await one.client.close()
            one.online = False

    async def reconnect(self, user: int, device: int, with_cursors: bool, synced: bool = True) -> None:
        one = self.devices[(user, device)]
        if not one.online:
            await self.come_back(one, with_cursors, synced)

    # --- members and settings

    async def role(self, by: int, user: int, role: str) -> None:
        path = f"conversations/{self.conversation}/members/{self.people[user]}"
        outcome = await self.rest(by, AUDITOR, "PATCH", path, {"role": role})
        self.expect(outcome, lambda: self.model.set_role(by, user, role))

    async def block(self, by: int, on: bool) -> None:
        """One of the two blocks the other, or no longer does; the other is not told."""
        path = f"blocks/{self.people[1 - by]}"
        assert (await self.rest(by, AUDITOR, "PUT" if on else "DELETE", path))[0] == "ok"
        self.model.block(by, on)

    async def configure(self, by: int, setting: str, value: bool | str | None) -> None:
        """A setting of the conversation: `sharedHistory`, `readReceipts`, or one that is the clients' own."""
        path = f"conversations/{self.conversation}"
        outcome = await self.rest(by, AUDITOR, "PATCH", path, {"settings": {setting: value}})
        self.expect(outcome, lambda: self.model.update(by, **{setting: value}))

    async def tell(self, user: int, reads: bool) -> None:
        """Whether a user lets others know what they read."""
        answer = self.ok(await self.rest(user, AUDITOR, "PATCH", "settings", {"readReceipts": reads}))
        assert answer["readReceipts"] is reads
        self.model.users[user].tells = reads

    # --- devices

    async def rekey(self, user: int, device: int) -> None:
        """A device gets another key to encrypt for."""
        key = base64_of(bytes(PrivateKey.generate().public_key))
        one = self.devices[(user, device)]
        path = f"devices/{one.id}"
        assert self.ok(await self.rest(user, device, "PATCH", path, {"encryptionKey": key}))["encryptionKey"] == key
        self.model.users[user].changes += 1
        one.rekeyed += 1

    async def revoke(self, user: int) -> None:
        """The second device is revoked, and another one takes its place."""
        one = self.devices[(user, 1)]
        one.absorb()
        assert self.ok(await self.rest(user, AUDITOR, "DELETE", f"devices/{one.id}")) is None
        if one.online:
            async with asyncio.timeout(REVOKED_SECONDS):
                assert await one.client.until_closed() == 4403
            one.absorb()
            one.online = False
        async with asyncio.timeout(REVOKED_SECONDS):
            while (await self.rest(user, 1, "GET", "devices")) != ("error", "unauthenticated"):
                await asyncio.sleep(0.05)
        number = next(self._retired)
        self.model.retire(user, 1, number)
        one.number, one.revoked = number, True
        self.devices[(user, number)] = one
        self.devices[(user, 1)] = Device(user, 1, uuid4())
        self.ok(await self.rest(user, 1, "GET", "devices"))


def upload(url: str, content: bytes, token: str) -> Answer:
    """`POST media`: the bytes as they are."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
    asked = urllib.request.Request(f"{url}/api/v1/media", content, headers, method="POST")
    with urllib.request.urlopen(asked, timeout=20) as response:
        return Answer(response.status, json.loads(response.read()))
