"""Pairs that write to each other with full acknowledgement: what several workloads are made of.

A full cycle: the sender's reply `sent`, the recipient's new_message, its message_received with an ok reply of its own,
and the sender's delivery_status_update that covers the message.
"""

import asyncio
import binascii
import gc
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from bench import history
from bench.client import HEARTBEAT_SECONDS, Client, ClientFault, list_client_faults
from bench.latency import spread
from bench.ledger import Ledger, Place, Promise, digest_of
from bench.report import Result
from bench.target import Identity, Target
from bench.usage import Usage, between
from bench.wire import NewMessage, message_decoder, sent_decoder, status_decoder

# After the last send every cycle must end by itself; the server promises an answer within 10 s.
DRAIN_SECONDS = 15.0
OPENINGS_AT_ONCE = 16
CLIENT_RANDOM_BITS = 53


class Message:
    """One message on its way."""

    __slots__ = ("acked", "began", "client_random", "content", "delivered", "digest", "replied", "seq", "statused")

    def __init__(self, size: int, began: float) -> None:
        content = os.urandom(size)
        self.client_random = random.getrandbits(CLIENT_RANDOM_BITS)
        self.content = binascii.b2a_base64(content, newline=False).decode()
        self.digest = digest_of(content)
        self.began = began  # perf_counter at which it was sent, or was to be sent
        self.seq = 0  # 0: not known yet
        self.replied = 0.0  # and the following: 0.0 until it happened
        self.delivered = 0.0
        self.statused = 0.0
        self.acked = False

    def payload(self, conversation: str) -> str:
        """`send_message`'s payload."""
        return (
            f'{{"conversationId":"{conversation}","type":"text","content":"{self.content}",'
            f'"clientRandom":{self.client_random}}}'
        )

    @property
    def is_done(self) -> bool:
        """Whether the cycle is full."""
        return bool(self.replied and self.delivered and self.statused and self.acked)


@dataclass
class Samples:
    """What was measured between `start` and `stop`."""

    start: float = float("inf")
    stop: float = float("inf")
    cycles: int = 0
    to_sent: list[float] = field(default_factory=list)
    to_delivered: list[float] = field(default_factory=list)
    to_status: list[float] = field(default_factory=list)

    def take(self, message: Message, now: float) -> None:
        """A cycle ended. It counts if it ended in the window; its latencies, if it began there too."""
        if not self.start <= now < self.stop:
            return
        self.cycles += 1
        if message.began >= self.start:
            self.to_sent.append(message.replied - message.began)
            self.to_delivered.append(message.delivered - message.began)
            self.to_status.append(message.statused - message.began)


class Pair:
    """A conversation with one sender and one recipient (others may be members too)."""

    def __init__(self, conversation_id: UUID, sender: Identity, recipient: Identity, exchange: "Exchange") -> None:
        self.conversation_id = conversation_id
        self.name = str(conversation_id)
        self.exchange = exchange
        self.waiting: dict[int, Message] = {}  # by clientRandom
        self.status_up_to = 0
        self.last_seq = 0  # the newest seq that a reply or a push has told
        self.sender = _Sender(self, sender)
        self.recipient = _Recipient(self, recipient)

    def send(self, began: float) -> None:
        """Send the next message."""
        message = Message(self.exchange.size, began)
        self.waiting[message.client_random] = message
        self.sender.send(message)

    def learn_seq(self, message: Message, seq: int) -> None:
        """A reply or a push told the message's seq. Raises ClientFault where they disagree."""
        if message.seq and message.seq != seq:
            raise ClientFault(f"one message was told two seqs, {message.seq} and {seq}")
        message.seq = seq
        self.last_seq = max(self.last_seq, seq)

    def settle(self, message: Message) -> None:
        """Something happened to the message: end its cycle if that was the last thing."""
        now = time.perf_counter()
        if not message.statused and 0 < message.seq <= self.status_up_to:
            message.statused = now
        if message.is_done:
            del self.waiting[message.client_random]
            self.exchange.on_cycle(self, message, now)

    def on_status(self, up_to: int) -> None:
        """The recipient's device has everything up to `up_to`."""
        self.status_up_to = max(self.status_up_to, up_to)
        for message in list(self.waiting.values()):
            if 0 < message.seq <= up_to:
                self.settle(message)


class _Sender(Client):
    def __init__(self, pair: Pair, identity: Identity) -> None:
        super().__init__(identity.user_id, identity.device_id, identity.token)
        self.pair = pair
        self._sent: dict[int, Message] = {}

    def send(self, message: Message) -> None:
        self._sent[self.push("send_message", message.payload(self.pair.name))] = message

    def on_reply(self, ref: int, response: msgspec.Raw) -> None:
        message = self._sent.pop(ref, None)
        if message is None:
            return  # of an acknowledgement
        answer = sent_decoder.decode(response)
        if answer.status != "sent":
            raise ClientFault(f"a new message was answered {answer.status}")
        message.replied = time.perf_counter()
        pair = self.pair
        pair.learn_seq(message, answer.seq)
        promise = Promise(
            answer.message_id,
            answer.conversation_id,
            self.user_id,
            answer.seq,
            message.client_random,
            message.digest,
            answer.sent_at,
        )
        pair.exchange.ledger.promises.append(promise)
        if history.record is not None:
            self._note(history.record, message, promise)
        pair.settle(message)

    def _note(self, record: history.Record, message: Message, promise: Promise) -> None:
        about = {
            "user": str(self.user_id),
            "device": str(self.device_id),
            "socket": id(self),
            "conversation": self.pair.name,
            "clientRandom": message.client_random,
            "hash": message.digest.hex()[:32],
            "type": "text",
        }
        answer = {
            "messageId": str(promise.message_id),
            "seq": promise.seq,
            "sentAt": promise.sent_at.isoformat(),
            "status": "sent",
        }
        record.request("send", message.began, message.replied, about, answer)

    def on_push(self, event: str, payload: msgspec.Raw) -> None:
        if event == "delivery_status_update":
            update = status_decoder.decode(payload)
            if update.conversation_id == self.pair.name and update.recipient_id == self.pair.recipient.name:
                self.pair.on_status(update.up_to)
        elif event == "new_message":  # what the server wrote when the conversation was made
            entry = message_decoder.decode(payload)
            self.push("message_received", f'{{"conversationId":"{entry.conversation_id}","upTo":{entry.seq}}}')


class _Recipient(Client):
    def __init__(self, pair: Pair, identity: Identity) -> None:
        super().__init__(identity.user_id, identity.device_id, identity.token)
        self.name = str(identity.user_id)
        self.pair = pair
        self.place = Place(pair.conversation_id, identity.user_id, identity.device_id)
        self._last_seq = 0
        self._acks: dict[int, tuple[int, Message | None]] = {}

    def on_push(self, event: str, payload: msgspec.Raw) -> None:
        if event != "new_message":
            return
        now = time.perf_counter()
        entry = message_decoder.decode(payload)
        if entry.seq != self._last_seq + 1:
            raise ClientFault(f"seq {entry.seq} came after {self._last_seq}")
        self._last_seq = entry.seq
        message = None
        if entry.type != "system":
            message = self.pair.waiting.get(entry.client_random if entry.client_random is not None else -1)
            if message is None or message.content != entry.content:
                raise ClientFault(f"seq {entry.seq} is nothing that was sent")
            self.pair.learn_seq(message, entry.seq)
            message.delivered = now
        if history.record is not None:
            self._note(history.record, now, entry, message)
        ref = self.push("message_received", f'{{"conversationId":"{self.pair.name}","upTo":{entry.seq}}}')
        self._acks[ref] = (entry.seq, message)

    def _note(self, record: history.Record, now: float, entry: NewMessage, message: Message | None) -> None:
        fields = {
            "user": self.name,
            "device": str(self.device_id),
            "socket": id(self),
            "conversation": entry.conversation_id,
            "seq": entry.seq,
            "messageId": entry.message_id,
            "sender": entry.sender_id,
        }
        if message is None:
            record.note(now, "receive", "ok", **fields, type="system", event="pushed")
        else:
            digest = message.digest.hex()[:32]
            about = {"type": "text", "hash": digest, "clientRandom": message.client_random}
            record.note(now, "receive", "ok", **fields, **about)

    def on_reply(self, ref: int, response: msgspec.Raw) -> None:
        seq, message = self._acks.pop(ref)
        self.pair.exchange.ledger.receive(self.place, seq)
        if message is not None:
            message.acked = True
            self.pair.settle(message)


class Exchange:
    """The pairs of one workload, their promises and what was measured."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.ledger = Ledger()
        self.pairs: list[Pair] = []
        self.samples = Samples()
        self.refill = False  # whether a full cycle is followed by the next message
        self._beat: asyncio.Task[None] | None = None

    @property
    def clients(self) -> list[Client]:
        """All sockets."""
        return [client for pair in self.pairs for client in (pair.sender, pair.recipient)]

    def on_cycle(self, pair: Pair, message: Message, now: float) -> None:
        """A full cycle ended."""
        self.samples.take(message, now)
        if self.refill:
            pair.send(time.perf_counter())

    async def open(self, target: Target, count: int, third: Identity | None = None) -> None:
        """Make `count` pairs with a conversation each, and join all of them. `third` is a member of every one."""

        async def one() -> Pair:
            sender, recipient = await target.identity(), await target.identity()
            others = [recipient] if third is None else [recipient, third]
            made = await target.conversation(sender, others, "direct" if third is None else "group")
            return Pair(made, sender, recipient, self)

        self.pairs = list(await asyncio.gather(*(one() for _ in range(count))))
        self.ledger.conversations = {pair.conversation_id for pair in self.pairs}
        await open_all(target, self.clients)
        self._beat = asyncio.create_task(beat(self.clients))

    async def drain(self) -> list[str]:
        """Wait until every cycle is full; what is missing after 15 s is a fault."""
        self.refill = False
        until = time.perf_counter() + DRAIN_SECONDS
        while any(pair.waiting for pair in self.pairs) and time.perf_counter() < until:
            await asyncio.sleep(0.05)
        faults = list_client_faults(self.clients)
        left = [(pair, message) for pair in self.pairs for message in pair.waiting.values()]
        if left:
            lacks = {
                "reply": sum(1 for _, message in left if not message.replied),
                "delivery": sum(1 for _, message in left if not message.delivered),
                "acknowledgement's reply": sum(1 for _, message in left if not message.acked),
                "status": sum(1 for _, message in left if not message.statused),
            }
            detail = ", ".join(f"{count} no {name}" for name, count in lacks.items() if count)
            faults.append(f"{len(left)} messages got no full cycle in {DRAIN_SECONDS:.0f} s: {detail}")
        for pair, message in left:
            if not message.replied:
                self.ledger.unanswered.add((pair.sender.user_id, message.client_random))
        return faults

    async def close(self) -> None:
        """Close all sockets."""
        if self._beat is not None:
            self._beat.cancel()
        await asyncio.gather(*(client.close() for client in self.clients))


async def open_all(target: Target, clients: Sequence[Client]) -> None:
    """Connect and join sockets, some at a time. Raises ClientFault and TimeoutError."""
    gate = asyncio.Semaphore(OPENINGS_AT_ONCE)

    async def one(client: Client) -> None:
        async with gate:
            await client.open(target.next_url())

    await asyncio.gather(*(one(client) for client in clients))


async def beat(clients: Sequence[Client]) -> None:
    """Heartbeats for all sockets, spread over their interval."""
    pause = HEARTBEAT_SECONDS / max(1, len(clients))
    while True:
        for client in clients:
            await asyncio.sleep(pause)
            client.heartbeat()


async def measure(
    target: Target, samples: Samples, warm_up: float, seconds: float, stop: Callable[[], None]
) -> "Measured":
    """Let traffic run: `warm_up` seconds that do not count, then `seconds` that do; then call `stop`."""
    gc.collect()
    gc.freeze()
    gc.disable()  # nothing here makes cycles, and a collection over all promises would be a pause of ours
    try:
        await asyncio.sleep(warm_up)
        before = target.read_usage()
        samples.start = time.perf_counter()
        await asyncio.sleep(seconds)
        samples.stop = time.perf_counter()
        after = target.read_usage()
    finally:
        stop()
        gc.enable()
        gc.unfreeze()
    return Measured(before, after, samples.stop - samples.start, target.meter.resident())


@dataclass(frozen=True)
class Measured:
    """A measured stretch: CPU readings at its ends, its length in seconds, the server's memory at its end."""

    before: Usage
    after: Usage
    seconds: float
    resident: int

    @property
    def used(self) -> Usage:
        """The CPU time of the stretch."""
        return between(self.before, self.after)


def add_cycles(result: Result, samples: Samples, measured: Measured) -> None:
    """Full cycles a second, and the latencies of their parts."""
    result.add("cycles_per_s", "full cycles", round(samples.cycles / measured.seconds, 1), "a second")
    result.add_spread("send_to_sent_ms", "send → sent", spread(samples.to_sent))
    result.add_spread("send_to_delivered_ms", "send → delivered", spread(samples.to_delivered))
    result.add_spread("send_to_status_ms", "send → status", spread(samples.to_status))
