"""One group on a running server and the model of it: every operation is done to both, and the two are compared.

`World` carries operations out over either transport and expects what the model says of each: its outcome, its seq, the
code of its refusal. `views.py` compares what the devices hold and what the server answers with the model.
"""

import asyncio
import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID, uuid4

import psycopg

from messaging import tasks
from tests.live.client import Client, request, token_of
from tests.live.server import Cluster
from tests.model.reference import NOBODY, Item, Reference, Refused

NIL = UUID(int=0)
USERS, DEVICES = 3, 2
AUDITOR = DEVICES  # a third device of each user, which only asks
THERE = [(0, 0), (1, 0)]  # (user, device) of those that are online throughout
LATER = 600  # seconds of a ttl: far enough never to end by itself, tests move the time
Over = Literal["socket", "rest"]
Outcome = tuple[str, Any]  # ("ok", body) or ("error", code)
Step = tuple[str, dict[str, Any]]


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def assert_free(answer: Any, forbidden: set[str]) -> None:
    """Nothing that is gone for its reader is anywhere in what they get."""
    text = json.dumps(answer)
    found = [secret for secret in forbidden if secret in text]
    assert not found, (found, answer)


@dataclass
class Connection:
    """One socket of a device: from where it was to be served, what was forbidden when it joined."""

    client: Client
    start: int
    forbidden: set[str]
    own: set[int] = field(default_factory=set)  # seqs that this socket sent


@dataclass
class Device:
    """One device: the log as it holds it, from pushes and from the replies to its own sends."""

    user: int
    number: int
    id: UUID
    log: dict[int, dict[str, Any]] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    connections: list[Connection] = field(default_factory=list)
    online: bool = False
    taken: int = 0  # of the present connection's pushes

    @property
    def client(self) -> Client:
        return self.connections[-1].client

    def absorb(self) -> None:
        """Take what came: a repeat must be the same entry, its content at most gone."""
        if not self.connections:
            return
        pushes = self.client.pushes
        while self.taken < len(pushes):
            push = pushes[self.taken]
            self.taken += 1
            assert push.event not in ("resync_required", "phx_error", "phx_close"), push
            if push.event == "personal_update" and push.payload["kind"] == "hidden":
                self.hidden.update(push.payload["messageIds"])
            elif push.event == "new_message":
                self.hold(push.payload)

    def hold(self, entry: dict[str, Any]) -> None:
        known = self.log.setdefault(entry["seq"], entry)
        if known is not entry:
            for name in known.keys() - {"content", "metadata", "signature", "expiresAt", "ttlAfterRead"}:
                assert entry[name] == known[name], (name, known, entry)
            assert entry["content"] in ("", known["content"]), (known, entry)


@dataclass
class Sent:
    """A request with a key, and what it became, for resending it."""

    user: int
    device: int
    kind: Literal["send", "edit", "react"]
    body: dict[str, Any]
    answer: dict[str, Any]
    message: Item | None = None


class World:
    """A group of three users with two devices each, and its model."""

    def __init__(self, cluster: Cluster, database: "psycopg.Connection[Any]", over: Over | None = None) -> None:
        self.cluster = cluster
        self.database = database
        self.over = over  # the only transport, or None for what each operation says
        self.people = [uuid4() for _ in range(USERS)]
        self.devices = {(u, d): Device(u, d, uuid4()) for u in range(USERS) for d in range(DEVICES + 1)}
        self.conversation = ""
        self.model: Reference
        self.sent: list[Sent] = []
        self.scheduled: list[tuple[int, int, str, int, dict[str, Any]]] = []  # user, device, id, members version, body
        self.steps: list[Step] = []
        self.told: dict[tuple[int, int], tuple[int, int]] = {}  # (who may know, of whom): delivered and read up to
        self._randoms = iter(range(1, 1_000_000))

    async def begin(self, members: list[int]) -> None:
        """Make the group; every device has been there once, some stay."""
        self.steps.append(("begin", {"members": members}))
        await asyncio.gather(*(self.rest(u, d, "GET", "devices") for u, d in self.devices))
        body = {"type": "group", "members": [str(self.people[user]) for user in members]}
        self.conversation = self.ok(await self.rest(0, AUDITOR, "POST", "conversations", body))["id"]
        self.model = Reference(USERS, DEVICES, members)
        for user, device in THERE:
            await self._connect(user, device, {})

    async def close(self) -> None:
        for device in self.devices.values():
            if device.online:
                await device.client.close()
                device.online = False

    # --- the transports

    async def rest(self, user: int, device: int, method: str, path: str, body: Any = None) -> Outcome:
        token = token_of(self.people[user], self.devices[(user, device)].id)
        answer = await asyncio.to_thread(request, self.cluster.url, method, path, body, token=token)
        if 200 <= answer.status < 300:
            return "ok", answer.body
        assert answer.body["status"] == answer.status, answer
        return "error", answer.body["code"]

    @staticmethod
    def ok(outcome: Outcome) -> Any:
        assert outcome[0] == "ok", outcome
        return outcome[1]

    async def _connect(self, user: int, device: int, cursors: dict[str, int] | None) -> None:
        """`cursors` None: without, so from what the device acknowledged."""
        one = self.devices[(user, device)]
        forbidden = self.forbidden(user)
        client = await Client.open(self.cluster.url, self.people[user], one.id)
        start = self.model.acked[(user, device)] if cursors is None else cursors.get(self.conversation, 0)
        one.connections.append(Connection(client, start, forbidden))
        one.online, one.taken = True, 0
        await client.join_inbox(**({} if cursors is None else {"cursors": cursors or {self.conversation: 0}}))

    async def _socket(self, over: Over, user: int, device: int) -> Connection | None:
        """The socket to do something over, or None for REST."""
        one = self.devices[(user, device)]
        if (self.over or over) == "rest":
            return None
        if not one.online:
            if self.over is None:
                return None
            await self.reconnect(user, device, True)
        return one.connections[-1]

    async def _ask(self, connection: Connection, event: str, body: Any) -> Outcome:
        reply = await connection.client.ask(connection.client.inbox, event, body)
        return ("ok", reply.response) if reply.status == "ok" else ("error", reply.code)

    def entry_of(self, item: Item) -> dict[str, Any]:
        """An entry as it was appended, as `new_message` has it."""
        root = item.root
        entry = {
            "messageId": item.message_id,
            "conversationId": self.conversation,
            "seq": item.seq,
            "senderId": str(NIL) if item.sender == NOBODY else str(self.people[item.sender]),
            "senderDeviceId": None if item.device is None else str(self.devices[(item.sender, item.device)].id),
            "type": item.type,
            "content": base64_of(item.content),
            "metadata": self._metadata_of(item),
            "replyTo": None if item.reply_to is None else item.reply_to.message_id,
            "target": None if item.target is None else item.target.message_id,
            "mediaId": None,
            "clientRandom": item.client_random,
            "sentAt": item.sent_at,
            "editedAt": None,
            "expiresAt": root.expires_at if root.expiry_moved else item.expires_at,
            "signature": None,
        }
        return entry | ({} if item.ttl_after_read is None else {"ttlAfterRead": item.ttl_after_read})

    def _metadata_of(self, item: Item) -> dict[str, Any]:
        """Metadata as the wire has them: users and messages by their ids."""
        found = dict(item.metadata)
        if item.type == "system":
            for name in found.keys() & {"by"}:
                found[name] = str(self.people[found[name]])
            for name in found.keys() & {"userIds"}:
                found[name] = [str(self.people[user]) for user in found[name]]
            for name in found.keys() & {"messageId"}:
                found[name] = found[name].message_id
            for name in found.keys() & {"messageIds"}:
                found[name] = [one.message_id for one in found[name]]
        return found

    def token(self) -> bytes:
        """A content that is nowhere else."""
        return f"secret-{secrets.token_hex(12)}".encode()

    def forbidden(self, user: int) -> set[str]:
        """What no answer to the user may hold from now on: contents, as the wire has them."""
        found: set[str] = set()
        for item in self.model.items if self.conversation else []:
            if not self.model.users[user].sees(item.seq) or self.model.blank(user, item):
                if item.content:
                    found.add(base64_of(item.content))
                if "k" in item.metadata:
                    found.add(item.metadata["k"])
        return found

    def expect(self, outcome: Outcome, change: Callable[[], Any]) -> Any:
        """The model's change, where the server did it too; None where both refuse."""
        try:
            result = change()
        except Refused as refusal:
            assert outcome == ("error", refusal.code), (outcome, refusal.code)
            return None
        assert outcome[0] == "ok", outcome
        return result

    def _placed(self, item: Item, answer: dict[str, Any], connection: Connection | None) -> None:
        """An entry has its place: as the reply says it, and in the sender's own log."""
        assert answer["status"] == "sent", answer
        assert answer["conversationId"] == self.conversation
        assert answer["seq"] == item.seq, (answer, item)
        item.message_id, item.sent_at = answer["messageId"], answer["sentAt"]
        item.expires_at = answer.get("expiresAt")
        if item.target is not None and item.target.expiry_moved:
            assert item.target.expires_at in (None, item.expires_at)
            item.target.expires_at = item.expires_at
        if connection is not None:
            connection.own.add(item.seq)
            self.devices[(item.sender, item.device or 0)].hold(self.entry_of(item))

    # --- the operations

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
        content, fields = self.token(), {}
        if kind in ("ttl", "read"):
            fields = {"ttl": LATER, "ttlStart": "send" if kind == "ttl" else "read"}
        elif kind == "metadata":
            fields = {"metadata": {"k": self.token().decode(), "n": index}}
        target = self.message(index) if kind == "reply" else None
        body = self._body(content, conversationId=self.conversation, type="text", **fields)
        if target is not None:
            body["replyTo"] = target.message_id
        connection = await self._socket(over, user, device)
        outcome = await (
            self.rest(user, device, "POST", "messages", body)
            if connection is None
            else self._ask(connection, "send_message", body)
        )
        known = {"client_random": body["clientRandom"], "metadata": body.get("metadata", {})}
        known |= {"ttl": kind in ("ttl", "read"), "ttl_after_read": LATER if kind == "read" else None}
        item = self.expect(outcome, lambda: self.model.send(user, device, content, target, **known))
        if item is not None:
            self._placed(item, outcome[1], connection)
            self.sent.append(Sent(user, device, "send", body, outcome[1]))

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

    async def acknowledge(self, over: Over, user: int, device: int, back: int, read: bool) -> None:
        """Everything that the user may see but the last `back` entries is acknowledged."""
        seqs = [item.seq for item in self.model.visible(user)]
        if len(seqs) <= back:
            return
        up_to = seqs[-1 - back]
        connection = await self._socket(over, user, device)
        # A device acknowledges what it holds.
        one = self.devices[(user, device)]
        await (self.caught_up(one) if one.online else self.pull(one))
        place = {"conversationId": self.conversation, "upTo": up_to}
        if connection is None:
            status = {"status": "read" if read else "received"}
            outcome = await self.rest(user, device, "POST", "acks", place | status)
        else:
            outcome = await self._ask(connection, "message_read" if read else "message_received", place)
        self.expect(outcome, lambda: self.model.acknowledge(user, device, up_to, read=read))
        self.note_receipts(user)

    def note_receipts(self, user: int) -> None:
        """Who is a member when somebody acknowledges may learn of it, and that user's own devices."""
        member = self.model.users[user]
        for other in self.model.members | {user}:
            self.told[(other, user)] = (member.delivered, member.read)

    async def schedule(self, user: int, device: int) -> None:
        content = self.token()
        body = self._body(content, conversationId=self.conversation, type="text")
        moment = self.database.execute("SELECT now() + interval '1 hour'").fetchone()
        assert moment is not None
        body["scheduledFor"] = moment[0].isoformat()
        outcome = await self.rest(user, device, "POST", "messages/scheduled", body)
        self.expect(outcome, lambda: self.model.access(user))
        if outcome[0] == "ok":
            self.scheduled.append((user, device, outcome[1]["id"], self.model.version, body))

    async def fire(self, index: int, cancel: bool) -> None:
        """A scheduled message's time comes, or it is cancelled just before: then it is never sent."""
        if not self.scheduled:
            return
        user, device, id_, version, body = self.scheduled.pop(index % len(self.scheduled))
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
        if user not in self.model.members:
            assert (view["state"], view["reason"]) == ("failed", "not_found"), view
        elif version != self.model.version:
            assert (view["state"], view["reason"]) == ("needs_reencrypt", "stale_membership"), view
        else:
            assert (view["state"], view["reason"], view["content"]) == ("sent", None, None), view
            content = base64.b64decode(body["content"])
            item = self.model.send(user, device, content, client_random=body["clientRandom"])
            item.message_id = view["messageId"]

    async def disconnect(self, user: int, device: int) -> None:
        one = self.devices[(user, device)]
        if one.online and (user, device) not in THERE:
            one.absorb()
            await one.client.close()
            one.online = False

    async def reconnect(self, user: int, device: int, with_cursors: bool) -> None:
        """A device comes back, and says what it holds or leaves it to what it acknowledged."""
        one = self.devices[(user, device)]
        if one.online:
            return
        one.absorb()
        await self._connect(user, device, {self.conversation: self.held(one)} if with_cursors else None)

    # --- catching up

    def held(self, device: Device) -> int:
        """Up to where a device holds all that its user may see: what it sent itself may lie beyond a gap."""
        last = 0
        for item in self.model.visible(device.user):
            if item.seq not in device.log:
                break
            last = item.seq
        return last

    async def pull(self, device: Device) -> None:
        """What an offline device lacks, over REST."""
        complete = False
        while not complete:
            body = {"cursors": {self.conversation: self.held(device)}, "limit": 20}
            forbidden = self.forbidden(device.user)
            page = self.ok(await self.rest(device.user, device.number, "POST", "sync", body))
            assert_free(page, forbidden)
            for one in page["conversations"]:
                for entry in one["messages"]:
                    device.hold(entry)
            complete = page["complete"]
        device.hidden.update(page["personal"]["hidden"])

    async def caught_up(self, device: Device) -> None:
        """Wait until an online device holds all that its user may see since it came."""
        connection = device.connections[-1]
        wanted = {item.seq for item in self.model.visible(device.user) if item.seq > connection.start} - connection.own

        def all_there() -> bool:
            return wanted <= set(connection.client.seqs(self.conversation))

        try:
            await connection.client.until(all_there)
        except TimeoutError:
            held = connection.client.seqs(self.conversation)
            raise AssertionError(f"{device.user}.{device.number} lacks {sorted(wanted - set(held))}: {held}") from None
        device.absorb()
