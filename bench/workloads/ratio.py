"""The ratio: one-to-one and the baseline in turn on the same database, A B A B …, and the median of their ratios."""

import asyncio

from bench.latency import median
from bench.options import Options
from bench.report import Result
from bench.target import Target, checkpoint
from bench.workloads import baseline, one_to_one

WANTED = 0.6  # what we hold ourselves to


async def run(target: Target, options: Options) -> Result:
    """Full cycles of the whole system over those of pgbench alone."""
    lean = ", lean" if options.lean else ""
    title = f"one-to-one (window {options.window}, {options.pairs} pairs) / pgbench ({options.clients} clients{lean})"
    result = Result("ratio", f"{title}, {options.rounds} rounds of {options.seconds:g} s")
    ratios: list[float] = []
    for number in range(1, options.rounds + 1):
        await asyncio.to_thread(checkpoint, target.database_url)
        alone = await baseline.run(target, options)
        await asyncio.to_thread(checkpoint, target.database_url)
        whole = await one_to_one.run(target, options)
        rates = [float(found.figures["cycles_per_s"]) for found in (alone, whole)]
        ratios.append(rates[1] / rates[0])
        text = f"{rates[1]:,.0f} / {rates[0]:,.0f} cycles a second = {ratios[-1]:.3f}"
        result.figures[f"round_{number}"] = {"baseline": rates[0], "one_to_one": rates[1], "ratio": ratios[-1]}
        result.rows.append((f"round {number}", text))
        result.faults += alone.faults + whole.faults
    result.add("ratio", "median ratio", round(median(ratios), 3), f"(wanted: {WANTED})")
    return result
