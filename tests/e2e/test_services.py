"""The three services as processes of their own, over real sockets, while clients send (specification §9)."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.e2e.server import Server, database_url, spawn
from tests.live.client import Client, request, token_of

SECONDS = 40.0  # of patience with a busy machine


class Services:
    """`manage.py run_services`, and its control file."""

    def __init__(self, place: Path) -> None:
        self.control = place / "control.json"
        self.pushes = place / "pushes.jsonl"
        command = [sys.executable, "manage.py", "run_services"]
        command += ["--control", str(self.control), "--push-log", str(self.pushes)]
        environment = {**os.environ, "DATABASE_URL": database_url(), "PYTHONUNBUFFERED": "1"}
        self.log = place / "services.log"
        with self.log.open("wb") as log:
            self.process = spawn(command, environment, log)
        until = time.monotonic() + SECONDS
        while len(lines := re.findall(r"(?m)^(WHISPR_\w+)=(\S+)$", self.log.read_text())) < 3:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)
        self.addresses = dict(lines)

    def behave(self, **modes: str) -> None:
        """From now on, within a tenth of a second or so."""
        fresh = self.control.with_suffix(".new")
        fresh.write_text(json.dumps(modes))
        fresh.rename(self.control)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@pytest.fixture
def services(transactional_db: None, tmp_path: Path) -> Iterator[Services]:
    found = Services(tmp_path)
    yield found
    with contextlib.suppress(ProcessLookupError):
        found.end(signal.SIGKILL)


@pytest.fixture
def server(services: Services, start: Any) -> Server:
    # Every send asks, so that a service is missed at once.
    return start(env=services.addresses | {"WHISPR_PERMISSION_SECONDS": "0", "WHISPR_PERMISSION_REFUSED_SECONDS": "0"})


async def rest(server: Server, user: UUID, method: str, path: str, body: Any = None) -> Any:
    return await asyncio.to_thread(request, server.url, method, path, body, token=token_of(user, user))


async def group(server: Server, *users: UUID) -> str:
    body = {"type": "group", "members": [str(user) for user in users]}
    answer = await rest(server, users[0], "POST", "conversations", body)
    assert answer.status == 201, answer
    return str(answer.body["id"])


async def until(work: Any) -> None:
    async with asyncio.timeout(SECONDS):
        while not await work():
            await asyncio.sleep(0.1)


async def test_sends_go_on_through_every_service_trouble(services: Services, server: Server) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await group(server, ann, bob)
    ann_socket, bob_socket = await Client.open(server.url, ann, uuid4()), await Client.open(server.url, bob, uuid4())
    await ann_socket.join_inbox()
    await bob_socket.join_inbox()

    async def sent(**fields: Any) -> Any:
        return await ann_socket.send(conversation_id, **fields)

    async def unknown() -> str:
        return (await ann_socket.send(str(uuid4()))).code

    async def with_medium() -> Any:
        return await sent(type="media", mediaId="photo-1")

    assert (await sent()).ok["status"] == "sent"
    assert (await with_medium()).ok["mediaMetadata"]["mediaId"] == "photo-1"
    assert (await sent(type="media", mediaId="missing-1")).code == "invalid_media"
    assert await unknown() == "not_found"

    for mode in ("gone", "slow:3600", "wrong", "error"):
        services.behave(users=mode, media=mode, notifications=mode)

        async def missed() -> bool:
            return await unknown() == "temporary_unavailable"

        await until(missed)
        for _ in range(3):
            assert (await sent()).ok["status"] == "sent"
        refusal = await with_medium()
        assert refusal.code == "temporary_unavailable"
        assert refusal.response["retryAfter"] > 0

        services.behave()

        async def healed() -> bool:
            with contextlib.suppress(AssertionError):
                return bool((await with_medium()).ok) and await unknown() == "not_found"
            return False

        await until(healed)

    answer = await rest(server, ann, "GET", f"conversations/{conversation_id}/messages?limit=200")
    last = answer.body["messages"][-1]["seq"]
    await bob_socket.until_seq(conversation_id, last)
    assert bob_socket.seqs(conversation_id) == list(range(1, last + 1))
    await ann_socket.close()
    await bob_socket.close()


async def test_what_the_services_own_is_not_here(services: Services, server: Server) -> None:
    ann, bob = uuid4(), uuid4()
    for method, path in (("GET", "blocks"), ("PUT", f"blocks/{bob}"), ("DELETE", f"blocks/{bob}")):
        assert (await rest(server, ann, method, path)).status == 404
    assert (await rest(server, ann, "GET", f"media/{uuid4()}")).status == 404


def test_the_services_end_well(services: Services) -> None:
    assert services.end(signal.SIGTERM) == 0
