"""Group fan-out: one conversation whose members are all connected; one of them writes."""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

import msgspec

from bench.check import list_faults
from bench.client import Client, ClientFault, list_client_faults
from bench.exchange import DRAIN_SECONDS, Message, Samples, beat, measure, open_all
from bench.latency import median, spread
from bench.ledger import Ledger, Place, Promise
from bench.options import Options
from bench.report import Result
from bench.target import Identity, Target
from bench.wire import message_decoder, sent_decoder


class _Sample:
    """When each recipient got a message, and its reply."""

    __slots__ = ("message", "times")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.times: list[float] = []


class _Group:
    """The conversation, its messages under way and what was measured."""

    def __init__(self, conversation_id: UUID, recipients: int, options: Options) -> None:
        self.conversation_id = conversation_id
        self.name = str(conversation_id)
        self.recipients = recipients
        self.options = options
        self.ledger = Ledger(conversations={conversation_id})
        self.waiting: dict[int, _Sample] = {}
        self.finished: list[_Sample] = []
        self.deliveries: list[float] = []
        self.refill = True
        self.last_seq = 0

    def settle(self, sample: _Sample) -> None:
        """A message that everybody has and that was answered makes room for the next one."""
        if sample.message.replied and len(sample.times) == self.recipients:
            del self.waiting[sample.message.client_random]
            self.finished.append(sample)
            if self.refill:
                self.writer.send()

    writer: "_Writer"


class _Writer(Client):
    def __init__(self, group: _Group, identity: Identity) -> None:
        super().__init__(identity.user_id, identity.device_id, identity.token)
        self._group = group
        self._sent: dict[int, _Sample] = {}
        group.writer = self

    def send(self) -> None:
        group = self._group
        message = Message(group.options.size, time.perf_counter())
        sample = group.waiting[message.client_random] = _Sample(message)
        self._sent[self.push("send_message", message.payload(group.name))] = sample

    def on_reply(self, ref: int, response: msgspec.Raw) -> None:
        sample = self._sent.pop(ref, None)
        if sample is None:
            return
        answer = sent_decoder.decode(response)
        if answer.status != "sent":
            raise ClientFault(f"a new message was answered {answer.status}")
        message = sample.message
        message.replied = time.perf_counter()
        self._group.last_seq = max(self._group.last_seq, answer.seq)
        self._group.ledger.promises.append(
            Promise(
                answer.message_id,
                answer.conversation_id,
                self.user_id,
                answer.seq,
                message.client_random,
                message.digest,
                answer.sent_at,
            )
        )
        self._group.settle(sample)

    def on_push(self, event: str, payload: msgspec.Raw) -> None:
        if event == "new_message":
            entry = message_decoder.decode(payload)
            self.push("message_received", f'{{"conversationId":"{entry.conversation_id}","upTo":{entry.seq}}}')


class _Reader(Client):
    def __init__(self, group: _Group, identity: Identity, number: int) -> None:
        super().__init__(identity.user_id, identity.device_id, identity.token)
        self._group = group
        self._turn = number % group.options.ack_every  # so that not all acknowledge the same message
        self.place = Place(group.conversation_id, identity.user_id, identity.device_id)
        self.last_seq = 0
        self.acked_seq = 0
        self.confirmed_seq = 0
        self._acks: dict[int, int] = {}

    def on_push(self, event: str, payload: msgspec.Raw) -> None:
        if event != "new_message":
            return
        now = time.perf_counter()
        entry = message_decoder.decode(payload)
        if entry.seq != self.last_seq + 1:
            raise ClientFault(f"seq {entry.seq} came after {self.last_seq}")
        self.last_seq = entry.seq
        if (entry.seq + self._turn) % self._group.options.ack_every == 0:
            self.acknowledge()
        if entry.type == "system":
            return
        sample = self._group.waiting.get(entry.client_random if entry.client_random is not None else -1)
        if sample is None or sample.message.content != entry.content:
            raise ClientFault(f"seq {entry.seq} is nothing that was sent")
        sample.times.append(now)
        self._group.deliveries.append(now)
        self._group.settle(sample)

    def acknowledge(self) -> None:
        """Say that everything up to the last entry is here."""
        self.acked_seq = self.last_seq
        ref = self.push("message_received", f'{{"conversationId":"{self._group.name}","upTo":{self.last_seq}}}')
        self._acks[ref] = self.last_seq

    def on_reply(self, ref: int, response: msgspec.Raw) -> None:
        self.confirmed_seq = self._acks.pop(ref)
        self._group.ledger.receive(self.place, self.confirmed_seq)


async def run(target: Target, options: Options) -> Result:
    """Deliveries a second, and the latencies to the last and to the median recipient."""
    acks = "each" if options.ack_every == 1 else f"every {options.ack_every}th"
    title = f"{options.members} members, window {options.fan_out_window}, {acks} acknowledged, {options.seconds:g} s"
    result = Result("fan-out", title)
    people = list(await asyncio.gather(*(target.identity() for _ in range(options.members))))
    made = await target.conversation(people[0], people[1:], "group")
    group = _Group(made, len(people) - 1, options)
    writer = _Writer(group, people[0])
    readers = [_Reader(group, person, number) for number, person in enumerate(people[1:])]
    clients: list[Client] = [writer, *readers]
    beating = asyncio.create_task(beat(clients))
    window = Samples()
    try:
        await open_all(target, clients)
        for _ in range(options.fan_out_window):
            writer.send()

        def stop() -> None:
            group.refill = False

        measured = await measure(target, window, options.warm_up, options.seconds, stop)
        result.faults += await _drain(group, clients, readers)
    finally:
        beating.cancel()
        await asyncio.gather(*(client.close() for client in clients))
    start, end = window.start, window.stop
    deliveries = sum(1 for moment in group.deliveries if start <= moment < end)
    counted = [one for one in group.finished if start <= one.message.began and max(one.times) < end]
    result.figures |= {"members": options.members, "ack_every": options.ack_every, "window": options.fan_out_window}
    result.add("deliveries_per_s", "deliveries", round(deliveries / measured.seconds, 1), "a second")
    result.add("messages_per_s", "messages", round(len(counted) / measured.seconds, 1), "a second")
    result.add_spread("send_to_sent_ms", "send → sent", spread([s.message.replied - s.message.began for s in counted]))
    result.add_spread(
        "send_to_median_ms", "send → median recipient", spread([median(s.times) - s.message.began for s in counted])
    )
    result.add_spread(
        "send_to_last_ms", "send → last recipient", spread([max(s.times) - s.message.began for s in counted])
    )
    result.add_usage(measured.used, deliveries, "deliveries")
    result.add("server_rss_mib", "server memory", round(measured.resident / 2**20, 1), "MiB resident")
    result.faults += await asyncio.to_thread(list_faults, target.database_url, group.ledger)
    return result


async def _drain(group: _Group, clients: list[Client], readers: Sequence[_Reader]) -> list[str]:
    until = time.perf_counter() + DRAIN_SECONDS
    while group.waiting and time.perf_counter() < until:
        await asyncio.sleep(0.05)
    faults = list_client_faults(clients)
    if group.waiting:
        faults.append(f"{len(group.waiting)} messages did not reach everybody in {DRAIN_SECONDS:.0f} s")
        for sample in group.waiting.values():
            if not sample.message.replied:
                group.ledger.unanswered.add((group.writer.user_id, sample.message.client_random))
    for reader in readers:
        if reader.acked_seq < reader.last_seq:
            reader.acknowledge()
    while any(reader.confirmed_seq < group.last_seq for reader in readers) and time.perf_counter() < until:
        await asyncio.sleep(0.05)
    behind = sum(1 for reader in readers if reader.confirmed_seq < group.last_seq)
    if behind:
        faults.append(f"{behind} members got no reply to their last acknowledgement")
    return faults
