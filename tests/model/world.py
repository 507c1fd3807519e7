"""One group on a running server and the model of it, and the ways to reach the one and to look at the other."""

import asyncio
import itertools
import secrets
from collections.abc import Callable
from typing import Any, Literal
from uuid import UUID, uuid4

import psycopg

from tests.live.client import Client, request, token_of
from tests.live.server import Cluster
from tests.model.devices import Connection, Device, assert_free, base64_of
from tests.model.reference import NOBODY, Item, Reference, Refused

NIL = UUID(int=0)
USERS, DEVICES = 3, 2
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
        self.people = [uuid4() for _ in range(USERS)]
        self.devices = {(u, d): Device(u, d, uuid4()) for u in range(USERS) for d in range(DEVICES + 1)}
        self.conversation = ""
        self.model: Reference
        self.told: dict[tuple[int, int], tuple[int, int]] = {}  # (who may know, of whom): delivered and read up to
        self.name = secrets.token_hex(8)
        self._tokens, self._randoms = itertools.count(), itertools.count(1)

    async def begin(self, members: list[int]) -> None:
        """Make the group; every device has been there once, some stay."""
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

    async def come_back(self, device: Device, with_cursors: bool = True) -> None:
        """A device comes back, and says what it holds or leaves it to what it acknowledged."""
        device.absorb()
        cursors = {self.conversation: self.held(device)} if with_cursors else None
        await self._connect(device.user, device.number, cursors)

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
        return f"secret-{self.name}-{next(self._tokens):05}".encode()

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
            await connection.client.until(all_there)
        except TimeoutError:
            held = connection.client.seqs(self.conversation)
            raise AssertionError(f"{device.user}.{device.number} lacks {sorted(wanted - set(held))}: {held}") from None
        device.absorb()
