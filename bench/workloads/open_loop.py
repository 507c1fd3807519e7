"""Open loop: messages at a fixed rate, whatever the server does; latencies from the moment each was due."""

import asyncio
import itertools

from bench.check import list_faults
from bench.exchange import Exchange, add_cycles, measure
from bench.latency import spread
from bench.options import Options
from bench.pacing import OpenLoop
from bench.report import Result
from bench.target import Target


async def run(target: Target, options: Options) -> Result:
    """Latencies at `options.rate` messages a second over the pairs, each fully acknowledged."""
    kind = "Poisson" if options.poisson else "evenly spaced"
    title = f"{options.rate:g} msg/s {kind}, {options.pairs} pairs, {options.size} bytes, {options.seconds:g} s"
    result = Result("open-loop", title)
    exchange = Exchange(options.size)
    try:
        await exchange.open(target, options.pairs)
        turns = itertools.cycle(exchange.pairs)
        # perf_counter and monotonic are the same clock on Linux.
        loop = OpenLoop(options.rate, lambda moment: next(turns).send(moment), poisson=options.poisson)
        measured = await measure(target, exchange.samples, options.warm_up, options.seconds, loop.stop)
        result.faults += await exchange.drain()
    finally:
        await exchange.close()
    samples = exchange.samples
    result.figures |= {"rate": options.rate, "poisson": options.poisson, "pairs": options.pairs}
    add_cycles(result, samples, measured)
    result.add_spread("generator_late_ms", "  of it the generator's", spread(loop.late))
    result.add_usage(measured.used, samples.cycles, "cycles")
    result.add("server_rss_mib", "server memory", round(measured.resident / 2**20, 1), "MiB resident")
    result.faults += await asyncio.to_thread(list_faults, target.database_url, exchange.ledger)
    return result
