"""A slow reader: a member of every conversation whose socket reads nothing, under full traffic of the others.

By default it goes on sending heartbeats and acknowledgements of what it cannot have read, which is the worse case: a
server that believed them would write to it without end. With --silent it sends nothing either.
"""

import asyncio
import contextlib
import time

import msgspec

from bench.check import list_faults
from bench.client import CONNECT_SECONDS, Client
from bench.exchange import Exchange, Samples, measure
from bench.latency import spread
from bench.options import Options
from bench.report import Result
from bench.target import Target

# What the kernel takes for the reader: the smallest it allows, so that the rest stays with the server.
RECEIVE_BUFFER = 4_096
ACK_SECONDS = 0.1
LOOK_SECONDS = 1.0


class _SlowReader(Client):
    entries = 0  # that it was given, before it stopped and after it read again

    def on_push(self, event: str, payload: msgspec.Raw) -> None:
        self.entries += event == "new_message"

    def acknowledge(self, exchange: Exchange) -> None:
        """Claim everything that was sent so far, and be alive."""
        for pair in exchange.pairs:
            self.push("message_received", f'{{"conversationId":"{pair.name}","upTo":{max(1, pair.last_seq)}}}')


async def run(target: Target, options: Options) -> Result:
    """The growth of the server's memory while one socket reads nothing, and what the others notice."""
    what = "silent" if options.slow_silent else "acknowledging blindly"
    title = f"one socket reads nothing for {options.slow_seconds:g} s, {what}; {options.pairs} pairs at full speed"
    result = Result("slow-reader", title)
    identity = await target.identity()
    exchange = Exchange(options.size)
    slow = _SlowReader(*identity[1:])
    nothing: asyncio.Task[list[int]] | None = None
    try:
        await exchange.open(target, options.pairs, third=identity)
        exchange.refill = True
        for pair in exchange.pairs:
            for _ in range(options.window):
                pair.send(time.perf_counter())
        await asyncio.sleep(options.warm_up)
        quiet = target.meter.resident()
        alone = await measure(target, exchange.samples, 0.0, options.seconds, lambda: None)
        without = exchange.samples
        await slow.connect(target.next_url(), receive_buffer=RECEIVE_BUFFER)
        await _join_and_stop(slow)
        nothing = asyncio.create_task(_read_nothing(target, slow, exchange, silent=options.slow_silent))
        exchange.samples = Samples()

        def stop() -> None:
            exchange.refill = False

        measured = await measure(target, exchange.samples, 0.0, options.slow_seconds, stop)
        nothing.cancel()
        resident = await nothing
        closed = await _find_close(slow)
        result.faults += await exchange.drain()
    finally:
        if nothing is not None:
            nothing.cancel()
        await exchange.close()
        await slow.close()
    before = without.cycles / alone.seconds
    after = exchange.samples.cycles / measured.seconds
    result.figures |= {"pairs": options.pairs, "window": options.window, "seconds": options.slow_seconds}
    result.add("growth_mib", "growth of the server", round((max(resident) - alone.resident) / 2**20, 2), "MiB, highest")
    growth_at_end = round((resident[-1] - alone.resident) / 2**20, 2)
    result.add("growth_at_end_mib", "the same, at the end", growth_at_end, "MiB")
    growth_without = round((alone.resident - quiet) / 2**20, 2)
    result.add("growth_without_mib", f"in {options.seconds:g} s without it, before", growth_without, "MiB")
    result.add("server_rss_mib", "server memory before", round(alone.resident / 2**20, 1), "MiB resident")
    result.add("slow_closed_with", "the slow socket was closed", closed)
    result.add("slow_entries", "entries that it was given", slow.entries)
    result.add("cycles_per_s_without", "cycles of the others without it", round(before, 1), "a second")
    result.add("cycles_per_s_with", "cycles of the others with it", round(after, 1), "a second")
    result.add_spread("send_to_sent_ms_without", "send → sent without it", spread(without.to_sent))
    result.add_spread("send_to_sent_ms_with", "send → sent with it", spread(exchange.samples.to_sent))
    result.add_usage(measured.used, exchange.samples.cycles, "cycles")
    result.faults += await asyncio.to_thread(list_faults, target.database_url, exchange.ledger)
    return result


async def _join_and_stop(slow: _SlowReader) -> None:
    async with asyncio.timeout(CONNECT_SECONDS):
        await slow.join()
    slow.stop_reading()


async def _read_nothing(target: Target, slow: _SlowReader, exchange: Exchange, *, silent: bool) -> list[int]:
    """Until cancelled: acknowledge blindly; the server's resident memory, second by second."""
    resident = [target.meter.resident()]
    looked = time.perf_counter()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(ACK_SECONDS)
            if not silent and not slow.closed.done():
                slow.heartbeat()
                slow.acknowledge(exchange)
            if time.perf_counter() - looked >= LOOK_SECONDS:
                looked = time.perf_counter()
                resident.append(target.meter.resident())
    resident.append(target.meter.resident())
    return resident


async def _find_close(slow: _SlowReader) -> str:
    """Read what waited, and see whether the server had ended the socket."""
    if not slow.closed.done():
        slow.resume_reading()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                await asyncio.shield(slow.closed)
    if slow.close_code is not None:
        return f"with {slow.close_code}"
    return "by ending the connection" if slow.closed.done() else "not at all"
