"""What was deleted, expired, cancelled or replaced is found nowhere: tables, Redis, queues, logs, media, a dump.

Each canary is first found where it must be while it lives, so that the search is known to find.
"""

import asyncio
import json
import logging
import os
import shutil
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from django.db import connection
from django.test import override_settings

from messaging import tasks
from tests.e2e.server import database_url
from tests.live.client import message_of, token_of
from tests.live.kinds import OverRest, OverSocket, text
from tests.live.server import Cluster, Scene
from tests.residue import needles, redis_keys_left, redis_keys_with, tables_with
from whispr.celery import app
from whispr.embedded.finder import ServersMissing, find_postgres, major_version
from whispr.kernel import database

# Everything that a worker does on its schedule.
WORK = (
    tasks.expire_messages,
    tasks.send_due_scheduled,
    tasks.settle_media_links,
    tasks.sweep_media,
    tasks.purge_scheduled,
    tasks.purge_traces,
    tasks.purge_send_keys,
)
EDITS, KEPT = 12, 9  # the original and the latest nine edits keep their content
TTL = 1  # second, a real one


class Stage:
    """A group of two on a running server, and the canaries that it was given."""

    def __init__(self, cluster: Cluster, session: "psycopg.Connection[Any]", directory: Path) -> None:
        self.scene, self.session, self.directory = Scene(cluster), session, directory
        self.ann, self.bob = uuid4(), uuid4()
        self.canaries: dict[str, bytes] = {}
        self.conversation = ""

    async def begin(self) -> None:
        self.conversation = await self.scene.group(self.ann, self.bob)
        self.phone = await self.scene.joined(self.ann)
        self.hers, self.his = OverSocket(self.phone), OverRest(self.scene, self.bob)
        await self.scene.joined(self.bob, acks=True)
        await (await self.scene.joined(self.bob)).close()  # a device that stays behind

    def new(self, name: str) -> bytes:
        """A canary: bytes that are nowhere else."""
        self.canaries[name] = f"canary-{name}-{uuid4().hex}".encode()
        return self.canaries[name]

    async def rest(self, method: str, path: str, body: Any = None) -> Any:
        """Ann's request, on the device that wrote the socket's messages as well."""
        answer = await self.scene.rest(self.ann, method, path, body, device=self.phone.device)
        assert 200 <= answer.status < 300, (method, path, answer)
        return answer.body

    async def send(self, name: str, **fields: Any) -> str:
        return str((await self.hers.send(self.conversation, self.new(name), **fields))["messageId"])

    async def edit(self, message_id: str, name: str) -> None:
        await self.hers.edit(message_id, self.new(name))

    async def save_draft(self, name: str) -> None:
        await self.rest("PUT", f"messages/drafts/{self.conversation}", {"content": text(self.new(name))})

    def scheduled(self, name: str) -> dict[str, Any]:
        moment = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        return message_of(self.conversation, self.new(name)) | {"scheduledFor": moment}

    async def upload(self, data: bytes) -> str:
        """`POST media`."""
        headers = {
            "Authorization": f"Bearer {token_of(self.ann, self.phone.device)}",
            "Content-Type": "application/octet-stream",
        }
        asked = urllib.request.Request(f"{self.scene.url(0)}/api/v1/media", data, headers)

        def answered() -> str:
            with urllib.request.urlopen(asked, timeout=20) as response:
                return str(json.loads(response.read())["mediaId"])

        return await asyncio.to_thread(answered)

    async def in_tables(self, name: str) -> list[str]:
        return await database.run(tables_with, self.canaries[name])

    def files_with(self, name: str) -> list[Path]:
        """The media that hold a canary."""
        files = [path for path in self.directory.rglob("*") if path.is_file()]
        return [path for path in files if self.canaries[name] in path.read_bytes()]


@pytest.fixture(scope="module")
def media_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server and the worker keep media."""
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def verbose(model_database: "psycopg.Connection[Any]", media_directory: Path) -> Iterator[Cluster]:
    """A server that logs and traces all that it can."""
    environment = {"WHISPR_MEDIA_DIR": str(media_directory), "WHISPR_TRACE": "all", "WHISPR_LOG_LEVEL": "DEBUG"}
    with Cluster("uvicorn", workers=1, env=environment) as servers:
        yield servers


@pytest.fixture
async def stage(
    verbose: Cluster, model_database: "psycopg.Connection[Any]", media_directory: Path
) -> AsyncIterator[Stage]:
    """The scene; the worker's tasks of this process keep media where the server does."""
    stage = Stage(verbose, model_database, media_directory)
    with override_settings(WHISPR_MEDIA_DIR=media_directory):
        await stage.begin()
        yield stage
    await stage.scene.close()


async def write(stage: Stage) -> tuple[list[str], list[str]]:
    """Say everything, each in its way; the messages to delete, and those whose time is about to end."""
    await stage.send("kept")
    metadata = {"m": stage.new("metadata").decode()}
    gone = [await stage.send("deleted", metadata=metadata)]
    await stage.his.send(stage.conversation, stage.new("reply"), replyTo=gone[0])
    await stage.his.react(gone[0], "a")
    for number in range(EDITS):
        await stage.edit(gone[0], f"edited-{number}")
    many = await stage.send("first")
    for number in range(EDITS):
        await stage.edit(many, f"version-{number}")
    medium = await stage.upload(stage.new("medium"))
    gone.append(await stage.send("medium-key", type="media", mediaId=medium))
    medium = await stage.upload(stage.new("short-medium"))
    short = [await stage.send("short-medium-key", type="media", mediaId=medium, ttl=TTL)]
    short.append(await stage.send("short", ttl=TTL, metadata={"m": stage.new("short-metadata").decode()}))
    await stage.edit(short[-1], "short-edited")
    sent = await stage.hers.send(stage.conversation, stage.new("until-read"), ttl=TTL, ttlStart="read")
    short.append(sent["messageId"])
    assert await stage.in_tables("until-read") == ["messages.content"]
    await stage.his._ok("POST", "acks", {"conversationId": stage.conversation, "upTo": sent["seq"], "status": "read"})
    for name in ("deleted", "metadata", "edited-11", "medium-key", "version-11"):
        assert (await stage.in_tables(name))[0].startswith("messages."), name
    assert len(stage.files_with("medium")) == len(stage.files_with("short-medium")) == 1
    return gone, short


async def write_what_is_not_sent(stage: Stage) -> str:
    """Drafts and scheduled messages, replaced, taken back, become messages; the message to delete."""
    for name in ("draft-replaced", "draft-deleted"):
        await stage.save_draft(name)
        assert await stage.in_tables(name) == ["drafts.content"]
    await stage.rest("DELETE", f"messages/drafts/{stage.conversation}")
    await stage.save_draft("draft-sent")
    await stage.send("kept-of-draft")
    waits = stage.scheduled("cancelled")
    cancelled = await stage.rest("POST", "messages/scheduled", waits)
    assert await stage.in_tables("cancelled") == ["scheduled_messages.request"]
    await stage.rest("DELETE", f"messages/scheduled/{cancelled['id']}")
    fires = await stage.rest("POST", "messages/scheduled", stage.scheduled("rewritten"))
    await stage.rest("PUT", f"messages/scheduled/{fires['id']}", stage.scheduled("fired"))
    await stage.rest("POST", "messages/scheduled", stage.scheduled("kept-waiting"))
    stage.session.execute("UPDATE scheduled_messages SET scheduled_for = now() WHERE id = %s", [fires["id"]])
    await asyncio.to_thread(tasks.send_due_scheduled)
    fired = await stage.rest("GET", f"messages/scheduled/{fires['id']}")
    assert fired["state"] == "sent", fired
    assert await stage.in_tables("fired") == ["messages.content"]
    return str(fired["messageId"])


async def read_everywhere(stage: Stage) -> str:
    """All that Ann is answered about the conversation now."""
    sync = await stage.rest("POST", "sync", {"cursors": {stage.conversation: 0}, "limit": 200})
    history = await stage.rest("GET", f"conversations/{stage.conversation}/messages?limit=200")
    back = await stage.scene.joined(stage.bob, cursors={stage.conversation: 0})
    return json.dumps([sync, history, back.entries])


def programs() -> list[Path]:
    """The `pg_dump`s of this machine."""
    found = [Path(path) for path in [shutil.which("pg_dump")] if path]
    try:
        found.append(find_postgres(os.environ).path / "pg_dump")
    except ServersMissing:
        pass
    return [path for path in found if path.exists()]


def dumped() -> bytes | None:
    """The whole test database as `pg_dump` writes it; None where this machine has none that knows the server."""
    connection.ensure_connection()
    major = connection.connection.info.server_version // 10_000
    for program in programs():
        if major_version(program) >= major:
            done = subprocess.run([program, "--dbname", database_url()], capture_output=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout
    return None


def queue_tasks(queue: str) -> None:
    """Ask for every task over the broker, as the beat does."""
    for task in WORK:
        task.apply_async(queue=queue)  # type: ignore[attr-defined]


async def test_what_is_gone_is_found_nowhere(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    gone, short = await write(stage)
    gone.append(await write_what_is_not_sent(stage))
    clash = message_of(stage.conversation, b"first of its key")
    assert (await stage.phone.ask(stage.phone.inbox, "send_message", clash)).ok
    refused = clash | {"content": text(stage.new("refused"))}
    assert (await stage.phone.ask(stage.phone.inbox, "send_message", refused)).code == "client_random_reused"
    for message_id in gone:
        await stage.hers.delete(message_id, for_everyone=True)

    due = "SELECT count(*) FROM messages WHERE id = ANY(%s::uuid[]) AND expires_at <= clock_timestamp()"
    async with asyncio.timeout(20):
        while stage.scene.rows(due, short) != [(len(short),)]:
            await asyncio.sleep(0.1)
    alive = {"kept", "reply", "first", "kept-of-draft", "kept-waiting"}
    alive |= {f"version-{number}" for number in range(EDITS - KEPT, EDITS)}
    dead = {name: canary for name, canary in stage.canaries.items() if name not in alive}
    answers = (await read_everywhere(stage)).encode()  # the worker has not come yet
    assert [name for name, canary in dead.items() if any(one in answers for one in needles(canary))] == []
    assert any(one in answers for one in needles(stage.canaries["kept"]))

    # A medium that a send just asked for is kept for some seconds.
    stage.session.execute("UPDATE media SET checked_at = checked_at - interval '1 minute'")
    queue = f"canaries-{uuid4()}"
    await asyncio.to_thread(queue_tasks, queue)
    for task in WORK:
        await asyncio.to_thread(task)
    try:
        await search(stage, dead, alive, queue)
    finally:
        with app.connection_for_write() as broker:
            broker.default_channel.queue_delete(queue)  # type: ignore[attr-defined]
    logged = (stage.scene.cluster.workers[0].log(1 << 40) + caplog.text).encode()
    assert b"/api/v1/" in logged or b"DEBUG" in logged
    assert [name for name, canary in stage.canaries.items() if any(one in logged for one in needles(canary))] == []


async def search(stage: Stage, dead: dict[str, bytes], alive: set[str], queue: str) -> None:
    """Tables, media and Redis hold nothing of `dead`; what must be there is found in the same way."""
    for name in dead:
        assert await stage.in_tables(name) == [], name
        assert stage.files_with(name) == [], name
        assert await redis_keys_left(dead[name]) == [], name
    for name in alive:
        assert await stage.in_tables(name), name
    assert await asyncio.to_thread(redis_keys_with, queue.encode())  # the tasks that wait
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    try:
        key = f"canaries-{uuid4()}"
        client.rpush(key, b"a" * 2_000 + stage.canaries["kept"] + b"a" * 2_000)
        assert key.encode() in redis_keys_with(stage.canaries["kept"])  # beside the last entries of its conversation
        client.delete(key)
    finally:
        client.close()
    dump = await database.run(dumped)
    if dump is None:
        print("No pg_dump as new as the server: the dump was not searched.")
        return
    found = {
        name
        for name, canary in stage.canaries.items()
        if any(one in dump or one.hex().encode() in dump for one in needles(canary))
    }
    assert found == alive
