"""What is to be sent: kept until it has an outcome, tried by the specification's rules (§5.2), one conversation in
order.

The same clientRandom goes with every try, so that a try whose outcome is unknown can be repeated: it becomes one
message. After five tries a send is parked until the connection comes back or `retry()`.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from whispr_client.backoff import TRIES, retry_delay
from whispr_client.errors import Closed, Refused, Unanswered, WhisprClientError
from whispr_client.messages import Sent
from whispr_client.store import OutboxItem, Store

# A send that the server keeps for a database that is away is asked about again after that long.
PENDING_SECONDS = 30.0
CLIENT_RANDOM_BITS = 53

Ask = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


def draw_client_random() -> int:
    """A number that names one send of this user: 0 ≤ n < 2^53."""
    return secrets.randbits(CLIENT_RANDOM_BITS)


class Sending:
    """A send under way: `await` it for its outcome. `status` is what is known now."""

    def __init__(self, item: OutboxItem) -> None:
        self.item = item
        self.status = "waiting"  # waiting, sending, pending, parked, sent, failed
        self.tries = 0
        self.error: WhisprClientError | None = None  # of the last try
        self.outcome: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        self.outcome.add_done_callback(_noticed)

    def __await__(self) -> Any:
        return asyncio.shield(self.outcome).__await__()


def _noticed(outcome: "asyncio.Future[Sent]") -> None:
    """A failure that nobody waits for is no warning of asyncio's: `status` and `error` say it."""
    if not outcome.cancelled():
        outcome.exception()


class Outbox:
    """The sends of one client. `ask(payload)` is `send_message` on the open connection."""

    def __init__(self, store: Store, ask: Ask, on_sent: Callable[[UUID, int], None]) -> None:
        self._store = store
        self._ask = ask
        self._on_sent = on_sent
        self._queues: dict[UUID, deque[Sending]] = {}
        self._workers: dict[UUID, asyncio.Task[None]] = {}
        self._online = asyncio.Event()
        self._retry = asyncio.Event()  # set: what is parked is tried again
        for item in store.list_outbox():
            self._queues.setdefault(item.conversation_id, deque()).append(Sending(item))

    @property
    def sendings(self) -> list[Sending]:
        """What has no outcome yet, in the order of the sends."""
        found = [sending for queue in self._queues.values() for sending in queue]
        return sorted(found, key=lambda sending: sending.item.number)

    def start(self) -> None:
        """Go on with what a former process left."""
        for conversation_id in self._queues:
            self._work(conversation_id)

    def add(self, conversation_id: UUID, payload: Mapping[str, Any]) -> Sending:
        """Keep a send and try it; it is in the store when this returns."""
        sending = Sending(self._store.outbox_add(conversation_id, draw_client_random(), payload))
        self._queues.setdefault(conversation_id, deque()).append(sending)
        self._work(conversation_id)
        return sending

    def set_online(self, online: bool) -> None:
        """The connection came or went. Coming back resumes what is parked."""
        if online:
            self._online.set()
            self.retry()
        else:
            self._online.clear()

    def retry(self) -> None:
        """Try what is parked again, from its first step."""
        retried, self._retry = self._retry, asyncio.Event()
        retried.set()

    async def close(self) -> None:
        """Stop; what has no outcome stays in the store, and whoever waits for it gets Closed."""
        for worker in self._workers.values():
            worker.cancel()
        await asyncio.gather(*self._workers.values(), return_exceptions=True)
        for sending in self.sendings:
            if not sending.outcome.done():
                sending.outcome.set_exception(Closed("The client was closed; the send is kept."))

    def arrived(self, client_random: int, conversation_id: UUID, seq: int, message_id: UUID, sent_at: datetime) -> None:
        """An own message came as an entry: that is the outcome of a send that was pending."""
        queue = self._queues.get(conversation_id)
        if queue and queue[0].item.client_random == client_random and not queue[0].outcome.done():
            queue[0].outcome.set_result(Sent(message_id, conversation_id, seq, sent_at, duplicate=False))

    def _work(self, conversation_id: UUID) -> None:
        worker = self._workers.get(conversation_id)
        if worker is None or worker.done():
            self._workers[conversation_id] = asyncio.create_task(self._drain(conversation_id))

    async def _drain(self, conversation_id: UUID) -> None:
        queue = self._queues[conversation_id]
        while queue:
            sending = queue[0]
            await self._send(sending)
            self._store.outbox_remove(sending.item.number)
            queue.popleft()
        del self._queues[conversation_id]

    async def _send(self, sending: Sending) -> None:
        """Try until there is an outcome."""
        while not sending.outcome.done():
            await self._online.wait()
            sending.status = "sending"
            try:
                answer = await self._ask({**sending.item.payload, "clientRandom": sending.item.client_random})
            except Refused as error:
                sending.error = error
                if error.code == "client_random_reused":
                    self._rekey(sending)
                elif not error.is_passing:
                    sending.status = "failed"
                    sending.outcome.set_exception(error)
                    return
                await self._wait(sending, error.retry_after)
            except Unanswered as error:
                sending.error = error
                if self._online.is_set():
                    await self._wait(sending, None)
            else:
                await self._settle(sending, answer)

    async def _settle(self, sending: Sending, answer: Mapping[str, Any]) -> None:
        if answer["status"] == "pending":
            sending.status = "pending"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PENDING_SECONDS):
                    await asyncio.shield(sending.outcome)
        elif not sending.outcome.done():
            sent = Sent(
                UUID(answer["messageId"]),
                sending.item.conversation_id,
                int(answer["seq"]),
                datetime.fromisoformat(answer["sentAt"]),
                duplicate=answer["status"] == "duplicate",
            )
            self._on_sent(sent.conversation_id, sent.seq)
            sending.outcome.set_result(sent)
        if sending.outcome.done():
            sending.status = "sent"

    def _rekey(self, sending: Sending) -> None:
        fresh = draw_client_random()
        self._store.outbox_rekey(sending.item.number, fresh)
        item = sending.item
        sending.item = OutboxItem(item.number, item.conversation_id, fresh, item.payload)

    async def _wait(self, sending: Sending, retry_after: float | None) -> None:
        """The pause after a try that failed; what is parked goes on sooner when something changes."""
        sending.tries += 1
        pause = retry_delay(sending.tries, retry_after)
        if sending.tries < TRIES:
            sending.status = "waiting"
            await asyncio.sleep(pause)
            return
        sending.status = "parked"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._retry.wait()
                sending.tries = 0
