"""The price of the services: one-to-one with the three gRPC services and without, in turn, A B A B …, and the ratio."""

import asyncio
import json
import urllib.request

from bench.latency import median
from bench.options import Options
from bench.report import Result
from bench.target import Target, checkpoint
from bench.workloads import one_to_one

WANTED = 0.8  # of the speed without services: what we hold ourselves to


async def run(target: Target, options: Options) -> Result:
    """Full cycles of the system that asks the services over those of the one that answers locally.

    Raises RuntimeError where `target` has no second system beside it (a server named by `--url`).
    """
    if target.beside is None:
        raise RuntimeError("services starts both systems itself: leave --url out")
    title = f"with / without gRPC services, {options.pairs} pairs, {options.rounds} rounds of {options.seconds:g} s"
    result = Result("services", title)
    ratios: list[float] = []
    for number in range(1, options.rounds + 1):
        rates = {}
        for name, system in (("without", target), ("with", target.beside)):
            await asyncio.to_thread(checkpoint, system.database_url)
            found = await one_to_one.run(system, options)
            rates[name] = float(found.figures["cycles_per_s"])
            result.faults += found.faults
        result.faults += await asyncio.to_thread(_open_circuits, target.beside.next_url())
        ratios.append(rates["with"] / rates["without"])
        result.figures[f"round_{number}"] = {**rates, "ratio": ratios[-1]}
        text = f"{rates['with']:,.0f} / {rates['without']:,.0f} cycles a second = {ratios[-1]:.3f}"
        result.rows.append((f"round {number}", text))
    result.add("ratio", "median ratio", round(median(ratios), 3), f"(wanted: {WANTED})")
    return result


def _open_circuits(url: str) -> list[str]:
    """A service whose circuit opened was not asked: the figures then say nothing of it."""
    with urllib.request.urlopen(f"{url}/readyz", timeout=5) as response:
        circuits: dict[str, str] = json.load(response)["circuits"]
    wanted = ("user_service", "media_service", "notification_service")
    states = {name: circuits.get(name, "absent") for name in wanted}
    return [f"the circuit of {name} is {state}" for name, state in states.items() if state != "closed"]
