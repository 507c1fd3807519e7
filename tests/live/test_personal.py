"""Drafts, scheduled messages and traces over running servers: devices are told, a killed worker sends nothing twice."""

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.server import ROOT
from tests.live.client import message_of
from tests.live.server import Scene

FIRE = "import django; django.setup(); from messaging.tasks import send_due_scheduled; print(send_due_scheduled())"


pytestmark = pytest.mark.parametrize("cluster", ["uvicorn"], indirect=True)


def worker_of(scene: Scene) -> "subprocess.Popen[str]":
    """A process that is neither of the servers, and sends what is due."""
    environment = scene.cluster.workers[0]._environment | {"DJANGO_SETTINGS_MODULE": "whispr.settings"}
    return subprocess.Popen(
        [sys.executable, "-c", FIRE],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def fire(scene: Scene) -> int:
    out, err = await asyncio.to_thread(worker_of(scene).communicate, timeout=60)
    assert out.strip().isdigit(), err
    return int(out)


async def schedule(scene: Scene, user: Any, conversation_id: str, seconds: float, **fields: Any) -> Any:
    moment = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    body = message_of(conversation_id, **fields) | {"scheduledFor": moment}
    answer = await scene.rest(user, "POST", "messages/scheduled", body)
    assert answer.status == 201, answer
    return answer.body


async def test_a_users_devices_follow_drafts_and_scheduled_messages(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation = await scene.group(ann, bob)
    phone, tablet = await scene.joined(ann, worker=0), await scene.joined(ann, worker=1)
    other = await scene.joined(bob, worker=1, acks=True)
    path = f"messages/drafts/{conversation}"
    draft = (await scene.rest(ann, "PUT", path, {"content": "AAAA"}, device=phone.device)).body
    await tablet.until(lambda: tablet.events("personal_update"))
    assert tablet.events("personal_update") == [
        {
            "kind": "draft",
            "conversationId": conversation,
            "revision": draft["revision"],
            "content": "AAAA",
            "deviceId": str(phone.device),
        }
    ]
    (await phone.send(conversation)).ok
    await tablet.until(lambda: len(tablet.events("personal_update")) == 2)
    assert tablet.events("personal_update")[1]["content"] is None

    made = await schedule(scene, ann, conversation, 1.0, content=b"later")
    await asyncio.sleep(1.1)
    assert await fire(scene) == 1
    await other.until_seq(conversation, 3)
    for device in (phone, tablet):
        await device.until(lambda device=device: device.events("personal_update")[-1].get("state") == "sent")
        told = [one for one in device.events("personal_update") if one["kind"] == "scheduled"]
        assert [(one["id"], one["state"], one["content"]) for one in told] == [
            (made["id"], "scheduled", None),
            (made["id"], "sent", None),
        ]
    assert other.events("personal_update") == []


async def test_a_trace_tells_which_devices_were_pushed(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation = await scene.group(ann, bob)
    phone = await scene.joined(ann, worker=0)
    devices = [await scene.joined(bob, worker=0, acks=True), await scene.joined(bob, worker=1, acks=True)]
    sent = (await phone.send(conversation, b"canary")).ok
    for device in devices:
        await device.until_seq(conversation, sent["seq"])
    ends = time.monotonic() + 20
    while True:
        trace = (await scene.rest(ann, "GET", f"messages/{sent['messageId']}/trace", device=phone.device)).body
        steps = [step["step"] for step in trace["steps"]]
        if sorted(steps) == ["accepted", "acknowledged", "committed", "published", "pushed", "pushed"]:
            break
        assert time.monotonic() < ends, steps
        await asyncio.sleep(0.2)
    pushed = {step["deviceId"]: step["process"] for step in trace["steps"] if step["step"] == "pushed"}
    assert pushed.keys() == {str(device.device) for device in devices}
    assert len(set(pushed.values())) == 2


async def test_workers_killed_while_they_send_lose_and_double_nothing(scene: Scene) -> None:
    users = [uuid4() for _ in range(4)]
    conversation = await scene.group(*users)
    await asyncio.gather(*(scene.rest(user, "GET", "devices") for user in users))
    made = [await schedule(scene, user, conversation, 3600) for user in users for _ in range(40)]
    with_ids = "id = ANY(%s::uuid[])"
    ids = [one["id"] for one in made]

    def sent() -> int:
        return scene.rows(f"SELECT count(*) FROM scheduled_messages WHERE {with_ids} AND state = 'sent'", ids)[0][0]

    sql = f"UPDATE scheduled_messages SET scheduled_for = now() WHERE {with_ids} RETURNING 1"
    assert len(scene.rows(sql, ids)) == len(ids)
    killed = 0
    while killed < 2:
        worker = worker_of(scene)
        before = sent()
        while worker.poll() is None and sent() == before:
            await asyncio.sleep(0.005)
        worker.kill()
        await asyncio.to_thread(worker.communicate)
        killed += 1
        # As if the lease of what the dead one held had run out.
        scene.rows(f"UPDATE scheduled_messages SET claimed_until = NULL WHERE {with_ids} RETURNING 1", ids)
    await asyncio.gather(fire(scene), fire(scene))
    assert sent() == len(ids)
    stored = scene.rows(
        "SELECT s.id::text, m.seq FROM scheduled_messages s JOIN messages m ON m.id = s.message_id"
        " WHERE m.conversation_id = %s ORDER BY m.seq",
        conversation,
    )
    assert sorted(row[0] for row in stored) == sorted(ids)
    assert [row[1] for row in stored] == list(range(2, len(ids) + 2))
    assert len(scene.log(conversation)) == len(ids) + 1
