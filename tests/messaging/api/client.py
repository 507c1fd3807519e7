"""A client of the whole HTTP side: the gate, Django, DRF, the services, a real PostgreSQL."""

import asyncio
import base64
import itertools
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import msgspec
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application

from messaging.api.gate import RequestGate
from whispr.kernel.tokens import make_token

RANDOMS = itertools.count(1_000)
_django = get_asgi_application()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        assert self.headers["content-type"] == "application/problem+json", self
        assert self.json["status"] == self.status
        assert set(self.json) <= {"type", "title", "status", "detail", "code", "retryAfter", "details"}
        return self.json["code"]


@dataclass
class Client:
    """One device of one user. `token=None` asks without a token."""

    user: UUID = field(default_factory=uuid4)
    device: UUID = field(default_factory=uuid4)
    token: str | None = ""
    gate: RequestGate = field(default_factory=lambda: RequestGate(_django))

    def __post_init__(self) -> None:
        if self.token == "":
            self.token = make_token(self.user, self.device)

    async def ask(
        self,
        method: str,
        path: str,
        value: Any = None,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        chunks: list[bytes] | None = None,
        prefix: str = "/api/v1",
    ) -> Answer:
        """One request: `value` as JSON, or `body` as it is, or `chunks` without a Content-Length."""
        if value is not None:
            body = msgspec.json.encode(value)
        sent: dict[str, str | None] = {"host": "localhost"}
        if self.token is not None:
            sent["authorization"] = f"Bearer {self.token}"
        if body is not None or chunks is not None:
            sent["content-type"] = "application/json"
        if body is not None:
            sent["content-length"] = str(len(body))
        sent |= headers or {}
        path, _, query = (prefix + path).partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items() if value is not None],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        parts = [body or b""] if chunks is None else chunks
        application = ApplicationCommunicator(self.gate, scope)
        for index, part in enumerate(parts):
            more = index + 1 < len(parts)
            await application.send_input({"type": "http.request", "body": part, "more_body": more})
        return await _answer_of(application)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, value: Any = None, **options: Any) -> Answer:
        return await self.ask("POST", path, value, **options)

    async def patch(self, path: str, value: Any = None, **options: Any) -> Answer:
        return await self.ask("PATCH", path, value, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.ask("DELETE", path, **options)

    async def group(self, *others: "Client") -> str:
        """A new group; its id."""
        answer = await self.post("/conversations", {"type": "group", "members": [other.user for other in others]})
        assert answer.status == 201, answer
        return answer.json["id"]

    async def send(self, conversation_id: str, text: bytes = b"ciphertext", **fields: Any) -> Answer:
        return await self.post("/messages", message(conversation_id, text, **fields))


def message(conversation_id: str, text: bytes = b"ciphertext", **fields: Any) -> dict[str, Any]:
    """The body of a send."""
    return {
        "conversationId": conversation_id,
        "type": "text",
        "content": base64.b64encode(text).decode(),
        "clientRandom": next(RANDOMS),
    } | fields


async def _answer_of(application: ApplicationCommunicator) -> Answer:
    start = await application.receive_output(15)
    assert start["type"] == "http.response.start"
    headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    body = b""
    while True:
        part = await application.receive_output(15)
        body += part.get("body", b"")
        if not part.get("more_body"):
            break
    await application.send_input({"type": "http.disconnect"})
    try:
        await application.wait(5)
    except asyncio.CancelledError:  # how Django ends a request whose client has gone
        pass
    return Answer(start["status"], headers, body)
