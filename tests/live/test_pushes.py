"""Pushes by the whole system: a server, a worker and a notification service, each a process of its own.

There is no beat here: what is pushed at once was asked for by the server.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO, Any
from uuid import UUID, uuid4

import pytest
from celery import Celery

from tests.e2e.server import spawn
from tests.live.client import Client
from tests.live.server import Cluster, Scene
from tests.own_redis import OwnRedis
from whispr.embedded.processes import worker

STARTED_SECONDS = 40.0
HEALED_SECONDS = 30.0  # the reliability catalogue I22
TOKEN = "push-token-to-keep"


class Process:
    """A process whose output is kept, to be killed and started again."""

    def __init__(self, command: list[str], environment: dict[str, str], ready: str) -> None:
        self.command, self.environment, self.ready = command, environment, ready
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        self._environment = self.environment | environment
        self._from = self.log.seek(0, os.SEEK_END)
        self.process = spawn(self.command, self._environment, self.log)

    @property
    def text(self) -> str:
        """What was written, over all starts."""
        return os.pread(self.log.fileno(), os.fstat(self.log.fileno()).st_size, 0).decode(errors="replace")

    async def until_ready(self) -> None:
        await until(lambda: self.ready in self.text.encode()[self._from :].decode(errors="replace"), STARTED_SECONDS)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()


async def until(holds: Callable[[], Any], seconds: float = HEALED_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.05)


class Town:
    """The system with its notification service; `pushes` is what the service would have shown."""

    def __init__(self, directory: Path) -> None:
        self.redis = OwnRedis()
        self.redis.start()
        self.push_log, self.control = directory / "pushes", directory / "control.json"
        self.push_log.touch()
        self.mode("ok")
        environment = {
            "REDIS_URL": self.redis.url,
            "WHISPR_PUSH_GRACE_SECONDS": "1",
            "WHISPR_PUSH_WINDOW_SECONDS": "1",
            "WHISPR_PUSH_LEASE_SECONDS": "3",
            "WHISPR_ALLOW_FAILPOINTS": "1",
            "WHISPR_LOG_LEVEL": "INFO",
            "WHISPR_TRACE": "all",
        }
        self.cluster = Cluster("uvicorn", workers=1, env=environment)
        environment = dict(self.cluster.workers[0]._environment)
        command = [sys.executable, "manage.py", "run_services", "notifications"]
        command += ["--push-log", str(self.push_log), "--control", str(self.control)]
        self.service = Process(command, environment, "WHISPR_NOTIFICATION_SERVICE=")
        self.worker = Process(worker(beat=False, threads=2), environment, " ready.")
        self.celery = Celery(broker=self.redis.url)
        self.celery.conf.broker_transport_options = {"global_keyprefix": "whispr-celery-"}

    async def start(self) -> None:
        self.service.start()
        await self.service.until_ready()
        line = next(line for line in self.service.text.splitlines() if line.startswith(self.service.ready))
        self.worker.environment["WHISPR_NOTIFICATION_SERVICE"] = line.partition("=")[2]
        self.worker.start()
        await asyncio.to_thread(self.cluster.start)
        await self.worker.until_ready()

    def mode(self, mode: str) -> None:
        """How the service behaves from a moment later on."""
        beside = self.control.with_suffix(".new")
        beside.write_text(json.dumps({"notifications": mode}))
        beside.replace(self.control)

    def ring(self) -> None:
        """What the beat does every two seconds."""
        self.celery.send_task("delivery.tasks.send_pushes", queue="push")

    async def until_ringing(self, holds: Callable[[], Any]) -> None:
        """Until it holds, with a beat."""
        async with asyncio.timeout(HEALED_SECONDS):
            while not holds():
                await asyncio.to_thread(self.ring)
                await asyncio.sleep(0.5)

    def pushes(self, conversation_id: str, user: UUID | None = None) -> list[dict[str, Any]]:
        """What was shown of a conversation."""
        found = [json.loads(line) for line in self.push_log.read_text().splitlines()]
        return [
            push for push in found if push["conversationId"] == conversation_id and user in (None, UUID(push["userId"]))
        ]

    def close(self) -> None:
        self.worker.kill()
        self.service.kill()
        self.cluster.kill()
        self.celery.close()
        self.redis.close()


@pytest.fixture(scope="module")
def town(live_database: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    town = Town(tmp_path_factory.mktemp("pushes"))
    try:
        asyncio.run(town.start())
        yield town
    finally:
        town.close()


@pytest.fixture
async def scene(town: Town) -> AsyncIterator[Scene]:
    town.cluster.faults()
    town.mode("ok")
    if not town.worker.is_running:
        town.worker.start()
        await town.worker.until_ready()
    scene = Scene(town.cluster)
    yield scene
    await scene.close()
    assert town.cluster.faults() == ""
    for log in (town.worker.text, town.service.text, town.cluster.log()):
        assert TOKEN not in log


async def pair(scene: Scene) -> tuple[Client, UUID, str, UUID]:
    """Ann's socket; Bob, who is away, their conversation and his phone, which has a push token."""
    ann, bob, phone = uuid4(), uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    body = {"pushToken": f"{TOKEN}-{phone}", "platform": "android", "name": "phone"}
    assert (await scene.rest(bob, "GET", "settings", device=phone)).status == 200
    assert (await scene.rest(bob, "PATCH", f"devices/{phone}", body, device=phone)).status == 200
    return await scene.joined(ann, acks=True), bob, conversation_id, phone


async def test_who_is_away_is_told_and_it_is_cleared_when_it_was_read_elsewhere(town: Town, scene: Scene) -> None:
    ann, bob, chat, phone = await pair(scene)
    sent = (await ann.send(chat)).ok
    await until(lambda: town.pushes(chat))
    (push,) = town.pushes(chat)
    assert (push["kind"], push["userId"], push["count"], push["badge"]) == ("KIND_MESSAGE", str(bob), 1, 1)
    assert (push["messageIds"], push["devices"]) == ([sent["messageId"]], [str(phone)])
    steps = "SELECT count(*) FROM trace_events WHERE message_id = %s AND step = 'notified'"
    await until(lambda: scene.rows(steps, sent["messageId"]) == [(1,)])
    trace = (await scene.rest(ann.user, "GET", f"messages/{sent['messageId']}/trace", device=ann.device)).body
    assert "notified" in [step["step"] for step in trace["steps"]]
    laptop = await scene.joined(bob)
    await laptop.until_seq(chat, sent["seq"])
    (await laptop.ack(chat, sent["seq"], "message_read")).ok
    await town.until_ringing(lambda: len(town.pushes(chat)) > 1)
    assert [(push["kind"], push["devices"]) for push in town.pushes(chat)] == [
        ("KIND_MESSAGE", [str(phone)]),
        ("KIND_CLEAR", [str(phone)]),
    ]


async def test_who_acknowledges_is_not_told_and_who_leaves_without_is(town: Town, scene: Scene) -> None:
    ann, bob, chat, _ = await pair(scene)
    there, silent = await scene.joined(bob, acks=True), uuid4()
    first = (await ann.send(chat)).ok
    await there.until_seq(chat, first["seq"])
    await there.heartbeat()
    await there.close()
    holds = await scene.joined(bob, silent)
    second = (await ann.send(chat)).ok
    await holds.until_seq(chat, second["seq"])
    await asyncio.sleep(2.5)  # past the grace: he is there, and has time
    await asyncio.to_thread(town.ring)
    await asyncio.sleep(1)
    assert town.pushes(chat) == []
    holds.connection.transport.abort()  # without a word
    await until(lambda: town.pushes(chat))  # armed by the socket's end, without a beat
    assert [push["messageIds"] for push in town.pushes(chat)] == [[second["messageId"]]]


async def test_after_an_outage_one_push_tells_all_and_none_of_what_was_read(town: Town, scene: Scene) -> None:
    ann, _, chat, _ = await pair(scene)
    eve, bob, other, _ = await pair(scene)
    town.mode("gone")
    await asyncio.sleep(0.5)
    for _ in range(3):
        (await ann.send(chat)).ok
        await asyncio.sleep(1.2)
        await asyncio.to_thread(town.ring)
    read = (await eve.send(other)).ok
    laptop = await scene.joined(bob)
    (await laptop.ack(other, read["seq"], "message_read")).ok
    await laptop.close()
    assert town.pushes(chat) == []
    town.mode("ok")
    await town.until_ringing(lambda: town.pushes(chat))
    await asyncio.sleep(2)
    await asyncio.to_thread(town.ring)
    await asyncio.sleep(1)
    assert [push["count"] for push in town.pushes(chat)] == [3]
    assert town.pushes(other) == []


@pytest.mark.parametrize("place", ["push.before_send", "push.after_send"])
async def test_a_worker_killed_on_the_way_loses_no_push_and_shows_none_twice(
    town: Town, scene: Scene, place: str
) -> None:
    town.worker.kill()
    town.worker.start(WHISPR_FAILPOINTS=f"{place}:kill")
    await town.worker.until_ready()
    ann, _, chat, _ = await pair(scene)
    sent = (await ann.send(chat)).ok
    await until(lambda: not town.worker.is_running)
    town.worker.kill()
    assert len(town.pushes(chat)) == (place == "push.after_send")
    town.worker.start()
    await town.until_ringing(lambda: town.pushes(chat))
    rows = "SELECT count(*) FROM push_states WHERE conversation_id = %s AND is_shown AND claimed_until IS NULL"
    await town.until_ringing(lambda: scene.rows(rows, chat) == [(1,)])
    assert [push["messageIds"] for push in town.pushes(chat)] == [[sent["messageId"]]]


async def test_a_dead_token_is_forgotten(town: Town, scene: Scene) -> None:
    ann, bob, chat, phone = await pair(scene)
    body = {"pushToken": f"dead-{TOKEN}"}
    assert (await scene.rest(bob, "PATCH", f"devices/{phone}", body, device=phone)).status == 200
    (await ann.send(chat)).ok
    await until(lambda: scene.rows("SELECT push_token FROM devices WHERE id = %s", phone) == [("",)])
    devices = (await scene.rest(bob, "GET", "devices", device=phone)).body["devices"]
    assert [device["hasPushToken"] for device in devices if device["id"] == str(phone)] == [False]
