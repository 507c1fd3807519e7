"""The way of a message: what all messages have, what some processes noted, and nobody else's to see."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from delivery.models import TraceEvent
from delivery.services.trace import traces_purge
from delivery.store.trace import TraceRow, trace_insert, trace_purge
from messaging.events import Entry
from messaging.fanout import trace
from messaging.fanout.news import EncodedEntry
from tests.messaging.api.client import Client, message
from whispr.kernel import database
from whispr.kernel.limits import LIMITS


@pytest.fixture(autouse=True)
def _settings(settings, transactional_db, monkeypatch):
    settings.WHISPR_JWT_ALGORITHMS = ["HS256"]
    settings.WHISPR_JWT_SECRET = "a secret for tests, of more than 32 bytes"
    settings.WHISPR_SIGNATURES = "optional"
    monkeypatch.setattr(trace, "every", 1)
    monkeypatch.setattr(trace, "FLUSH_SECONDS", 0.05)


async def steps_of(client: Client, message_id: str) -> list[tuple[str, str | None]]:
    answer = await client.get(f"/messages/{message_id}/trace")
    assert answer.status == 200, answer
    times = [step["at"] for step in answer.json["steps"]]
    assert times == sorted(times)
    return [(step["step"], step.get("process")) for step in answer.json["steps"]]


async def flushed() -> None:
    await asyncio.sleep(0.1)
    while trace._recorders.get().waiting:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.1)


async def test_the_way_of_a_message():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    body = message(conversation, b"canary", metadata={"k": "canary"})
    sent = (await ann.post("/messages", body)).json
    await ann.post("/messages", body)
    await bob.post(f"/messages/{sent['messageId']}/read")
    await flushed()
    found = await steps_of(ann, sent["messageId"])
    here = trace.PROCESS
    assert found[0] == ("accepted", None)
    assert sorted(found[1:]) == sorted(
        [("committed", here), ("published", here), ("retried", here), ("acknowledged", None), ("read", None)]
    )
    answer = await ann.get(f"/messages/{sent['messageId']}/trace")
    assert (answer.json["conversationId"], answer.json["seq"]) == (conversation, sent["seq"])
    assert b"canary" not in answer.body
    steps = {step["step"]: step for step in answer.json["steps"]}
    assert steps["read"]["userId"] == steps["acknowledged"]["userId"] == str(bob.user)
    foreign, absent = [await bob.get(f"/messages/{id_}/trace") for id_ in (sent["messageId"], uuid4())]
    assert (foreign.code, foreign.body) == ("not_found", absent.body)


async def test_without_any_notes_the_tables_still_tell(monkeypatch):
    monkeypatch.setattr(trace, "every", 0)
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    sent = (await ann.send(conversation)).json
    await bob.post("/acks", {"conversationId": conversation, "upTo": sent["seq"]})
    await flushed()
    assert await database.run(TraceEvent.objects.count) == 0
    assert [step for step, _ in await steps_of(ann, sent["messageId"])] == ["accepted", "committed", "acknowledged"]


def entry_with(message_id: UUID) -> EncodedEntry:
    values: dict[str, Any] = dict.fromkeys(Entry.__struct_fields__)
    values |= {
        "message_id": message_id,
        "conversation_id": uuid4(),
        "seq": 1,
        "sender_id": uuid4(),
        "type": "text",
        "content": b"x",
        "metadata": msgspec.Raw(b"{}"),
        "sent_at": datetime.now(UTC),
    }
    return EncodedEntry.of(Entry(**values))


async def test_one_of_256_is_kept_by_all_processes_alike(monkeypatch):
    monkeypatch.setattr(trace, "every", 256)
    chosen = UUID(int=uuid4().int & ~0xFF)
    other = UUID(int=chosen.int | 0x10)
    device = uuid4()
    for id_ in (chosen, other):
        trace.record(id_, "committed")
        trace.record_entry(entry_with(id_).payload, "pushed", device)
    await flushed()
    rows = await database.run(lambda: list(TraceEvent.objects.values_list("message_id", "step", "device_id")))
    assert sorted(rows) == sorted([(chosen, "committed", None), (chosen, "pushed", device)])


async def test_what_does_not_fit_is_dropped(monkeypatch):
    monkeypatch.setattr(trace, "WAITING_MAX", 3)
    for _ in range(10):
        trace.record(uuid4(), "committed")
    assert len(trace._recorders.get().waiting) == 3
    await flushed()


async def test_old_steps_are_purged_and_no_others():
    now = datetime.now(UTC)
    old = now - timedelta(seconds=LIMITS.trace_retention + 60)
    rows = [TraceRow(uuid4(), "pushed", at, "p", None) for at in (old, old, now)]
    await database.run(trace_insert, rows)
    assert await database.run(trace_purge, LIMITS.trace_retention, 1) == 1
    assert await traces_purge() == 1
    kept = await database.run(lambda: list(TraceEvent.objects.values_list("message_id", flat=True)))
    assert kept == [rows[2].message_id]
