"""The side of a device that asks on its connection, and notes how that ended."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from tests.chaos.history import History, Op
from tests.chaos.journal import Journal
from tests.chaos.proxy import Link, reset
from tests.chaos.wire import ANSWER_SECONDS

UNKNOWN = ("timeout", "temporary_unavailable", "overloaded", "closed", "silence", "internal_error")


class Closed(Exception):
    """The connection ended before the answer."""


class Asking(Journal):
    """Who has a connection, or none, and questions that wait for their answers."""

    def __init__(
        self, history: History, links: Sequence[Link], user: str, device: str, token: str, control: bool, seed: str
    ) -> None:
        super().__init__(history, links, user, device, token, control, seed)
        self._connection: ClientConnection | None = None
        self._refs = itertools.count(1)
        self._join_ref: str | None = None
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._answered: set[str] = set()

    def disconnect(self) -> None:
        """Lose the connection, without a word."""
        if self._connection is not None:
            self._connection.transport.abort()

    def reset(self) -> None:
        """Lose the connection, by RST."""
        if self._connection is not None:
            reset(self._connection.transport)

    def _let_go(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(Closed())
                future.exception()

    async def _ask(self, topic: str, event: str, payload: dict[str, Any]) -> dict[str, Any]:
        connection = self._connection
        if connection is None:
            raise Closed
        ref = str(next(self._refs))
        future = self._waiting[ref] = asyncio.get_running_loop().create_future()
        if event == "phx_join":
            self._join_ref = ref
        join_ref = None if topic == "phoenix" else self._join_ref
        try:
            await connection.send(json.dumps([join_ref, ref, topic, event, payload]))
            return await future
        finally:
            if self._waiting.get(ref) is future:
                del self._waiting[ref]

    async def _answer(self, line: Op, event: str, payload: dict[str, Any], began: float) -> Op | None:
        """Ask on the inbox, and note how it ended."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = await self._ask(f"user:{self.user}", event, payload)
        except TimeoutError:
            end = self.end_of(line, "info", began, code="silence")
            self.disconnect()
            return end
        except (Closed, OSError, WebSocketException):
            return self.end_of(line, "info", began, code="closed")
        except asyncio.CancelledError:
            self.end_of(line, "info", began, code="closed")
            raise
        response = reply["response"]
        if reply["status"] == "ok":
            return self.settle(line, began, "ok", None, response)
        code = response.get("reason", "internal_error")
        return self.settle(line, began, "info" if code in UNKNOWN else "fail", code, response)
