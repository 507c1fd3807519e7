"""The beginning and the end of a server process, where the ASGI server tells them (uvicorn does, daphne does not)."""

import asyncio
import contextlib
from typing import Any

from django.conf import settings
from prometheus_client import start_http_server

from messaging.fanout.bus import buses
from messaging.store.tickets import tickets_close
from whispr.kernel import auth, database
from whispr.kernel.errors import WhisprError

_started = False


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """ASGI's lifespan protocol: warm up before the first client, let go after the last."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await start()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            bus = buses.peek()
            if bus is not None:
                await bus.stop()
            await tickets_close()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def start() -> None:
    """Listen on the bus, open the first database connections, serve metrics on their own port."""
    global _started
    if _started:
        return
    _started = True
    if settings.WHISPR_METRICS_PORT:
        start_http_server(settings.WHISPR_METRICS_PORT, addr="127.0.0.1")
    buses.get().start()
    await asyncio.to_thread(auth.wait_ready, 5)
    with contextlib.suppress(WhisprError, TimeoutError):
        async with asyncio.timeout(2):
            await database.run(_ping)


def _ping() -> None:
    from django.db import connection

    connection.ensure_connection()
