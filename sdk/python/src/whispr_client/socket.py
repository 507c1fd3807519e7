"""One connection: Phoenix's frames over a WebSocket, replies matched to what asked for them (docs/protocol.md §2)."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from whispr_client.errors import Refused, SignedOut, Unanswered

ANSWER_SECONDS = 12.0  # the server answers within 10
HEARTBEAT_SECONDS = 25.0  # the server closes what says nothing for 60
CONNECT_SECONDS = 10.0
FRAME_BYTES = 32 * 1024 * 1024
TOKEN_EXPIRED = 4401
# These say that coming back is of no use: revoked, replaced by a newer socket of the same device.
FINAL_CODES = (4403, 4409)

OnPush = Callable[[str, Mapping[str, Any]], None]


class Socket:
    """An open connection. `on_push(event, payload)` is called for each push, in order."""

    def __init__(self, connection: ClientConnection, on_push: OnPush) -> None:
        self._connection = connection
        self._on_push = on_push
        self._refs = itertools.count(1)
        self._joins: dict[str, str] = {}
        self._waiting: dict[str, asyncio.Future[Mapping[str, Any]]] = {}
        self._heart = asyncio.create_task(self._beat())

    @classmethod
    async def open(cls, url: str, token: str, on_push: OnPush) -> "Socket":
        """Connect to the server at `url` (http…). Raises SignedOut where it refuses the token, Unanswered where it is
        not there."""
        address = f"{url.rstrip('/').replace('http', 'ws', 1)}/socket/websocket?vsn=2.0.0"
        try:
            connection = await connect(
                address,
                additional_headers={"Authorization": f"Bearer {token}"},
                compression=None,
                max_size=FRAME_BYTES,
                open_timeout=CONNECT_SECONDS,
                close_timeout=2,
            )
        except InvalidStatus as error:
            if error.response.status_code == 403:
                raise SignedOut(403, "the server does not take this token") from error
            raise Unanswered(f"the server refused the socket with {error.response.status_code}") from error
        except (OSError, TimeoutError, WebSocketException) as error:
            raise Unanswered(f"no connection: {type(error).__name__}") from error
        return cls(connection, on_push)

    async def run(self) -> int:
        """Read until the connection ends; its close code. Whatever waits for an answer gets Unanswered."""
        try:
            async for frame in self._connection:
                if isinstance(frame, str):
                    self._take(*json.loads(frame))
        except ConnectionClosed:
            pass
        finally:
            self._heart.cancel()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(Unanswered("the connection ended"))
            self._waiting.clear()
        code = self._connection.close_code or 1006
        if code in FINAL_CODES:
            raise SignedOut(code, self._connection.close_reason or "")
        return code

    def _take(self, join: str | None, ref: str | None, topic: str, event: str, payload: Any) -> None:
        if event == "phx_reply":
            waiting = self._waiting.pop(ref or "", None)
            if waiting is not None and not waiting.done():
                waiting.set_result(payload)
        elif event in ("phx_error", "phx_close"):
            asyncio.ensure_future(self._connection.close())  # noqa: RUF006 - a fault of the topic's: begin anew
        else:
            self._on_push(event, payload)

    async def ask(self, topic: str, event: str, payload: Any) -> Mapping[str, Any]:
        """The ok response. Raises Refused with the server's code, Unanswered without an answer."""
        ref = str(next(self._refs))
        if event == "phx_join":
            self._joins[topic] = ref
        waiting: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[ref] = waiting
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._connection.send(json.dumps([self._joins.get(topic), ref, topic, event, payload]))
                reply = await waiting
        except TimeoutError:
            raise Unanswered(f"{event} was not answered within {ANSWER_SECONDS:g} s") from None
        except ConnectionClosed:
            raise Unanswered("the connection ended") from None
        finally:
            self._waiting.pop(ref, None)
        response: Mapping[str, Any] = reply["response"]
        if reply["status"] != "ok":
            raise Refused.of(response)
        return response

    async def close(self) -> None:
        """Close the connection."""
        self._heart.cancel()
        await self._connection.close()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                await self.ask("phoenix", "heartbeat", {})
            except Unanswered:
                with contextlib.suppress(Exception):
                    await self._connection.close()
                return
