"""One-to-one: pairs with a window of outstanding full cycles each."""

import asyncio
import time

from bench.check import list_faults
from bench.exchange import Exchange, add_cycles, measure
from bench.options import Options
from bench.report import Result
from bench.target import Target


async def run(target: Target, options: Options) -> Result:
    """Full cycles a second at a fixed window, and the latencies of their parts."""
    title = f"{options.pairs} pairs, window {options.window}, {options.size} bytes, {options.seconds:g} s"
    result = Result("one-to-one", title)
    exchange = Exchange(options.size)
    try:
        await exchange.open(target, options.pairs)
        exchange.refill = True
        for pair in exchange.pairs:
            for _ in range(options.window):
                pair.send(time.perf_counter())

        def stop() -> None:
            exchange.refill = False

        measured = await measure(target, exchange.samples, options.warm_up, options.seconds, stop)
        result.faults += await exchange.drain()
    finally:
        await exchange.close()
    samples = exchange.samples
    result.figures |= {"pairs": options.pairs, "window": options.window, "size": options.size}
    add_cycles(result, samples, measured)
    result.add_usage(measured.used, samples.cycles, "cycles")
    result.add("server_rss_mib", "server memory", round(measured.resident / 2**20, 1), "MiB resident")
    result.add("messages", "acknowledged messages", len(exchange.ledger.promises))
    result.faults += await asyncio.to_thread(list_faults, target.database_url, exchange.ledger)
    return result
