"""The system under test: where it listens, whose tokens it takes, which database it writes, which processes it is."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import jwt
import psycopg

from bench import usage
from bench.client import ClientFault
from whispr.kernel.ids import new_id
from whispr_client import Rest, WhisprClientError

# REST requests at once while fixtures are made: enough to be quick, few enough to leave the server its queue.
REQUESTS_AT_ONCE = 8
TOKEN_SECONDS = 6 * 3600


class Identity(NamedTuple):
    """A device of a user, and its token."""

    name: str
    user_id: UUID
    device_id: UUID
    token: str


@dataclass
class Target:
    """A running system. Without `secret` tokens come from `POST /api/v1/dev/tokens`."""

    urls: Sequence[str]
    database_url: str
    secret: str | None
    meter: usage.Meter
    issuer: str = "whispr"
    audience: str = "whispr"
    about: dict[str, Any] = field(default_factory=dict)
    beside: "Target | None" = None  # a second system, with databases of its own, that asks the gRPC services
    _next: int = 0
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(REQUESTS_AT_ONCE))
    _rest: Rest | None = None

    def next_url(self) -> str:
        """The server process for the next socket: in turn, as behind a balancer."""
        self._next += 1
        return self.urls[self._next % len(self.urls)]

    def read_usage(self) -> usage.Usage:
        """The CPU time used so far."""
        return self.meter.read(time.monotonic())

    async def identity(self, of: Identity | None = None) -> Identity:
        """A new user with a device; `of`: another device of that user."""
        name = of.name if of else f"bench-{uuid.uuid4().hex[:12]}"
        if self.secret is None:
            body = {"name": name, "deviceId": str(new_id())}
            made = await self.request("POST", "dev/tokens", body)
            return Identity(name, UUID(made["userId"]), UUID(made["deviceId"]), made["token"])
        user_id, device_id = of.user_id if of else new_id(), new_id()
        return Identity(name, user_id, device_id, self._token(user_id, device_id))

    def _token(self, user_id: UUID, device_id: UUID) -> str:
        assert self.secret is not None
        now = int(time.time())
        claims = {
            "sub": str(user_id),
            "device": str(device_id),
            "iss": self.issuer,
            "aud": self.audience,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self.secret, algorithm="HS256")

    async def conversation(self, creator: Identity, others: Sequence[Identity], kind: str = "direct") -> UUID:
        """Create a conversation over REST; its id. Its first entry is the server's `conversation_created`."""
        body = {"type": kind, "members": [str(other.user_id) for other in others]}
        made = await self.request("POST", "conversations", body, creator.token)
        return UUID(made["id"])

    async def request(self, method: str, path: str, body: object = None, token: str | None = None) -> Any:
        """One REST request below /api/v1; the decoded answer. Raises ClientFault for anything but 2xx."""
        if self._rest is None:
            self._rest = Rest(self.urls[0], None)
        async with self._gate:
            try:
                return await self._rest.request(method, path, body, token=token)
            except WhisprClientError as error:
                raise ClientFault(f"{method} {path}: {error}") from error


def find_postmaster(database_url: str) -> int | None:
    """The postmaster's process id, where PostgreSQL runs on this machine and lets itself be seen."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        backend = connection.info.backend_pid
        parent = usage.parent_of(backend)
        return parent if parent and usage.name_of(backend).startswith("postgres") else None


def postgres_version(database_url: str) -> str:
    """PostgreSQL's own name for its version."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("SHOW server_version").fetchone()
        return str(row[0]) if row else ""


def checkpoint(database_url: str) -> None:
    """Write a checkpoint, where we may: what one measurement dirtied is not to be written in the next one."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        try:
            connection.execute("CHECKPOINT")
        except psycopg.errors.InsufficientPrivilege:
            return
