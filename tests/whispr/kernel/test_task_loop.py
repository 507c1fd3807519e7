"""The event loop that Celery's threads share."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from whispr.kernel import task_loop
from whispr.kernel.loops import PerLoop


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    task_loop.close()
    yield
    task_loop.close()


def test_all_threads_share_one_loop():
    things: PerLoop[object] = PerLoop(object)

    async def thing() -> object:
        return things.get()

    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(lambda _: task_loop.run(thing(), 5), range(8)))
    assert len(found) == 1


def test_an_error_is_the_callers():
    async def fail() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        task_loop.run(fail(), 5)


def test_what_takes_too_long_is_cancelled():
    ended = threading.Event()

    async def stay() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        task_loop.run(stay(), 0.05)
    assert ended.wait(5)


def test_closing_ends_what_runs_and_the_next_begins_anew():
    begun, ended = threading.Event(), threading.Event()

    async def stay() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(task_loop.run, stay(), 60)
        assert begun.wait(5)
        task_loop.close()
        assert ended.wait(5)
        with pytest.raises(TimeoutError):
            waiting.result(5)

    async def answer() -> int:
        return 42

    assert task_loop.run(answer(), 5) == 42
