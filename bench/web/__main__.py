"""`python -m bench.web`: how the web client bears a long conversation and a long absence (bench/README.md)."""

import argparse
import asyncio
import os
import platform
import shutil
import signal
import sys
import uuid
from collections.abc import Awaitable
from typing import Any

from playwright.async_api import Error as PageError

from bench import system
from bench.report import Result, write_json
from bench.target import Target
from bench.web import browser, measures
from bench.web.people import sign_in, write_to

MEASURES = ("conversation", "catch-up", "second-visit")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.web", description="The web client in Chromium, measured.")
    parser.add_argument("measure", nargs="?", choices=["all", *MEASURES], default="all", help="what to measure")
    parser.add_argument("--messages", type=int, default=10_000, help="conversation: messages in it (10,000)")
    parser.add_argument("--entries", type=int, default=50_000, help="catch-up: entries in all (50,000)")
    parser.add_argument("--conversations", type=int, default=50, help="catch-up: conversations that they are in (50)")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium", help="the browser's executable")
    parser.add_argument("--workers", type=int, default=1, help="how many server processes to start")
    parser.add_argument("--port", type=int, default=0, help="where the server listens (0: any free port)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    return parser.parse_args(arguments)


async def measure_all(target: Target, parsed: argparse.Namespace) -> list[Result]:
    """Each measure, with a person and a browser of its own."""
    results: list[Result] = []

    async def add(name: str, measured: Awaitable[Result]) -> None:
        try:
            result = await measured
        except (TimeoutError, PageError) as error:
            result = Result(f"web-{name}", "could not be measured", faults=[f"{type(error).__name__}: {error}"])
        result.print()
        results.append(result)

    wanted = MEASURES if parsed.measure == "all" else (parsed.measure,)
    async with browser.chromium(parsed.chromium) as chromium:

        async def someone(conversations: int, each: int) -> tuple[Any, ...]:
            who = await browser.person(chromium, target.urls[0], f"Reader {uuid.uuid4().hex[:6]}")
            device = await sign_in(target, who.name, await who.first_visit())
            return who, device, await write_to(target, device, conversations, each)

        if "conversation" in wanted:
            who, device, _ = await someone(1, parsed.messages)
            await add("conversation", measures.long_conversation(target, who, device, parsed.messages))
            await who.context.close()
        if "catch-up" in wanted or "second-visit" in wanted:
            each = -(-parsed.entries // parsed.conversations)
            who, device, _ = await someone(parsed.conversations, each)
            entries = each * parsed.conversations
            await add("catch-up", measures.catch_up(target, who, device, entries, parsed.conversations))
            if "second-visit" in wanted:
                await add("second-visit", measures.second_visit(who))
    return results


def main(arguments: list[str]) -> int:
    """Measure; the exit code: 0, or 1 where something was not as it must be."""
    parsed = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    environment = {**os.environ, "WHISPR_DEV_LOGIN": "1"}
    try:
        with system.started("uvicorn", parsed.workers, parsed.port, environment) as target:
            target.about |= {"python": platform.python_version(), "kernel": platform.release()}
            print("  ".join(f"{name} {value}" for name, value in target.about.items()), flush=True)
            results = asyncio.run(measure_all(target, parsed))
    except system.StartFailed as error:
        print(f"bench.web: {error}", file=sys.stderr)
        return 1
    if parsed.json:
        write_json(parsed.json, target.about, results)
    return 1 if any(result.faults for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
