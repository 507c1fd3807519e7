"""The event loop of a process that has none of its own: Celery workers call services, which are coroutines.

One loop a process, in a thread of its own, for all the worker's threads: so they share the group commits, the bus, the
Redis client and the channel layer, as the sockets of a server process do. A loop for each task would open all of these
anew each time, and would end with what was queued on it.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError as FutureCancelled
from typing import Any, TypeVar

T = TypeVar("T")
_lock = threading.Lock()
_running: tuple[int, asyncio.AbstractEventLoop, threading.Thread] | None = None


def run(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """The result of `work`, run on this process's loop; called from a thread that may block, never from that loop.

    Raises TimeoutError after `seconds`; then `work` was cancelled.
    """

    async def bounded() -> T:
        async with asyncio.timeout(seconds):
            return await work

    try:
        return asyncio.run_coroutine_threadsafe(bounded(), _loop()).result()
    except FutureCancelled:
        raise TimeoutError("The process ends.") from None


def close() -> None:
    """End the loop, if there is one: its tasks are cancelled, its connections closed. The next `run` makes another."""
    global _running
    with _lock:
        ended, _running = _running, None
    if ended is not None and ended[0] == os.getpid():
        ended[1].call_soon_threadsafe(ended[1].stop)
        ended[2].join(timeout=5)


def _loop() -> asyncio.AbstractEventLoop:
    """The loop of this process: a fork's child has the parent's variables, but not its threads."""
    global _running
    with _lock:
        if _running is None or _running[0] != os.getpid():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_serve, args=(loop,), name="task-loop", daemon=True)
            thread.start()
            _running = (os.getpid(), loop, thread)
        return _running[1]


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
