"""The beginning and the end of a server process, where the ASGI server tells them (uvicorn does, daphne does not)."""

import asyncio
import contextlib
from typing import Any

from integrations.circuits import watches
from messaging.fanout.bus import buses
from messaging.services.service_state import announcers
from messaging.sockets import sockets
from messaging.store.tickets import tickets_close
from whispr.kernel import auth, database
from whispr.kernel.batch import close_all
from whispr.kernel.errors import WhisprError
from whispr.kernel.overload import load_watches
from whispr.metrics import metrics_serve

_started = False
# At the end: what was accepted is committed, which takes a moment, or its clients learn nothing of it and ask again.
COMMIT_SECONDS = 1.5
BUS_SECONDS = 1.0


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """ASGI's lifespan protocol: warm up before the first client, let go after the last."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await start()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def start() -> None:
    """Listen on the bus, open the first database connections, serve metrics on their own port."""
    global _started
    if _started:
        return
    _started = True
    metrics_serve()
    buses.get().start()
    announcers.get()
    load_watches.get()
    watches.get().start()
    await asyncio.to_thread(auth.wait_ready, 5)
    with contextlib.suppress(WhisprError, TimeoutError):
        async with asyncio.timeout(2):
            await database.run(_ping)


async def drain(close_code: int) -> None:
    """Before a server process ends, and after it stopped listening: answer what the sockets asked, and close them."""
    await sockets.drain(close_code)


async def stop() -> None:
    """After the last client: commit what waits, ring for it, let everything go. Takes at most 3 seconds."""
    await close_all(COMMIT_SECONDS)
    bus = buses.peek()
    if bus is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BUS_SECONDS):
                await bus.drained()
        await bus.stop()
    await watches.get().stop()
    await tickets_close()


def _ping() -> None:
    from django.db import connection

    connection.ensure_connection()
