"""Scheduled messages over REST: taking, changing and cancelling them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from messaging.models import ScheduledMessage
from messaging.services.scheduled import CLAIM_BATCH, LEASE_SECONDS, claims_fire, scheduled_send_due
from messaging.store import scheduled_firing as firing
from tests.messaging.api.client import Client, message
from whispr.kernel import database
from whispr.kernel.limits import LIMITS


def at(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def schedule(client: Client, conversation: str, seconds: float = 3600, **fields: Any) -> Any:
    answer = await client.post("/messages/scheduled", message(conversation, **fields) | {"scheduledFor": at(seconds)})
    assert answer.status == 201, answer
    return answer.json


async def make_due(*scheduled: Any, seconds: float = 1) -> None:
    """As if the time had come: the tests do not wait for it."""

    def write() -> None:
        moment = datetime.now(UTC) - timedelta(seconds=seconds)
        ScheduledMessage.objects.filter(id__in=[one["id"] for one in scheduled]).update(scheduled_for=moment)

    await database.run(write)


async def log_of(client: Client, conversation: str) -> list[tuple[int, str]]:
    page = (await client.get(f"/conversations/{conversation}/messages")).json
    return [(entry["seq"], entry["content"]) for entry in page["messages"] if entry["type"] != "system"]


async def row_of(scheduled: Any) -> ScheduledMessage:
    return await database.run(ScheduledMessage.objects.get, id=scheduled["id"])


# --- taking


async def test_a_send_for_later_waits_and_is_its_authors_alone():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    body = message(conversation, b"later", metadata={"k": 1}, ttl=60) | {"scheduledFor": at(3600)}
    made = await ann.post("/messages/scheduled", body)
    assert made.status == 201
    expected = {"state": "scheduled", "reason": None, "messageId": None, "content": "bGF0ZXI=", "ttl": 60}
    assert made.json.items() >= (expected | {"conversationId": conversation, "deviceId": str(ann.device)}).items()
    assert datetime.fromisoformat(made.json["scheduledFor"]) == datetime.fromisoformat(body["scheduledFor"])
    path = f"/messages/scheduled/{made.json['id']}"
    assert (await ann.get(path)).json == made.json
    assert (await ann.get("/messages/scheduled")).json == {"scheduled": [made.json]}
    assert (await bob.get("/messages/scheduled")).json == {"scheduled": []}
    absent = await bob.get(f"/messages/scheduled/{uuid4()}")
    for method, value in (("GET", None), ("PUT", {"scheduledFor": at(60)}), ("DELETE", None)):
        foreign = await bob.ask(method, path, value)
        assert (foreign.code, foreign.body) == ("not_found", absent.body)
    assert await scheduled_send_due() == 0
    assert await log_of(bob, conversation) == []


@pytest.mark.parametrize(
    ("when", "code"),
    [
        (lambda: at(-1), "bad_request"),
        (lambda: at(10 * 366 * 24 * 3600), "bad_request"),
        (lambda: "2030-01-01T00:00:00", "bad_request"),
        (lambda: "tomorrow", "bad_request"),
        (lambda: 1893456000, "bad_request"),
        (lambda: None, "bad_request"),
    ],
)
async def test_times_that_are_none(when, code):
    ann = Client()
    conversation = await ann.group()
    answer = await ann.post("/messages/scheduled", message(conversation) | {"scheduledFor": when()})
    assert answer.code == code
    made = await schedule(ann, conversation)
    answer = await ann.ask("PUT", f"/messages/scheduled/{made['id']}", {"scheduledFor": when()})
    assert answer.code == code
    assert await database.run(ScheduledMessage.objects.count) == 1


async def test_the_gate_of_a_send_stands_here_too():
    ann, eve = Client(), Client()
    conversation = await ann.group()

    async def code(client: Client, **fields: Any) -> str:
        body = message(conversation) | {"scheduledFor": at(60)} | fields
        return (await client.post("/messages/scheduled", body)).code

    assert await code(eve) == "not_found"
    assert await code(ann, conversationId=uuid4()) == "not_found"
    assert await code(ann, content="") == "bad_request"
    assert await code(ann, content="A" * (LIMITS.content_bytes * 4 // 3 + 8)) == "too_large"
    assert await code(ann, type="reaction", target=uuid4()) == "bad_request"
    assert await code(ann, type="system") in ("bad_request", "forbidden")
    assert await code(ann, signature="AAAA") == "invalid_signature"
    assert await code(ann, membersVersion=77) == "stale_membership"
    assert await database.run(ScheduledMessage.objects.count) == 0


async def test_one_key_is_one_message():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    body = message(conversation, b"once") | {"scheduledFor": at(60)}
    first, again = [await ann.post("/messages/scheduled", body) for _ in range(2)]
    assert (first.status, again.status, again.json) == (201, 200, first.json)
    other = await ann.post("/messages/scheduled", body | {"content": "eHh4"})
    assert (other.status, other.code) == (409, "client_random_reused")
    sent = message(conversation, b"now")
    assert (await ann.post("/messages", sent)).status == 201
    assert (await ann.post("/messages/scheduled", sent | {"scheduledFor": at(60)})).code == "client_random_reused"
    await make_due(first.json)
    assert await scheduled_send_due() == 1
    late = await ann.post("/messages/scheduled", body)
    assert (late.status, late.json["state"]) == (200, "sent")
    del body["scheduledFor"]
    assert (await ann.post("/messages", body)).json["status"] == "duplicate"
    assert len(await log_of(bob, conversation)) == 2


async def test_a_hundred_wait_and_no_more():
    ann = Client()
    conversation = await ann.group()
    made = await schedule(ann, conversation)
    template = await row_of(made)

    def fill() -> None:
        rows = []
        for number in range(LIMITS.scheduled_per_user - 1):
            row = ScheduledMessage.objects.get(id=template.id)
            row.id, row.client_random = uuid4(), 10_000_000 + number
            rows.append(row)
        ScheduledMessage.objects.bulk_create(rows)

    await database.run(fill)
    body = message(conversation) | {"scheduledFor": at(60)}
    full = await ann.post("/messages/scheduled", body)
    assert (full.code, full.json["details"]) == ("bad_request", {"max": LIMITS.scheduled_per_user})
    page = (await ann.get("/messages/scheduled?limit=70")).json
    rest = (await ann.get(f"/messages/scheduled?limit=70&cursor={page['next']}")).json
    found = [one["id"] for one in page["scheduled"] + rest["scheduled"]]
    assert len(found) == len(set(found)) == LIMITS.scheduled_per_user
    assert "next" not in rest
    assert (await ann.delete(f"/messages/scheduled/{made['id']}")).status == 204
    assert (await ann.post("/messages/scheduled", body)).status == 201


# --- changing and cancelling


async def test_what_waits_can_change():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    made = await schedule(ann, conversation, text=b"old")
    path = f"/messages/scheduled/{made['id']}"
    moved = (await ann.ask("PUT", path, {"scheduledFor": at(7200)})).json
    assert moved["scheduledFor"] > made["scheduledFor"]
    assert moved["content"] == made["content"]
    tablet = Client(user=ann.user)
    new = message(conversation, b"new")
    changed = (await tablet.ask("PUT", path, new)).json
    assert (changed["content"], changed["clientRandom"]) == ("bmV3", new["clientRandom"])
    assert (changed["deviceId"], changed["scheduledFor"]) == (str(tablet.device), moved["scheduledFor"])
    assert (await ann.ask("PUT", path, {})).code == "bad_request"
    elsewhere = await ann.group()
    assert (await ann.ask("PUT", path, message(elsewhere))).code == "bad_request"
    await make_due(made)
    await scheduled_send_due()
    assert [content for _, content in await log_of(bob, conversation)] == ["bmV3"]
    assert (await ann.ask("PUT", path, {"scheduledFor": at(60)})).code == "edit_conflict"
    assert (await ann.delete(path)).code == "edit_conflict"


async def test_cancelled_is_never_sent():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    made = await schedule(ann, conversation)
    await make_due(made)
    claims = await database.run(firing.scheduled_claim, CLAIM_BATCH, LEASE_SECONDS)
    assert [claim.id for claim in claims] == [UUID(made["id"])]
    assert (await ann.delete(f"/messages/scheduled/{made['id']}")).status == 204
    await claims_fire(claims)  # the worker had it in its hands already
    assert await log_of(bob, conversation) == []
    assert (await ann.get(f"/messages/scheduled/{made['id']}")).code == "not_found"


async def test_a_change_overtakes_the_worker_that_holds_the_old_content():
    ann, bob = Client(), Client()
    await bob.get("/devices")  # known before: a device that comes later would hold the message
    conversation = await ann.group(bob)
    made = await schedule(ann, conversation, text=b"old")
    await make_due(made)
    claims = await database.run(firing.scheduled_claim, CLAIM_BATCH, LEASE_SECONDS)
    await ann.ask("PUT", f"/messages/scheduled/{made['id']}", message(conversation, b"new") | {"scheduledFor": at(60)})
    await claims_fire(claims)
    assert await log_of(bob, conversation) == []
    await make_due(made)
    await scheduled_send_due()
    assert [content for _, content in await log_of(bob, conversation)] == ["bmV3"]


async def test_sync_tells_what_waits():
    ann = Client()
    conversation = await ann.group()
    made = await schedule(ann, conversation)
    personal = (await ann.post("/sync")).json["personal"]
    assert personal["scheduled"] == [made | {"content": None, "metadata": None}]


async def test_scheduling_and_changing_count_as_sends(monkeypatch):
    ann = Client()
    conversation = await ann.group()
    monkeypatch.setattr("trust.services.quota.LIMITS", replace(LIMITS, sends_per_minute=3))
    assert (await ann.send(conversation)).status == 201
    made = await schedule(ann, conversation)
    path = f"/messages/scheduled/{made['id']}"
    assert (await ann.ask("PUT", path, message(conversation))).status == 200
    for refused in (
        await ann.post("/messages/scheduled", message(conversation) | {"scheduledFor": at(60)}),
        await ann.ask("PUT", path, message(conversation)),
        await ann.send(conversation),
    ):
        assert (refused.status, refused.code) == (429, "rate_limited")
        assert "retry-after" in refused.headers
    assert (await ann.ask("PUT", path, {"scheduledFor": at(60)})).status == 200
    await make_due(made)
    assert await scheduled_send_due() == 1
    assert len(await log_of(ann, conversation)) == 2
