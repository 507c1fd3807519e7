"""Catch-up: a device of a user joins for the first time and gets everything that was written before."""

import asyncio
import base64
import json
import os
import random
import time
from dataclasses import dataclass
from uuid import UUID

import msgspec
import psycopg

from bench.check import list_faults
from bench.client import Client, ClientFault, list_client_faults
from bench.exchange import CLIENT_RANDOM_BITS
from bench.ledger import Ledger, Place, Promise, digest_of
from bench.log import Written, append
from bench.options import Options
from bench.report import Result
from bench.target import Identity, Target
from bench.usage import between
from bench.wire import message_decoder

CATCH_UP_SECONDS = 120.0
LAST_ACKS_SECONDS = 10.0
# The server closes its window at 256 unacknowledged entries: a client that acknowledges more seldom would stop it.
ACK_EVERY_MAX = 200


@dataclass(frozen=True)
class _Written:
    """What lies there for the user: contents by place, and how many entries there are, the server's own included."""

    contents: dict[tuple[str, int], str]
    entries: int


class _Device(Client):
    """Acknowledges cumulatively, every so many entries, all conversations at once."""

    def __init__(self, identity: Identity, written: _Written, ledger: Ledger, ack_every: int) -> None:
        super().__init__(identity.user_id, identity.device_id, identity.token)
        self._written = written
        self._ledger = ledger
        self._ack_every = ack_every
        self._unacknowledged = 0
        self._pending: dict[str, int] = {}
        self.last_seq: dict[str, int] = {}
        self.got = 0
        self.acks: dict[int, dict[str, int]] = {}

    def on_push(self, event: str, payload: msgspec.Raw) -> None:
        if event != "new_message":
            return
        entry = message_decoder.decode(payload)
        if entry.seq != self.last_seq.get(entry.conversation_id, 0) + 1:
            raise ClientFault(f"seq {entry.seq} came after {self.last_seq.get(entry.conversation_id, 0)}")
        self.last_seq[entry.conversation_id] = entry.seq
        self.got += 1
        expected = self._written.contents.get((entry.conversation_id, entry.seq))
        if entry.type != "system" and entry.content != expected:
            raise ClientFault(f"seq {entry.seq} is not what was written")
        self._pending[entry.conversation_id] = entry.seq
        self._unacknowledged += 1
        if self._unacknowledged >= self._ack_every:
            self.acknowledge()

    def acknowledge(self) -> None:
        """Say that everything so far is here."""
        if not self._pending:
            return
        acks = [{"conversationId": conversation, "upTo": seq} for conversation, seq in self._pending.items()]
        body = json.dumps(acks[0] if len(acks) == 1 else {"acks": acks}, separators=(",", ":"))
        self.acks[self.push("message_received", body)] = self._pending
        self._pending, self._unacknowledged = {}, 0

    def on_reply(self, ref: int, response: msgspec.Raw) -> None:
        for conversation, seq in self.acks.pop(ref).items():
            self._ledger.receive(Place(UUID(conversation), self.user_id, self.device_id), seq)


async def run(target: Target, options: Options) -> Result:
    """Entries a second from the join to `sync_complete`, for each of some new devices."""
    if not 1 <= options.catch_up_ack <= ACK_EVERY_MAX:
        raise ClientFault(f"--catch-up-ack must be 1 to {ACK_EVERY_MAX}.")
    title = f"{options.entries} entries in {options.conversations} conversations, {options.size} bytes"
    result = Result("catch-up", title)
    user = await target.identity()
    ledger, written = await _write_log(target, options, user)
    rates: list[float] = []
    before = target.read_usage()
    for number in range(options.devices):
        identity = user if number == 0 else await target.identity(of=user)
        device = _Device(identity, written, ledger, options.catch_up_ack)
        seconds = await _catch_up(target, device)
        result.faults += list_client_faults([device])
        if device.got != written.entries:
            result.faults.append(f"device {number + 1} got {device.got} of {written.entries} entries")
        rates.append(device.got / seconds)
        result.add(f"entries_per_s_{number + 1}", f"device {number + 1}", round(rates[-1]), "entries a second")
    used = between(before, target.read_usage())
    result.add("entries_per_s", "slowest", round(min(rates)), "entries a second")
    result.figures |= {"entries": written.entries, "conversations": options.conversations}
    result.add_usage(used, written.entries * options.devices, "entries")
    result.add("server_rss_mib", "server memory", round(target.meter.resident() / 2**20, 1), "MiB resident")
    result.faults += await asyncio.to_thread(list_faults, target.database_url, ledger)
    return result


async def _catch_up(target: Target, device: _Device) -> float:
    """Join and take everything; the seconds from the join to `sync_complete`."""
    try:
        await device.connect(target.next_url())
        started = time.perf_counter()
        await device.join()
        async with asyncio.timeout(CATCH_UP_SECONDS):
            await device.synced
        seconds = time.perf_counter() - started
        device.acknowledge()
        until = time.perf_counter() + LAST_ACKS_SECONDS
        while device.acks and device.fault is None and time.perf_counter() < until:
            await asyncio.sleep(0.02)
        if device.acks:
            device.fail(f"{len(device.acks)} acknowledgements got no reply")
    finally:
        await device.close()
    return seconds


async def _write_log(target: Target, options: Options, user: Identity) -> tuple[Ledger, _Written]:
    """Conversations over REST, their messages by COPY: the same rows that the send path writes."""
    peers = list(await asyncio.gather(*(target.identity() for _ in range(options.conversations))))
    made = await asyncio.gather(*(target.conversation(peer, [user]) for peer in peers))
    ledger = Ledger(conversations=set(made))
    contents: dict[tuple[str, int], str] = {}
    each = -(-options.entries // options.conversations)
    with psycopg.connect(target.database_url) as connection:
        for conversation_id, peer in zip(made, peers, strict=True):
            promises = _copy_messages(connection, conversation_id, peer, user.user_id, each, options.size, contents)
            ledger.promises += promises
        connection.commit()
        connection.autocommit = True
        connection.execute("ANALYZE messages, delivery_statuses, send_keys")
    return ledger, _Written(contents, sum(1 for _ in ledger.promises) + len(made))


def _copy_messages(
    connection: psycopg.Connection[tuple[object, ...]],
    conversation_id: UUID,
    sender: Identity,
    recipient: UUID,
    count: int,
    size: int,
    contents: dict[tuple[str, int], str],
) -> list[Promise]:
    """Append `count` messages of random bytes to a conversation; what the ledger has to say of them."""
    messages = [Written(os.urandom(size), random.getrandbits(CLIENT_RANDOM_BITS)) for _ in range(count)]
    promises = []
    for row, message in zip(append(connection, conversation_id, sender, recipient, messages), messages, strict=True):
        contents[(str(conversation_id), row.seq)] = base64.b64encode(message.content).decode()
        place = (row.message_id, conversation_id, sender.user_id, row.seq)
        promises.append(Promise(*place, message.client_random, digest_of(message.content), row.sent_at))
    return promises
