"""One group on a running server and the model of it, and the ways to reach the one and to look at the other."""

import asyncio
import itertools
import secrets
from base64 import b64decode
from collections.abc import Callable
from typing import Any, Literal
from uuid import UUID, uuid4

import psycopg

from tests.live.client import Client, request, token_of
from tests.live.server import Cluster
from tests.model.devices import Connection, Device, assert_free, base64_of
from tests.model.items import NOBODY, Item, Refused
from tests.model.reference import Reference

NIL = UUID(int=0)
USERS, DEVICES = 3, 2
# Of the servers of these tests: entries that a socket gets without an acknowledgement, so that it meets its bound.
WINDOW = 24
RETIRED = 1000  # numbers of devices that were revoked
REVOKED_SECONDS = 5.0  # the reliability catalogue, I17
AUDITOR = DEVICES  # a third device of each user, which only asks
THERE = [(0, 0), (1, 0)]  # (user, device) of those that are online throughout
Over = Literal["socket", "rest"]
Outcome = tuple[str, Any]  # ("ok", body) or ("error", code)


class World:
    """A group of three users with two devices each, and its model."""

    def __init__(self, cluster: Cluster, database: "psycopg.Connection[Any]", over: Over | None = None) -> None:
        self.cluster = cluster
        self.database = database
        self.over = over  # the only transport, or None for what each operation says
        self.people = sorted(uuid4() for _ in range(USERS))  # the oldest of equals is the one of the least id
        self.devices = {(u, d): Device(u, d, uuid4()) for u in range(USERS) for d in range(DEVICES + 1)}
        self.conversation = ""
        self.model: Reference
        self.told: dict[tuple[int, int], tuple[int, int]] = {}  # (who may know, of whom): delivered and read up to
        self.name = secrets.token_hex(8)
        self.links: dict[int, str] = {}  # the hash chain, as whoever came first was told it
        self._tokens, self._randoms = itertools.count(), itertools.count(1)
        self._turns, self._retired = itertools.count(), itertools.count(RETIRED)

    @property
    def url(self) -> str:
        """The processes in turn: nothing may depend on which one is asked."""
        return self.cluster.urls[next(self._turns) % len(self.cluster.urls)]

    async def begin(self, members: list[int], direct: bool = False) -> None:
        """Make the group, or the direct conversation; every device has been there once, some stay."""
        await asyncio.gather(*(self.rest(u, d, "GET", "devices") for u, d in self.devices))
        kind = "direct" if direct else "group"
        body = {"type": kind, "members": [str(self.people[user]) for user in members]}
        self.conversation = self.ok(await self.rest(0, AUDITOR, "POST", "conversations", body))["id"]
        self.model = Reference(USERS, DEVICES, members, direct=direct)
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
        answer = await asyncio.to_thread(request, self.url, method, path, body, token=token)
        if 200 <= answer.status < 300:
            return "ok", answer.body
        assert answer.body["status"] == answer.status, answer
        return "error", answer.body["code"]

    @staticmethod
    def ok(outcome: Outcome) -> Any:
        assert outcome[0] == "ok", outcome
        return outcome[1]

    async def _connect(self, user: int, device: int, cursors: dict[str, int] | None, *, synced: bool = True) -> None:
        """`cursors` None: without, so from what the device acknowledged."""
        one = self.devices[(user, device)]
        forbidden = self.forbidden(user)
        client = await Client.open(self.url, self.people[user], one.id)
        start = self.model.acked[(user, device)] if cursors is None else cursors.get(self.conversation, 0)
        one.connections.append(Connection(client, start, forbidden, binary=device == 1))
        one.online, one.taken = True, 0
        payload = {} if cursors is None else {"cursors": cursors or {self.conversation: 0}}
        await client.join_inbox(synced=False, binary=device == 1, **payload)
        if synced:
            await self._served(one, lambda: bool(client.events("sync_complete")))

    async def come_back(self, device: Device, with_cursors: bool = True, synced: bool = True) -> None:
        """A device comes back, and says what it holds or leaves it to what it acknowledged."""
        device.absorb()
        cursors = {self.conversation: self.held(device)} if with_cursors else None
        await self._connect(device.user, device.number, cursors, synced=synced)

    async def _served(self, device: Device, condition: Callable[[], bool]) -> None:
        """Wait for what a socket gets; where its window is full, acknowledge what came."""
        connection = device.connections[-1]
        client = connection.client

        def is_full() -> bool:
            return len(client.seqs(self.conversation)) - connection.cleared >= WINDOW

        while not condition():
            await client.until(lambda: condition() or is_full())
            if not condition():
                seqs = client.seqs(self.conversation)
                connection.cleared = len(seqs)
                place = {"conversationId": self.conversation, "upTo": max(seqs)}
                assert (await client.ask(client.inbox, "message_received", place)).ok == {}
                self.model.acknowledge(device.user, device.number, max(seqs), read=False)
                self.note_receipts(device.user)

    def note_receipts(self, user: int) -> None:
        """Who is a member when somebody acknowledges may learn of it as far as both tell, and that user's own
        devices."""
        member = self.model.users[user]
        hushed = self.model.direct and bool(self.model.blocks)
        for other in {user} if hushed else self.model.members | {user}:
            read = self.told.get((other, user), (0, 0))[1]
            if other == user:
                read = member.read
            elif self.model.users[other].tells:
                read = max(read, member.public)
            self.told[(other, user)] = (member.delivered, read)

    async def _socket(self, over: Over, user: int, device: int) -> Connection | None:
        """The socket to do something over, or None for REST."""
        one = self.devices[(user, device)]
        if (self.over or over) == "rest":
            return None
        if not one.online:
            if self.over is None:
                return None
            await self.come_back(one)
        return one.connections[-1]

    async def _ask(self, connection: Connection, event: str, body: Any) -> Outcome:
        client = connection.client
        if connection.binary and event in ("send_message", "edit_message"):
            header = {name: value for name, value in body.items() if name != "content"}
            content = b64decode(body["content"])
            reply = await (await client.asked_binary(client.inbox, event, header, content))
        else:
            reply = await client.ask(client.inbox, event, body)
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
            "mediaId": item.media_id,
            "clientRandom": item.client_random,
            "sentAt": item.sent_at,
            "editedAt": None,
            "expiresAt": root.expires_at if root.expiry_moved else item.expires_at,
            "signature": None,
        }
        return entry | ({} if item.ttl_after_read is None else {"ttlAfterRead": item.ttl_after_read})

    def appended(self, seq: int) -> dict[str, Any]:
        """The entry of a seq as it was appended, with its content."""
        return self.entry_of(self.model.items[seq - 1])

    def _metadata_of(self, item: Item) -> dict[str, Any]:
        """Metadata as the wire has them: users and messages by their ids."""
        found = dict(item.metadata)
        if item.type == "system":
            for name in found.keys() & {"by"}:
                found[name] = str(self.people[found[name]])
            for name in found.keys() & {"roles"}:
                found[name] = {str(self.people[user]): role for user, role in found[name].items()}
            for name in found.keys() & {"userIds"}:
                found[name] = [str(self.people[user]) for user in found[name]]
            for name in found.keys() & {"messageId"}:
                found[name] = found[name].message_id
            for name in found.keys() & {"messageIds"}:
                found[name] = [one.message_id for one in found[name]]
        return found

    def token(self) -> bytes:
        """A content that is nowhere else."""
        return f"secret-{self.name}-{next(self._tokens):05}".encode()

    def forbidden(self, user: int) -> set[str]:
        """What no answer to the user may hold from now on: contents, as the wire has them."""
        found: set[str] = set()
        for item in self.model.items if self.conversation else []:
            model = self.model
            if not model.users[user].sees(item.seq) or model.blank(user, item) or model.shut(user, item):
                if item.content:
                    found.add(base64_of(item.content))
                if "k" in item.metadata:
                    found.add(item.metadata["k"])
        return found

    def expect(self, outcome: Outcome, change: Callable[[], Any]) -> Any:
        """The model's change, where the server did it too; None where both refuse."""
        result, code = self._changed(change)
        assert outcome == ("error", code) if code else outcome[0] == "ok", (outcome, code)
        return result

    @staticmethod
    def _changed(change: Callable[[], Any]) -> tuple[Any, str | None]:
        """What a change of the model gives, or the code of its refusal."""
        try:
            return change(), None
        except Refused as refusal:
            return None, refusal.code

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
            await self._served(device, all_there)
        except TimeoutError:
            held = connection.client.seqs(self.conversation)
            raise AssertionError(f"{device.user}.{device.number} lacks {sorted(wanted - set(held))}: {held}") from None
        device.absorb()
