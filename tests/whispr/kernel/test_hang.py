"""A process whose event loop stands still ends, and one whose loop goes on does not."""

import os
import subprocess
import sys

_PROGRAM = """
import asyncio, sys, time
from whispr.kernel.hang import end_when_hung

async def main():
    watch = asyncio.create_task(end_when_hung())
    await asyncio.sleep(1.5)
    print("alive", flush=True)
    if sys.argv[1] == "hangs":
        time.sleep(30)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    time.sleep(1.5)
    print("over", flush=True)

asyncio.run(main())
"""


def run(how: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", _PROGRAM, how]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_loop_that_stands_still_ends_its_process_and_says_where(monkeypatch):
    monkeypatch.setenv("WHISPR_HANG_SECONDS", "4")
    done = run("hangs", dict(os.environ))
    assert done.returncode == 1
    assert done.stdout.split() == ["alive"]
    assert "Timeout (0:00:04)!" in done.stderr
    assert "in main" in done.stderr


def test_a_loop_that_goes_on_is_left_alone_and_so_is_what_comes_after_it(monkeypatch):
    monkeypatch.setenv("WHISPR_HANG_SECONDS", "4")
    done = run("goes on", dict(os.environ))
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["alive", "over"], "")
