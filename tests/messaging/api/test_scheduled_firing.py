"""The firing of scheduled messages, on real tables: once, in time, or not at all."""

import asyncio
import base64
import threading
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.db import connection, transaction
from nacl.signing import SigningKey

from messaging.devices import UpdateDevice
from messaging.events import Actor
from messaging.models import Draft, Message, ScheduledMessage, SendKey
from messaging.services import scheduled
from messaging.services.devices import device_register_seen, device_revoke, device_update
from messaging.services.scheduled import CLAIM_BATCH, claims_fire, scheduled_send_due
from messaging.store import scheduled_firing as firing
from tests.messaging.api.client import Client, message
from tests.messaging.api.test_scheduled import at, log_of, make_due, row_of, schedule
from whispr.kernel import database


async def test_a_due_message_is_sent_once_and_its_content_leaves_the_row():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    made, later = await schedule(ann, conversation, text=b"due"), await schedule(ann, conversation)
    await make_due(made)
    assert sum(await asyncio.gather(*(scheduled_send_due() for _ in range(5)))) == 1
    ((seq, content),) = await log_of(bob, conversation)
    assert content == "ZHVl"
    row = (await ann.get(f"/messages/scheduled/{made['id']}")).json
    entry = (await bob.get(f"/messages/{row['messageId']}")).json
    assert (row["state"], row["content"], row["metadata"]) == ("sent", None, None)
    assert (entry["seq"], entry["senderId"], entry["senderDeviceId"]) == (seq, str(ann.user), str(ann.device))
    assert entry["clientRandom"] == made["clientRandom"]
    assert bytes((await row_of(made)).request) == b""
    assert [one["id"] for one in (await ann.get("/messages/scheduled")).json["scheduled"]] == [later["id"]]


async def test_many_due_at_once_are_all_sent_once():
    ann, bob = Client(), Client()
    conversations = [await ann.group(bob) for _ in range(3)]
    made = [await schedule(ann, conversations[n % 3]) for n in range(30)]
    await make_due(*made)
    await asyncio.gather(*(scheduled_send_due() for _ in range(4)))
    for conversation in conversations:
        assert [seq for seq, _ in await log_of(bob, conversation)] == list(range(2, 12))
    assert await database.run(SendKey.objects.filter(sender_id=ann.user).count) == 30


async def test_a_dead_workers_claims_are_taken_over():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    made = await schedule(ann, conversation)
    await make_due(made)
    held = await database.run(firing.scheduled_claim, CLAIM_BATCH, 0.05)
    assert len(held) == 1
    await asyncio.sleep(0.1)
    assert await scheduled_send_due() == 1
    await claims_fire(held)  # it was not dead, only slow
    assert len(await log_of(bob, conversation)) == 1


async def test_a_removed_author_sends_nothing():
    ann, bob = Client(), Client()
    conversation = await bob.group(ann)
    made = await schedule(ann, conversation)
    assert (await bob.delete(f"/conversations/{conversation}/members/{ann.user}")).status == 204
    await make_due(made)
    await scheduled_send_due()
    row = (await ann.get(f"/messages/scheduled/{made['id']}")).json
    assert (row["state"], row["reason"]) == ("failed", "not_found")
    assert await log_of(bob, conversation) == []
    assert (await ann.delete(f"/messages/scheduled/{made['id']}")).status == 204


async def test_a_revoked_device_sends_nothing():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    made = await schedule(ann, conversation)
    other = Client(user=ann.user)
    assert (await other.get("/devices")).status == 200
    await device_revoke(Actor(ann.user, other.device), ann.device)
    await make_due(made)
    await scheduled_send_due()
    row = (await other.get(f"/messages/scheduled/{made['id']}")).json
    assert (row["state"], row["reason"]) == ("failed", "unauthenticated")
    assert await log_of(bob, conversation) == []


def new_key() -> str:
    """A public key for either use."""
    return base64.b64encode(bytes(SigningKey.generate().verify_key)).decode()


async def device_keys_set(client: Client, **keys: str) -> None:
    await device_update(Actor(client.user, client.device), client.device, UpdateDevice(**keys))


async def test_keys_of_before_and_the_same_keys_again_hold_nothing_back():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    await bob.get("/devices")
    keys = {"public_key": new_key(), "encryption_key": new_key()}
    await device_keys_set(bob, **keys)
    made = await schedule(ann, conversation)
    await device_keys_set(bob, **keys, name="phone")
    await make_due(made)
    await scheduled_send_due()
    assert (await ann.get(f"/messages/scheduled/{made['id']}")).json["state"] == "sent"


@pytest.mark.parametrize(
    "change", ["member added", "device added", "device revoked", "encryption key", "signing key", "own key"]
)
async def test_what_was_encrypted_for_others_is_held(change):
    ann, bob, tab = Client(), Client(), Client()
    conversation = await ann.group(bob)
    old = Client(user=bob.user)
    await asyncio.gather(bob.get("/devices"), old.get("/devices"))
    made = await schedule(ann, conversation)
    if change == "member added":
        await ann.post(f"/conversations/{conversation}/members", {"userIds": [tab.user]})
    elif change == "device added":
        await device_register_seen(bob.user, uuid4())
    elif change == "encryption key":
        await device_keys_set(old, encryption_key=new_key())
    elif change == "signing key":
        await device_keys_set(old, public_key=new_key())
    elif change == "own key":
        await device_keys_set(ann, encryption_key=new_key())
    else:
        await device_revoke(Actor(bob.user, bob.device), old.device)
    await make_due(made)
    await scheduled_send_due()
    path = f"/messages/scheduled/{made['id']}"
    row = (await ann.get(path)).json
    assert (row["state"], row["reason"], row["content"]) == ("needs_reencrypt", "stale_membership", made["content"])
    assert await scheduled_send_due() == 0
    assert (await ann.ask("PUT", path, {"scheduledFor": at(60)})).json["state"] == "needs_reencrypt"
    fresh = await ann.ask("PUT", path, message(conversation, b"for all"))
    assert fresh.json["state"] == "scheduled"
    await make_due(made)
    await scheduled_send_due()
    assert [content for _, content in await log_of(bob, conversation)] == ["Zm9yIGFsbA=="]


async def test_a_target_that_is_gone_fails_visibly():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    target = (await ann.send(conversation)).json["messageId"]
    made = await schedule(ann, conversation, replyTo=target)
    await database.run(Message.objects.filter(id=target).update, is_deleted=True)
    await make_due(made)
    await scheduled_send_due()
    (row,) = (await ann.get("/messages/scheduled")).json["scheduled"]
    assert (row["state"], row["reason"]) == ("failed", "invalid_target")


async def test_a_busy_conversation_delays_its_own_message_alone():
    ann, bob = Client(), Client()
    await bob.get("/devices")  # known before: a device that comes later would hold the message
    busy, free = await ann.group(bob), await ann.group(bob)
    made = [await schedule(ann, busy), await schedule(ann, free)]
    await make_due(*made)
    locked, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM conversations WHERE id = %s FOR NO KEY UPDATE", [busy])
            locked.set()
            let_go.wait(10)

    holder = asyncio.get_running_loop().run_in_executor(None, database.call, hold)
    await asyncio.to_thread(locked.wait, 5)
    await scheduled_send_due()
    assert len(await log_of(bob, free)) == 1
    waiting = await row_of(made[0])
    assert (waiting.state, waiting.reason) == ("scheduled", "temporary_unavailable")
    assert waiting.claimed_until is not None
    let_go.set()
    await holder
    await database.run(ScheduledMessage.objects.filter(id=made[0]["id"]).update, claimed_until=None)
    await scheduled_send_due()
    assert len(await log_of(bob, busy)) == 1


async def test_firing_leaves_a_draft_alone_and_scheduling_takes_it():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    await ann.ask("PUT", f"/messages/drafts/{conversation}", {"content": "AAAA"})
    made = await schedule(ann, conversation)
    assert await database.run(Draft.objects.count) == 0
    await ann.ask("PUT", f"/messages/drafts/{conversation}", {"content": "BBBB"})
    await make_due(made)
    await scheduled_send_due()
    assert len(await log_of(bob, conversation)) == 1
    assert await database.run(Draft.objects.count) == 1


def test_a_fault_is_not_tried_for_ever():
    claim = firing.Claim(uuid4(), datetime.now(UTC), uuid4(), None, None, 1, 1, False)
    assert firing.verdict_of(claim, RuntimeError()).state == "scheduled"
    tired = replace(claim, attempts=firing.FAULTS_MAX)
    assert firing.verdict_of(tired, RuntimeError()) == firing.Verdict(
        tired, "failed", "internal_error", 0.0, "RuntimeError"
    )


async def test_the_pushes_of_a_scheduled_message_are_asked_for_as_of_any_other(monkeypatch):
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    rung: list[bool] = []
    monkeypatch.setattr(scheduled, "pushes_soon", lambda: rung.append(True))
    assert await scheduled_send_due() == 0
    assert rung == []
    planned = await ann.post("/messages/scheduled", message(conversation, b"later") | {"scheduledFor": at(60)})
    await make_due(planned.json)
    assert await scheduled_send_due() == 1
    assert rung == [True]
