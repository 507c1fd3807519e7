"""A small client of docs/protocol.md: one socket of one device, over the `websockets` package.

It keeps everything it is pushed, in order, and acknowledges only when it is told to.

    bob = await Client.open(url, user, device)
    await bob.join_inbox()
    reply = await bob.send(conversation_id, b"ciphertext")
    await bob.until_seq(conversation_id, 7)
"""

import asyncio
import base64
import itertools
import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import jwt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.e2e.server import SECRET

# docs/protocol.md §8.8: every request is answered within 10 s. Tests wait longer, so that lateness is not taken for
# silence.
ANSWER_SECONDS = 20.0
randoms = itertools.count(1)


def token_of(user: UUID, device: UUID, /, lifetime: int = 3600, **claims: Any) -> str:
    """A token as the auth service would sign it; `claims` are added, None takes one away."""
    now = int(time.time())
    body = {
        "sub": str(user),
        "device": str(device),
        "iss": "whispr",
        "aud": "whispr",
        "iat": now,
        "exp": now + lifetime,
        "jti": str(uuid4()),
    } | claims
    return jwt.encode({name: value for name, value in body.items() if value is not None}, SECRET, algorithm="HS256")


@dataclass(frozen=True)
class Reply:
    """A `phx_reply`."""

    status: str
    response: dict[str, Any]

    @property
    def ok(self) -> dict[str, Any]:
        assert self.status == "ok", self
        return self.response

    @property
    def code(self) -> str:
        """The error's code."""
        assert self.status == "error", self
        assert set(self.response) <= {"reason", "message", "retryAfter", "details"}, self
        return self.response["reason"]


@dataclass(frozen=True)
class Push:
    """Anything else that the server sent."""

    topic: str
    event: str
    payload: Any
    join_ref: Any = None


def message_of(conversation_id: str | None, content: bytes = b"ciphertext", **fields: Any) -> dict[str, Any]:
    """The payload of `send_message` and of `POST messages`."""
    named = {} if conversation_id is None else {"conversationId": conversation_id}
    return {
        **named,
        "type": "text",
        "content": base64.b64encode(content).decode(),
        "clientRandom": next(randoms),
    } | fields


@dataclass
class Client:
    """One socket. `pushes` is all that it was pushed; `entries` the `new_message` payloads of each conversation."""

    user: UUID
    device: UUID
    connection: ClientConnection
    pushes: list[Push] = field(default_factory=list)
    entries: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    acks: bool = False  # acknowledge every entry at once
    _refs: Any = field(default_factory=lambda: itertools.count(1))
    _pending: dict[str, asyncio.Future[Reply]] = field(default_factory=dict)
    _joins: dict[str, str] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _reader: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, url: str, user: UUID, device: UUID, *, token: str | None = None, acks: bool = False
    ) -> "Client":
        """Connect to a server at `url` (http://…). Raises websockets' InvalidStatus for a refusal."""
        connection = await connect(
            f"{url.replace('http', 'ws', 1)}/socket/websocket?vsn=2.0.0",
            additional_headers={"Authorization": f"Bearer {token or token_of(user, device)}"},
            compression=None,
            max_size=None,
            ping_interval=None,
            open_timeout=ANSWER_SECONDS,
            close_timeout=1,
        )
        client = cls(user, device, connection, acks=acks)
        client._reader = asyncio.create_task(client._read())
        return client

    async def _read(self) -> None:
        try:
            async for frame in self.connection:
                join_ref, ref, topic, event, payload = json.loads(frame) if isinstance(frame, str) else _pushed(frame)
                if event == "phx_reply" and ref in self._pending:
                    self._pending.pop(ref).set_result(Reply(payload["status"], payload["response"]))
                else:
                    await self._pushed(Push(topic, event, payload, join_ref))
                async with self._changed:
                    self._changed.notify_all()
        except ConnectionClosed:
            pass
        finally:
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(ConnectionError(f"closed with {self.connection.close_code}"))
            async with self._changed:
                self._changed.notify_all()

    async def _pushed(self, push: Push) -> None:
        self.pushes.append(push)
        if push.event == "new_message":
            conversation_id = push.payload["conversationId"]
            self.entries.setdefault(conversation_id, []).append(push.payload)
            if self.acks:
                await self.write(push.topic, "message_received", _place(conversation_id, push.payload["seq"]))

    # --- asking

    async def frame(self, text: str | bytes) -> None:
        """Write a frame as it is."""
        await self.connection.send(text)

    async def write(self, topic: str, event: str, payload: Any) -> str:
        """Write an event without waiting for its reply; its ref."""
        ref = str(next(self._refs))
        await self.frame(json.dumps([self._joins.get(topic), ref, topic, event, payload]))
        return ref

    async def ask(self, topic: str, event: str, payload: Any) -> Reply:
        """An event and its reply."""
        return await (await self.asked(topic, event, payload))

    async def asked(self, topic: str, event: str, payload: Any) -> "asyncio.Future[Reply]":
        """Write an event; the future of its reply."""
        ref = str(next(self._refs))
        future = self._pending[ref] = asyncio.get_running_loop().create_future()
        if event == "phx_join":
            self._joins[topic] = ref
        await self.frame(json.dumps([self._joins.get(topic), ref, topic, event, payload]))
        return asyncio.ensure_future(asyncio.wait_for(future, ANSWER_SECONDS))

    async def asked_binary(
        self, topic: str, event: str, header: dict[str, Any], content: bytes
    ) -> "asyncio.Future[Reply]":
        """Write an event as a binary push, its content beside the JSON; the future of its reply."""
        ref = str(next(self._refs))
        future = self._pending[ref] = asyncio.get_running_loop().create_future()
        names = [name.encode() for name in (self._joins[topic], ref, topic, event)]
        encoded = json.dumps(header).encode()
        payload = len(encoded).to_bytes(4, "big") + encoded + content
        await self.frame(bytes([0, *map(len, names)]) + b"".join(names) + payload)
        return asyncio.ensure_future(asyncio.wait_for(future, ANSWER_SECONDS))

    @property
    def inbox(self) -> str:
        return f"user:{self.user}"

    async def join(self, topic: str, **payload: Any) -> Reply:
        return await self.ask(topic, "phx_join", payload)

    async def join_inbox(self, *, synced: bool = True, **payload: Any) -> dict[str, Any]:
        """Join the inbox and wait for `sync_complete`; the join's reply."""
        since = len(self.pushes)
        reply = (await self.join(self.inbox, **payload)).ok
        if synced:
            await self.until(lambda: any(push.event == "sync_complete" for push in self.pushes[since:]))
        return reply

    async def send(self, conversation_id: str, content: bytes = b"ciphertext", **fields: Any) -> Reply:
        """`send_message` on the inbox."""
        return await self.ask(self.inbox, "send_message", message_of(conversation_id, content, **fields))

    async def ack(self, conversation_id: str, up_to: int, event: str = "message_received") -> Reply:
        return await self.ask(self.inbox, event, _place(conversation_id, up_to))

    async def heartbeat(self) -> None:
        """A round trip: whatever the server wrote before is here afterwards."""
        assert (await self.ask("phoenix", "heartbeat", {})).ok == {}

    # --- looking

    def events(self, name: str, topic: str | None = None) -> list[Any]:
        """The payloads of what was pushed under this name."""
        return [push.payload for push in self.pushes if push.event == name and topic in (None, push.topic)]

    def seqs(self, conversation_id: str) -> list[int]:
        """The seqs of the entries as they came."""
        return [entry["seq"] for entry in self.entries.get(conversation_id, ())]

    def texts(self, conversation_id: str) -> list[int]:
        """The seqs of the entries that users wrote."""
        return [entry["seq"] for entry in self.entries.get(conversation_id, ()) if entry["type"] != "system"]

    def repeats(self, conversation_id: str) -> int:
        """How many entries came again."""
        counts = Counter(self.seqs(conversation_id))
        return sum(counts.values()) - len(counts)

    async def until(self, condition: Callable[[], Any], seconds: float = ANSWER_SECONDS) -> None:
        """Wait until `condition()` holds; it is looked at after every frame."""
        async with asyncio.timeout(seconds):
            async with self._changed:
                await self._changed.wait_for(condition)

    async def until_seq(self, conversation_id: str, seq: int) -> None:
        """Wait for an entry."""
        await self.until(lambda: seq in self.seqs(conversation_id))

    async def until_closed(self) -> int | None:
        """Wait for the end of the connection: its close code."""
        assert self._reader is not None
        await asyncio.wait_for(asyncio.shield(self._reader), ANSWER_SECONDS)
        return self.connection.close_code

    async def close(self) -> None:
        await self.connection.close()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)


def _pushed(frame: bytes) -> tuple[str, None, str, str, dict[str, Any]]:
    """A binary push of Phoenix: `[0][three lengths][join_ref][topic][event][envelope]`; content as text frames have
    it."""
    assert frame[0] == 0, frame[:1]
    names, at = [], 4
    for length in frame[1:4]:
        names.append(frame[at : at + length].decode())
        at += length
    end = at + 4 + int.from_bytes(frame[at : at + 4], "big")
    payload = json.loads(frame[at + 4 : end])
    return names[0], None, names[1], names[2], payload | {"content": base64.b64encode(frame[end:]).decode()}


def _place(conversation_id: str, up_to: int) -> dict[str, Any]:
    return {"conversationId": conversation_id, "upTo": up_to}


@dataclass(frozen=True)
class Answer:
    """What REST answered."""

    status: int
    body: Any


def request(url: str, method: str, path: str, body: Any = None, *, token: str | None = None) -> Answer:
    """One request below /api/v1 of the server at `url`."""
    headers = {"Content-Type": "application/json"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(f"{url}/api/v1/{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS) as response:
            return Answer(response.status, json.loads(response.read() or b"null"))
    except urllib.error.HTTPError as error:
        return Answer(error.code, json.loads(error.read() or b"null"))
