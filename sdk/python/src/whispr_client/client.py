"""The client: one device of a user, connected as long as it runs (docs/protocol.md)."""

import asyncio
import base64
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

from whispr_client.backoff import connect_delay
from whispr_client.errors import Closed, SignedOut, Unanswered, WhisprClientError
from whispr_client.inbox import Inbox
from whispr_client.messages import Event, Message, Receipt
from whispr_client.outbox import Outbox, Sending
from whispr_client.rest import Rest
from whispr_client.socket import TOKEN_EXPIRED, Socket
from whispr_client.store import MemoryStore, Store

ACK_SECONDS = 1.0  # acknowledgements are collected so long
ACK_COUNT = 20  # or until so many entries
ACKS_PER_REQUEST = 256
EVENTS_MAX = 1_000  # receipts and other events that nobody takes: the oldest go

Token = str | Callable[[], Awaitable[str]]
T = TypeVar("T")


class Client:
    """`async with Client(url, token) as client:` connects, catches up, and keeps the connection.

    `token` is a token, or an async function that makes one: then an expired one is replaced. What is sent is kept in
    `store` until the server has it; what arrives comes from `messages()`, each entry once and in its conversation's
    order, and is acknowledged when it was dealt with.
    """

    def __init__(self, url: str, token: Token, *, store: Store | None = None) -> None:
        self._url = url
        self._make_token = token
        self._current = token if isinstance(token, str) else None
        self._store: Store = store if store is not None else MemoryStore()
        self.rest = Rest(url, self._token)
        self._outbox: Outbox | None = None
        self._inbox: Inbox | None = None
        self._socket: Socket | None = None
        self._runner: asyncio.Task[None] | None = None
        self._acker: asyncio.Task[None] | None = None
        self._acks: dict[UUID, int] = {}
        self._handled = 0
        self._ack_now = asyncio.Event()
        self._joined = False
        self._synced = asyncio.Event()
        self._refused = False  # the last connection was, for its token
        self._events: deque[Receipt | Event] = deque(maxlen=EVENTS_MAX)
        self._event_came = asyncio.Event()
        self._ended: asyncio.Future[None] | None = None
        self.user_id: UUID | None = None
        self.device_id: UUID | None = None

    async def __aenter__(self) -> "Client":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Connect, and wait until the inbox is caught up or the connection proves impossible (SignedOut)."""
        self._ended = asyncio.get_running_loop().create_future()
        self._inbox = Inbox(self._store.get_cursors(), self._fetch)
        self._outbox = Outbox(self._store, self._send_message, self._inbox.own)
        self._outbox.start()
        self._runner = asyncio.create_task(self._run())
        self._acker = asyncio.create_task(self._acknowledge())
        synced = asyncio.create_task(self._synced.wait())
        either: list[asyncio.Future[Any]] = [synced, self._ended]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            synced.cancel()
        if self._ended.done():
            await self.close()
            self._ended.result()

    async def close(self) -> None:
        """Acknowledge what was dealt with and disconnect. What has no outcome stays in the store."""
        with contextlib.suppress(WhisprClientError):
            await self._flush_acks()
        for task in (self._runner, self._acker):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in (self._runner, self._acker) if task), return_exceptions=True)
        if self._outbox is not None:
            await self._outbox.close()
        if self._socket is not None:
            await self._socket.close()
        await self.rest.close()
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(Closed("The client was closed."))
            self._ended.exception()

    @property
    def is_connected(self) -> bool:
        """Whether there is a joined connection now."""
        return self._joined

    # --- sending

    def send(
        self,
        conversation_id: UUID,
        content: bytes,
        *,
        type: str = "text",
        metadata: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Sending:
        """Send a ciphertext. It is in the store when this returns; `await` the result for its seq.

        `fields` are the others of `send_message` by their names there: replyTo, target, mediaId, ttl, signature …
        Awaiting raises Refused where the server will never take it, Closed where the client ends before it does.
        """
        payload: dict[str, Any] = {
            "conversationId": str(conversation_id),
            "type": type,
            "content": base64.b64encode(content).decode(),
        }
        if metadata:
            payload["metadata"] = dict(metadata)
        payload |= {name: str(value) if isinstance(value, UUID) else value for name, value in fields.items()}
        return _begun(self._outbox).add(conversation_id, payload)

    @property
    def sendings(self) -> list[Sending]:
        """What has no outcome yet."""
        return _begun(self._outbox).sendings

    def retry(self) -> None:
        """Try again what is parked after five tries."""
        _begun(self._outbox).retry()

    async def ask(self, event: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Any other event of the inbox topic: `edit_message`, `delete_message`, `react`, `typing`, `history` …

        Raises Refused with the server's code, Unanswered without a connection or an answer.
        """
        if self._socket is None or not self._joined:
            raise Unanswered("there is no connection")
        return await self._socket.ask(f"user:{self.user_id}", event, dict(payload))

    async def read(self, conversation_id: UUID, up_to: int) -> None:
        """Tell that everything of the conversation up to `up_to` was read. Raises as `ask()`."""
        await self.ask("message_read", {"conversationId": str(conversation_id), "upTo": up_to})

    # --- receiving

    async def messages(self) -> AsyncIterator[Message]:
        """Every entry that this device may see and did not send, once, each conversation in order; ends when the
        client is closed.

        Asking for the next one says that the last one was dealt with: only then it is acknowledged. What a crash, a
        `break` or a timeout interrupts comes again. One loop at a time. Raises SignedOut where the device was.
        """
        inbox = _begun(self._inbox)
        while await self._until(inbox.messages, inbox.arrived):
            message = inbox.messages[0]
            yield message
            # Only now: whoever stops in between, by a break, an error or a timeout, is given it again.
            if inbox.messages and inbox.messages[0] is message:
                inbox.messages.popleft()
            self._done_with(message)

    async def events(self) -> AsyncIterator[Receipt | Event]:
        """Receipts, and whatever else the server pushes, for as long as the client runs."""
        while await self._until(self._events, self._event_came):
            yield self._events.popleft()

    def _done_with(self, message: Message) -> None:
        self._store.cursor_set(message.conversation_id, message.seq)
        self._acks[message.conversation_id] = message.seq
        self._handled += 1
        if self._handled >= ACK_COUNT:
            self._ack_now.set()

    async def _acknowledge(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ACK_SECONDS):
                    await self._ack_now.wait()
            with contextlib.suppress(WhisprClientError):
                await self._flush_acks()

    async def _flush_acks(self) -> None:
        self._ack_now.clear()
        self._handled = 0
        if not self._acks or not self._joined:
            return
        acks = dict(list(self._acks.items())[:ACKS_PER_REQUEST])
        await self.ask("message_received", {"acks": [_place(one, seq) for one, seq in acks.items()]})
        for one, seq in acks.items():
            if self._acks.get(one) == seq:
                del self._acks[one]

    # --- the connection

    async def _run(self) -> None:
        failed = 0
        assert self._ended is not None
        while True:
            try:
                code = await self._connect_and_read()
                failed = 0 if self._synced.is_set() else failed + 1
                if code == TOKEN_EXPIRED:
                    self._forget_token(SignedOut(code, "the token expired"))
            except SignedOut as error:
                if error.code != 403 or self._refused or not callable(self._make_token):
                    self._ended.set_exception(error)
                    self._ended.exception()
                    return
                self._refused = True
                self._current = None
            except WhisprClientError:
                failed += 1
            finally:
                self._joined = False
                self._synced.clear()
                _begun(self._outbox).set_online(False)
            await asyncio.sleep(connect_delay(failed))

    async def _connect_and_read(self) -> int:
        token = await self._token()
        subject = _claims_of(token)
        self.user_id, self.device_id = UUID(subject["sub"]), UUID(subject["device"])
        socket = self._socket = await Socket.open(self._url, token, self._on_push)
        reading = asyncio.create_task(socket.run())
        try:
            cursors = {str(one): seq for one, seq in self._store.get_cursors().items()}
            await socket.ask(f"user:{self.user_id}", "phx_join", {"cursors": cursors})
            self._joined, self._refused = True, False
            _begun(self._outbox).set_online(True)
            return await reading
        finally:
            if not reading.done():
                await socket.close()
                await asyncio.gather(reading, return_exceptions=True)

    def _on_push(self, event: str, payload: Mapping[str, Any]) -> None:
        if event == "new_message":
            self._on_message(Message.of(payload))
        elif event == "sync_complete":
            self._synced.set()
        elif event == "resync_required":
            self._on_resync(payload)
        elif event == "token_expiring" and callable(self._make_token):
            asyncio.ensure_future(self._renew())  # noqa: RUF006 - it ends by itself, and 4401 is the other way
        elif event in ("delivery_status_update", "read_status_update"):
            self._offer(Receipt.of(payload))
        else:
            self._offer(Event(event, payload))

    def _on_message(self, message: Message) -> None:
        if message.client_random is not None and self._is_own(message):
            place = (message.client_random, message.conversation_id, message.seq)
            _begun(self._outbox).arrived(*place, message.message_id, message.sent_at)
            _begun(self._inbox).own(message.conversation_id, message.seq)
        else:
            _begun(self._inbox).take(message)

    def _is_own(self, message: Message) -> bool:
        """Whether this device sent it: its `Sending` tells of it."""
        return message.sender_device_id == self.device_id and message.client_random is not None

    def _on_resync(self, payload: Mapping[str, Any]) -> None:
        named = payload.get("conversationId")
        for conversation_id in [UUID(named)] if named else self._store.get_cursors():
            self._store.cursor_set(conversation_id, 0)
            self._acks.pop(conversation_id, None)
        _begun(self._inbox).reset(UUID(named) if named else None)
        self._offer(Event("resync_required", payload))

    def _offer(self, event: Receipt | Event) -> None:
        self._events.append(event)  # the oldest goes where nobody takes them
        self._event_came.set()

    async def _renew(self) -> None:
        with contextlib.suppress(WhisprClientError):
            self._forget_token(SignedOut(TOKEN_EXPIRED, "the token expires"))
            await self.ask("renew_token", {"token": await self._token()})

    def _forget_token(self, error: SignedOut) -> None:
        if not callable(self._make_token):
            raise error
        self._current = None

    async def _token(self) -> str:
        if self._current is None:
            assert callable(self._make_token)
            self._current = await self._make_token()
        return self._current

    async def _send_message(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self.ask("send_message", payload)

    async def _fetch(self, conversation_id: UUID, after: int, before: int) -> list[Message]:
        found: list[Message] = []
        while True:
            page, more = await self.rest.get_history(conversation_id, after=after, limit=200)
            found += [message for message in page if message.seq < before and not self._is_own(message)]
            if not more or not page or page[-1].seq >= before - 1:
                return found
            after = page[-1].seq

    async def _until(self, waiting: deque[T], came: asyncio.Event) -> bool:
        """Wait until something is there; False when the client was closed. Raises SignedOut where the device was."""
        assert self._ended is not None
        while not waiting:
            came.clear()
            coming = asyncio.create_task(came.wait())
            either: list[asyncio.Future[Any]] = [coming, self._ended]
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                coming.cancel()
            if not waiting and self._ended.done():
                with contextlib.suppress(Closed):
                    self._ended.result()
                return False
        return True


def _begun(part: T | None) -> T:
    if part is None:
        raise Closed("The client was not started.")
    return part


def _place(conversation_id: UUID, up_to: int) -> dict[str, Any]:
    return {"conversationId": str(conversation_id), "upTo": up_to}


def _claims_of(token: str) -> Mapping[str, Any]:
    """What the token says of us; whether it is true is the server's matter."""
    try:
        part = token.split(".")[1]
        claims: Mapping[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        UUID(claims["sub"]), UUID(claims["device"])
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise SignedOut(403, "this is not a token of Whispr's") from error
    return claims
