"""Ephemeral messages: unreadable from their moment on every route, erased by the worker, told by one entry."""

import asyncio
import base64
from datetime import datetime, timedelta
from typing import Any

import pytest

from messaging.models import Message
from messaging.services.expiry import messages_expire
from messaging.store import expiry
from tests.messaging.api.client import RANDOMS, Client
from tests.messaging.api.test_deletions import CANARY, history, raw, said
from tests.residue import recent_keys_delete, redis_keys_left, tables_with
from whispr.kernel import database
from whispr.kernel.limits import LIMITS

DAY = timedelta(days=1)


async def stored(**where: Any) -> list[Message]:
    return await database.run(lambda: list(Message.objects.filter(**where).order_by("seq")))


async def make_due(*message_ids: str) -> None:
    """The moment of these messages has come, and that of what belongs to them."""

    def change() -> None:
        for message_id in message_ids:
            message = Message.objects.get(id=message_id)
            past = message.sent_at - DAY
            Message.objects.filter(id=message_id).update(expires_at=past)
            Message.objects.filter(target_id=message_id).update(expires_at=past)

    await database.run(change)


def moment(value: str) -> datetime:
    return datetime.fromisoformat(value)


async def test_a_real_ttl_passes_without_any_worker():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    sent = (await ann.send(conversation, CANARY, type="ephemeral", ttl=1)).json
    assert moment(sent["expiresAt"]) - moment(sent["sentAt"]) == timedelta(seconds=1)
    body = {"content": base64.b64encode(CANARY).decode(), "clientRandom": next(RANDOMS)}
    await ann.ask("PUT", f"/messages/{sent['messageId']}", body)
    assert [one["content"] != "" for one in await raw(bob, conversation)] == [False, True, True]
    await asyncio.sleep(1.1)
    for entries in (await raw(bob, conversation), await history(bob, conversation), await history(ann, conversation)):
        assert [(one["content"], one["metadata"]) for one in entries[1:]] == [("", {}), ("", {})]
    assert (await bob.get(f"/messages/{sent['messageId']}")).json["content"] == ""
    refused = await bob.send(conversation, replyTo=sent["messageId"])
    assert (refused.status, refused.code) == (422, "invalid_target")


async def test_the_worker_erases_and_tells_in_one_entry():
    await asyncio.to_thread(recent_keys_delete)
    ann, bob = Client(), Client()
    conversation, other = await ann.group(bob), await ann.group(bob)
    ids = [await said(ann, bob, conversation), await said(ann, bob, conversation)]
    lone = (await ann.send(other, CANARY, ttl=60)).json["messageId"]
    kept = (await ann.send(other, b"kept", ttl=600)).json["messageId"]
    await make_due(*ids, lone)
    assert await database.run(tables_with, CANARY) == ["messages.content", "messages.metadata"]
    assert await messages_expire() == 3
    assert await database.run(tables_with, CANARY) == []
    assert await redis_keys_left(CANARY) == []
    entries = await raw(bob, conversation)
    assert [one["seq"] for one in entries] == list(range(1, 11))
    last = entries[-1]
    assert (last["type"], last["metadata"]) == ("system", {"event": "message_expired", "messageIds": ids})
    assert last["senderId"] == "00000000-0000-0000-0000-000000000000"
    assert (await raw(bob, other))[-1]["metadata"] == {"event": "message_expired", "messageIds": [lone]}
    assert (await bob.get(f"/messages/{kept}")).json["content"] == base64.b64encode(b"kept").decode()
    # Again, and by several at once, nothing is done twice.
    assert await messages_expire() == 0
    assert len(await stored(message_type="system")) == 4


async def test_two_workers_at_once_tell_once():
    ann = Client()
    conversations = [await ann.group() for _ in range(4)]
    ids = [(await ann.send(one, CANARY, ttl=60)).json["messageId"] for one in conversations for _ in range(3)]
    await make_due(*ids)
    await asyncio.gather(*(messages_expire() for _ in range(4)))
    assert await database.run(tables_with, CANARY) == []
    told = [one.metadata["messageIds"] for one in await stored(message_type="system", seq__gt=1)]
    assert sorted(one for ids_told in told for one in ids_told) == sorted(ids)
    assert len(told) == 4


async def test_many_at_once_are_told_in_entries_of_a_bounded_size(monkeypatch):
    monkeypatch.setattr(expiry, "MESSAGES_PER_ENTRY", 2)
    ann = Client()
    conversation = await ann.group()
    ids = [(await ann.send(conversation, ttl=60)).json["messageId"] for _ in range(5)]
    await make_due(*ids)
    await messages_expire()
    told = [one.metadata["messageIds"] for one in await stored(message_type="system", seq__gt=1)]
    assert [len(one) for one in told] == [2, 2, 1]
    assert [one for ids_told in told for one in ids_told] == ids


async def test_an_expired_message_that_is_deleted_first_is_told_once():
    ann = Client()
    conversation = await ann.group()
    sent = (await ann.send(conversation, CANARY, ttl=60)).json["messageId"]
    await make_due(sent)
    assert (await ann.delete(f"/messages/{sent}?for_everyone=true")).status == 200
    assert await messages_expire() == 0
    events = [one.metadata["event"] for one in await stored(conversation=conversation, message_type="system")]
    assert events == ["conversation_created", "message_deleted"]


async def test_the_author_learns_where_an_expired_message_is_erased():
    ann, bob, cid = Client(), Client(), Client()
    conversation = await ann.group(bob, cid)
    sent = (await ann.send(conversation, ttl=60)).json["messageId"]
    await bob.post("/acks", {"conversationId": conversation, "upTo": 2})
    await make_due(sent)
    assert (await ann.get(f"/messages/{sent}/delivery")).json["erasure"] == {"reached": 1, "erased": 0}
    await messages_expire()
    await cid.post("/acks", {"conversationId": conversation, "upTo": 3})
    assert (await ann.get(f"/messages/{sent}/delivery")).json["erasure"] == {"reached": 1, "erased": 0}
    await bob.post("/acks", {"conversationId": conversation, "upTo": 3})
    assert (await ann.get(f"/messages/{sent}/delivery")).json["erasure"] == {"reached": 1, "erased": 1}


async def test_a_ttl_from_the_reading_waits_a_week_at_most_and_starts_with_the_first_reader():
    ann, bob, cid = Client(), Client(), Client()
    conversation = await ann.group(bob, cid)
    sent = (await ann.send(conversation, ttl=60, ttlStart="read")).json
    assert moment(sent["expiresAt"]) - moment(sent["sentAt"]) == 7 * DAY
    view = (await bob.get(f"/messages/{sent['messageId']}")).json
    assert (view["ttlAfterRead"], view["expiresAt"]) == (60, sent["expiresAt"])
    reaction = (await bob.post(f"/messages/{sent['messageId']}/reactions", {"emoji": "x"})).json
    assert reaction["expiresAt"] == sent["expiresAt"]
    # Received is not read, and the author's own reading does not count.
    await bob.post("/acks", {"conversationId": conversation, "upTo": 3})
    assert (await ann.post(f"/messages/{sent['messageId']}/read")).status == 200
    assert (await bob.get(f"/messages/{sent['messageId']}")).json["expiresAt"] == sent["expiresAt"]
    await bob.patch("/settings", {"readReceipts": False})  # told or not
    assert (await bob.post(f"/messages/{sent['messageId']}/read")).status == 200
    started = (await cid.get(f"/messages/{sent['messageId']}")).json
    assert "ttlAfterRead" not in started
    assert timedelta(seconds=0) < moment(started["expiresAt"]) - moment(sent["sentAt"]) - timedelta(seconds=60) < DAY
    await asyncio.sleep(0.01)
    assert (await cid.post(f"/messages/{sent['messageId']}/read")).status == 200
    assert (await cid.get(f"/messages/{sent['messageId']}")).json["expiresAt"] == started["expiresAt"]
    (row,) = await stored(id=reaction["messageId"])
    assert row.expires_at == moment(started["expiresAt"])
    body = {"content": "eA==", "clientRandom": next(RANDOMS)}
    edit = (await ann.ask("PUT", f"/messages/{sent['messageId']}", body)).json
    assert edit["expiresAt"] == started["expiresAt"]


async def test_who_joined_later_does_not_start_the_time_of_what_they_cannot_see():
    ann, bob = Client(), Client()
    conversation = await ann.group()
    sent = (await ann.send(conversation, ttl=60, ttlStart="read")).json
    await ann.post(f"/conversations/{conversation}/members", {"userIds": [bob.user]})
    assert (await bob.post("/acks", {"conversationId": conversation, "upTo": 3, "status": "read"})).status == 200
    assert (await ann.get(f"/messages/{sent['messageId']}")).json["ttlAfterRead"] == 60


async def test_the_conversations_timer_is_for_messages_that_bring_no_ttl():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    assert (await ann.patch(f"/conversations/{conversation}", {"settings": {"ttl": 3600}})).status == 200
    plain = (await bob.send(conversation)).json
    assert moment(plain["expiresAt"]) - moment(plain["sentAt"]) == timedelta(hours=1)
    own = (await bob.send(conversation, ttl=60)).json
    assert moment(own["expiresAt"]) - moment(own["sentAt"]) == timedelta(minutes=1)
    reading = (await bob.send(conversation, ttl=60, ttlStart="read")).json
    assert moment(reading["expiresAt"]) - moment(reading["sentAt"]) == 7 * DAY
    body = {"content": "eA==", "clientRandom": next(RANDOMS)}
    assert (await bob.ask("PUT", f"/messages/{plain['messageId']}", body)).json["expiresAt"] == plain["expiresAt"]
    assert (await ann.patch(f"/conversations/{conversation}", {"settings": {"ttl": None}})).status == 200
    assert "expiresAt" not in (await bob.send(conversation)).json


@pytest.mark.parametrize("ttl", [0, -1, 1.5, "60", True, LIMITS.ttl_max_seconds + 1, [], {}])
async def test_a_bad_timer_is_refused(ttl: Any):
    ann = Client()
    conversation = await ann.group()
    refused = await ann.patch(f"/conversations/{conversation}", {"settings": {"ttl": ttl}})
    assert (refused.status, refused.code) == (400, "bad_request")
    body = {"type": "group", "members": [], "settings": {"ttl": ttl}}
    assert (await ann.post("/conversations", body)).code == "bad_request"
    assert "expiresAt" not in (await ann.send(conversation)).json


@pytest.mark.parametrize(
    "fields",
    [
        {"ttl": 0},
        {"ttl": -5},
        {"ttl": LIMITS.ttl_max_seconds + 1},
        {"ttl": 1.5},
        {"ttl": 9, "ttlStart": "never"},
        {"type": "ephemeral"},
    ],
)
async def test_a_bad_ttl_is_refused(fields: dict[str, Any]):
    ann = Client()
    conversation = await ann.group()
    refused = await ann.send(conversation, **fields)
    assert (refused.status, refused.code) == (400, "bad_request")
    assert len(await stored(conversation=conversation)) == 1


async def test_a_deleted_conversations_messages_are_erased_in_silence():
    ann = Client()
    conversation = await ann.group()
    sent = (await ann.send(conversation, CANARY, ttl=60)).json["messageId"]
    assert (await ann.delete(f"/conversations/{conversation}")).status == 204
    await make_due(sent)
    await messages_expire()
    assert await database.run(tables_with, CANARY) == []
    assert [one.seq for one in await stored(conversation=conversation)] == [1, 2, 3]
