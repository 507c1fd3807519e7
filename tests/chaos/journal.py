"""The side of a device that notes what it does, and asks over REST."""

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.chaos.history import History, Op, Phase
from tests.chaos.proxy import Link
from tests.chaos.wire import rest_outcome, rest_request, seconds_of

_threads = ThreadPoolExecutor(48, "rest")


class Journal:
    """Who writes into the history, and over which links."""

    def __init__(
        self, history: History, links: Sequence[Link], user: str, device: str, token: str, control: bool, seed: str
    ) -> None:
        self.history = history
        self.links = links
        self.user, self.id, self.token = user, device, token
        self.control = control
        self.random = random.Random(seed)
        self.socket: int | None = None
        self.epoch: str | None = None
        self._fetch_began = 0.0

    async def request(self, op: str, method: str, path: str, body: Any = None, **fields: Any) -> tuple[Op, Any]:
        """One REST request as an operation of the history: its end, and the answer."""
        began = asyncio.get_running_loop().time()
        line = self.begin(op, **fields)
        status, answer = await self.rest(method, path, body)
        phase, code, response = rest_outcome(status, answer)
        return self.settle(line, began, phase, code, response), answer

    async def rest(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One REST request: its status, 0 where there was no answer, -1 where none came in time."""
        port = self.random.choice(self.links).port  # any process will do
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_threads, rest_request, port, method, path, body, self.token)

    def begin_fetch(self, conversation: str, note: str | None) -> Op:
        """Note that a conversation is about to be read by its pages."""
        self._fetch_began = asyncio.get_running_loop().time()
        return self.begin("fetch", conversation=conversation, **({"note": note} if note else {}))

    def end_fetch(self, line: Op, status: int, answer: Any, head: int | None) -> None:
        """Note that it was read, or that it could not be."""
        phase, code, _ = rest_outcome(status, answer)
        fields = {name: value for name, value in (("code", code), ("seq", head)) if value is not None}
        self.end_of(line, phase, self._fetch_began, conversation=line.conversation, **fields)

    def settle(self, line: Op, began: float, phase: Phase, code: str | None, response: Any) -> Op:
        """Note how it ended, with what the answer says."""
        response = response if isinstance(response, dict) else {}
        fields: dict[str, Any] = {"code": code, "seconds": response.get("retryAfter")}
        if phase == "ok" and line.op == "send":
            fields |= {
                "message_id": response.get("messageId"),
                "seq": response.get("seq"),
                "sent_at": response.get("sentAt"),
                "status": response.get("status"),
                "expires_at": seconds_of(response.get("expiresAt")),
                "conversation": line.conversation,
                "client_random": line.client_random,
            }
        elif phase == "ok" and line.op == "join":
            self.epoch = response.get("epoch")
            fields["epoch"] = self.epoch
        elif line.op in ("revoke", "block"):
            fields |= {"target": line.target, "conversation": line.conversation}
        return self.end_of(line, phase, began, **{name: value for name, value in fields.items() if value is not None})

    def begin(self, op: str, **fields: Any) -> Op:
        """Note that something is asked for."""
        fields.setdefault("socket", self.socket)
        return self.note(op, "invoke", id=self.history.next_id(), **fields)

    def end_of(self, line: Op, phase: Phase, began: float, **fields: Any) -> Op:
        """Note how what `line` began has ended."""
        if any(link.was_cut(began) for link in self.links):
            fields["cut"] = True
        return self.note(line.op, phase, id=line.id, **fields)

    def note(self, op: str, phase: Phase, **fields: Any) -> Op:
        """Note something of this device."""
        if self.control:
            fields["control"] = True
        return self.history.write(op, phase, user=self.user, device=self.id, **fields)
