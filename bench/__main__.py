"""`python -m bench WORKLOAD`: measure a running server, or start everything and measure that (bench/README.md)."""

import argparse
import asyncio
import contextlib
import dataclasses
import os
import platform
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from bench import history, system
from bench.options import Options
from bench.report import Result, write_json
from bench.target import Target, checkpoint
from bench.workloads import baseline, catch_up, fan_out, idle, one_to_one, open_loop, ratio, services, slow_reader

Workload = Callable[[Target, Options], Awaitable[Result]]
WORKLOADS: dict[str, Workload] = {
    "one-to-one": one_to_one.run,
    "open-loop": open_loop.run,
    "fan-out": fan_out.run,
    "catch-up": catch_up.run,
    "idle": idle.run,
    "slow-reader": slow_reader.run,
    "baseline": baseline.run,
    "ratio": ratio.run,
    "services": services.run,
}


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Whispr's load generator.")
    parser.add_argument("workload", choices=["all", *WORKLOADS])
    parser.add_argument("--url", help="a running server, http://127.0.0.1:8000; without it everything is started")
    parser.add_argument(
        "--history", metavar="FILE", type=Path, help="one-to-one, open-loop: what clients saw, for tests.chaos.checker"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--asgi", choices=["uvicorn", "daphne"], default="uvicorn", help="the server to start")
    parser.add_argument("--workers", type=int, default=1, help="how many server processes to start")
    parser.add_argument("--port", type=int, default=0, help="where the started server listens (0: any free port)")
    texts = {
        "pairs": "one-to-one, open-loop, slow-reader: pairs",
        "window": "one-to-one: full cycles that a pair keeps under way",
        "seconds": "the measured time",
        "warm_up": "the time before it",
        "size": "bytes of a ciphertext",
        "rate": "open-loop: messages a second; baseline --paced: cycles",
        "members": "fan-out: members of the conversation",
        "fan_out_window": "fan-out: messages under way",
        "ack_every": "fan-out: each member acknowledges every so many messages",
        "entries": "catch-up: entries in all",
        "conversations": "catch-up: conversations that they are in",
        "devices": "catch-up: devices that join, one after the other",
        "catch_up_ack": "catch-up: entries between two acknowledgements",
        "sockets": "idle: sockets",
        "slow_seconds": "slow-reader: how long nothing is read",
        "clients": "baseline: pgbench's clients",
        "rounds": "ratio, services: rounds of both",
    }
    defaults = Options()
    for name, text in texts.items():
        value = getattr(defaults, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=None, help=f"{text} ({value:g})")
    parser.add_argument("--even", action="store_true", help="open-loop: evenly spaced instead of Poisson")
    parser.add_argument("--silent", action="store_true", help="slow-reader: it sends nothing either")
    parser.add_argument("--paced", action="store_true", help="baseline: --rate cycles a second, and how long each took")
    parser.add_argument(
        "--lean", action="store_true", help="baseline, ratio: pgbench writes the least: message, status row, last_seq"
    )
    return parser.parse_args(arguments)


def options_of(parsed: argparse.Namespace) -> Options:
    """The options that the command line asks for."""
    names = {field.name for field in dataclasses.fields(Options)}
    given: dict[str, Any] = {name: value for name, value in vars(parsed).items() if name in names and value is not None}
    return Options(**given, poisson=not parsed.even, slow_silent=parsed.silent)


def plan(workload: str, options: Options) -> list[tuple[Workload, Options]]:
    """What to run, in order."""
    if workload != "all":
        return [(WORKLOADS[workload], options)]
    return [
        (one_to_one.run, dataclasses.replace(options, window=1)),
        (one_to_one.run, options),
        (open_loop.run, options),
        (fan_out.run, options),
        (catch_up.run, options),
        (idle.run, options),
        (slow_reader.run, options),
        (ratio.run, options),
    ]


async def measure_all(target: Target, steps: list[tuple[Workload, Options]]) -> list[Result]:
    """Run the workloads one after the other and print each as it ends."""
    results = []
    for workload, options in steps:
        await asyncio.to_thread(checkpoint, target.database_url)
        try:
            result = await workload(target, options)
        except (OSError, RuntimeError, TimeoutError) as error:
            name = workload.__module__.rpartition(".")[2].replace("_", "-")
            result = Result(name, "could not be measured", faults=[f"{type(error).__name__}: {error}"])
        result.print()
        results.append(result)
    return results


def main(arguments: list[str]) -> int:
    """Measure; the exit code: 0, or 1 where a check failed or nothing could be measured."""
    parsed = parse(arguments)
    options = options_of(parsed)
    _raise_descriptor_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    with contextlib.ExitStack() as stack:
        try:
            if parsed.url:
                target = stack.enter_context(system.running(parsed.url, os.environ))
            elif parsed.workload == "services":
                target = stack.enter_context(system.with_services_beside(parsed.asgi, parsed.workers, os.environ))
            else:
                target = stack.enter_context(system.started(parsed.asgi, parsed.workers, parsed.port, os.environ))
        except system.StartFailed as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        target.about |= {"python": platform.python_version(), "kernel": platform.release()}
        print("  ".join(f"{name} {value}" for name, value in target.about.items()), flush=True)
        if parsed.history:
            history.begin(parsed.history)
        results = uvloop.run(measure_all(target, plan(parsed.workload, options)))
        if history.record is not None:
            history.record.close()
    if parsed.json:
        write_json(parsed.json, target.about, results)
    return 1 if any(result.faults for result in results) else 0


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
