"""Idle sockets: what one costs the server's memory."""

import asyncio

from bench.client import Client, list_client_faults
from bench.exchange import beat, open_all
from bench.options import Options
from bench.report import Result
from bench.target import Target
from bench.usage import between

# Sockets opened and closed before the first reading, so that pools and imports are not counted as theirs.
WARM_UP_SOCKETS = 50
SETTLE_SECONDS = 3.0


async def run(target: Target, options: Options) -> Result:
    """Server memory a socket: (after - before) / N, each joined to an inbox with one conversation."""
    result = Result("idle", f"{options.sockets} sockets, each joined to its inbox with one conversation")
    warm = [Client(*(await target.identity())[1:]) for _ in range(min(WARM_UP_SOCKETS, options.sockets))]
    await open_all(target, warm)
    await asyncio.gather(*(client.close() for client in warm))
    people = list(await asyncio.gather(*(target.identity() for _ in range(options.sockets + options.sockets % 2))))
    couples = zip(people[::2], people[1::2], strict=True)
    await asyncio.gather(*(target.conversation(one, [other]) for one, other in couples))
    await asyncio.sleep(SETTLE_SECONDS)
    resident, proportional = target.meter.resident(), target.meter.proportional()
    clients = [Client(*person[1:]) for person in people[: options.sockets]]
    beating = asyncio.create_task(beat(clients))
    try:
        await open_all(target, clients)
        await asyncio.sleep(SETTLE_SECONDS)
        before = target.read_usage()
        resident_after, proportional_after = target.meter.resident(), target.meter.proportional()
        await asyncio.sleep(options.seconds)
        used = between(before, target.read_usage())
        result.faults += list_client_faults(clients)
    finally:
        beating.cancel()
        await asyncio.gather(*(client.close() for client in clients))
    each = (proportional_after - proportional) / options.sockets / 1024
    each_resident = (resident_after - resident) / options.sockets / 1024
    result.figures["sockets"] = options.sockets
    result.add("kib_per_socket", "memory a socket", round(each, 2), "KiB (proportional set size)")
    result.add("kib_per_socket_rss", "the same, resident", round(each_resident, 2), "KiB")
    result.add("server_rss_mib", "server memory", round(resident_after / 2**20, 1), "MiB resident")
    result.add("cpu_idle_share", "CPU of the server while idle", round(100 * used.server / used.wall, 2), "% of a core")
    return result
