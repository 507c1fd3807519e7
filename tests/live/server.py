"""The servers of a module's tests and what a test does with them: people, conversations, sockets, rows."""

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import psycopg

from tests.e2e.server import Asgi, Server, database_url
from tests.live.client import Answer, Client, request, token_of


class Cluster(Server):
    """One or two server processes on the test database (tests/e2e/server.py), and whether they logged a fault."""

    def __init__(self, asgi: Asgi, workers: int = 2, env: Mapping[str, str] | None = None) -> None:
        super().__init__(asgi, workers, env)
        self.asgi = asgi
        self._read = [0] * workers

    def faults(self) -> str:
        """The tracebacks logged since the last call: what a client does must have an answer, not a traceback."""
        found = []
        for index, worker in enumerate(self.workers):
            size = os.fstat(worker._log.fileno()).st_size
            text = os.pread(worker._log.fileno(), size - self._read[index], self._read[index]).decode(errors="replace")
            self._read[index] = size
            if "Traceback" in text:
                found.append(text)
        return "\n".join(found)


class Scene:
    """What one test brings about on a cluster. Everything has ids of its own, so that tests share a database."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._clients: list[Client] = []

    # --- people

    def url(self, worker: int) -> str:
        return self.cluster.urls[worker % len(self.cluster.urls)]

    async def client(
        self, user: UUID, device: UUID | None = None, *, worker: int = 0, acks: bool = False, token: str | None = None
    ) -> Client:
        """A connected socket; closed with the test."""
        client = await Client.open(self.url(worker), user, device or uuid4(), acks=acks, token=token)
        self._clients.append(client)
        return client

    async def joined(
        self, user: UUID, device: UUID | None = None, *, worker: int = 0, acks: bool = False, **payload: Any
    ) -> Client:
        """A socket that joined its inbox and has caught up."""
        client = await self.client(user, device, worker=worker, acks=acks)
        await client.join_inbox(**payload)
        return client

    # --- REST

    async def rest(
        self, user: UUID, method: str, path: str, body: Any = None, *, device: UUID | None = None, worker: int = 0
    ) -> Answer:
        token = token_of(user, device or user)
        return await asyncio.to_thread(request, self.url(worker), method, path, body, token=token)

    async def group(self, *users: UUID, worker: int = 0) -> str:
        """A group that the first user owns; seq 1 of its log is `conversation_created`."""
        body = {"type": "group", "members": [str(user) for user in users]}
        answer = await self.rest(users[0], "POST", "conversations", body, worker=worker)
        assert answer.status == 201, answer
        return answer.body["id"]

    async def add(self, owner: UUID, conversation_id: str, *users: UUID, worker: int = 0) -> None:
        body = {"userIds": [str(user) for user in users]}
        answer = await self.rest(owner, "POST", f"conversations/{conversation_id}/members", body, worker=worker)
        assert answer.status in (200, 201), answer

    async def remove(self, owner: UUID, conversation_id: str, user: UUID, worker: int = 0) -> None:
        path = f"conversations/{conversation_id}/members/{user}"
        answer = await self.rest(owner, "DELETE", path, worker=worker)
        assert answer.status in (200, 204), answer

    # --- the database

    def rows(self, sql: str, *params: object) -> list[tuple[Any, ...]]:
        """What another session sees."""
        with psycopg.connect(database_url()) as session:
            return session.execute(sql, params).fetchall()

    def log(self, conversation_id: str) -> list[tuple[int, str]]:
        """(seq, messageId) of everything in the log."""
        sql = "SELECT seq, id::text FROM messages WHERE conversation_id = %s ORDER BY seq"
        return [(row[0], row[1]) for row in self.rows(sql, conversation_id)]

    # --- the end

    async def close(self) -> None:
        for client in self._clients:
            with contextlib.suppress(Exception):
                await client.close()


def agreed(clients: Sequence[Client], conversation_id: str) -> list[tuple[int, str]]:
    """(seq, messageId) as all the clients hold it; each got every entry in order, once."""
    held = []
    for client in clients:
        entries = client.entries.get(conversation_id, [])
        pairs = [(entry["seq"], entry["messageId"]) for entry in entries]
        assert pairs == sorted(set(pairs)), client.user
        held.append(pairs)
    assert all(one == held[0] for one in held)
    return held[0]
