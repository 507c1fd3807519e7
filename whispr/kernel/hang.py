"""Ends a process whose event loop stands still: whoever started it starts another, and clients go elsewhere meanwhile.

A loop can wait for ever, and nothing that runs on it can notice. Where no memory is left for a thread's stack, for one,
`Thread.start()` waits for a thread that never began (tests/chaos, F45); such a process holds its sockets and answers
nobody. Ending it is safe at every moment, for it may be killed at every moment.
"""

import asyncio
import faulthandler
import logging
import os

from whispr.kernel.limits import LIMITS

log = logging.getLogger(__name__)

REARM_SECONDS = 2.0
EXIT_CODE = 70  # EX_SOFTWARE


async def end_when_hung() -> None:
    """Until it is cancelled: end the process, with the stacks of its threads on stderr, once this event loop has stood
    still for `LIMITS.hang_seconds` (0: never), or where no thread can be started any more.

    The clock runs in a thread without Python's lock, which needs no memory when it is time.
    """
    if not LIMITS.hang_seconds:
        return
    try:
        while True:
            try:
                faulthandler.dump_traceback_later(LIMITS.hang_seconds, exit=True)
            except RuntimeError:
                log.critical("No thread can be started: the process ends")
                os._exit(EXIT_CODE)
            await asyncio.sleep(REARM_SECONDS)
    finally:
        faulthandler.cancel_dump_traceback_later()
