"""Deleting over REST: a tombstone without residue for everyone, out of sight for oneself."""

import asyncio
import base64
from typing import Any
from uuid import uuid4

from messaging.models import HiddenMessage, MediaLink, Message, Reaction
from tests.messaging.api.client import RANDOMS, Client
from tests.messaging.api.test_drafts import Listener
from tests.residue import recent_keys_delete, redis_keys_left, tables_with
from whispr.kernel import database

CANARY = b"canary-of-what-was-said-0123456789"


def text(value: bytes) -> str:
    return base64.b64encode(value).decode()


async def raw(client: Client, conversation: str) -> list[dict[str, Any]]:
    """The log as a new device synchronises it."""
    page = (await Client(user=client.user).post("/sync", {"cursors": {}, "limit": 200})).json
    return next((one["messages"] for one in page["conversations"] if one["id"] == conversation), [])


async def history(client: Client, conversation: str) -> list[dict[str, Any]]:
    return (await client.get(f"/conversations/{conversation}/messages?limit=200")).json["messages"]


async def said(ann: Client, bob: Client, conversation: str) -> str:
    """A message with everything that a message can have, each with a canary in it."""
    key = CANARY.decode()
    sent = (await ann.send(conversation, CANARY + b"-text", metadata={key: key})).json["messageId"]
    body = {"content": text(CANARY + b"-edit"), "clientRandom": next(RANDOMS), "metadata": {"k": key}}
    assert (await ann.ask("PUT", f"/messages/{sent}", body)).status == 200
    assert (await bob.post(f"/messages/{sent}/reactions", {"emoji": "🦜"})).status == 201
    assert (await bob.send(conversation, b"an answer", replyTo=sent)).status == 201
    return sent


async def test_deleted_for_everyone_it_is_a_tombstone_without_residue():
    await asyncio.to_thread(recent_keys_delete)
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    sent = await said(ann, bob, conversation)
    await database.run(
        lambda: (
            MediaLink.objects.create(media_id="m", message_id=sent, conversation_id=conversation),
            Message.objects.filter(id=sent).update(media_id="canary-media"),
        )
    )
    assert await database.run(tables_with, CANARY) == ["messages.content", "messages.metadata"]
    answer = await ann.delete(f"/messages/{sent}?for_everyone=true")
    assert (answer.status, answer.json) == (200, {"messageId": sent})
    assert await database.run(tables_with, CANARY) == []
    assert await database.run(tables_with, b"canary-media") == []
    assert await redis_keys_left(CANARY) == []
    assert await database.run(tables_with, "🦜".encode()) == []
    assert await database.run(Reaction.objects.count) == 0
    # The link's row waits for the media service to hear that it is gone.
    assert await database.run(MediaLink.objects.filter(removed_at__isnull=True).count) == 0
    for entries in (await raw(bob, conversation), await history(bob, conversation), await history(ann, conversation)):
        assert [one["seq"] for one in entries] == [1, 2, 3, 4, 5, 6]
        assert [(one["type"], one["content"], one["metadata"], one["target"]) for one in entries[1:4]] == [
            ("text", "", {}, None),
            ("edit", "", {}, sent),
            ("reaction", "", {}, sent),
        ]
        assert (entries[4]["replyTo"], entries[5]["type"], entries[5]["senderId"]) == (sent, "system", str(ann.user))
        assert entries[5]["metadata"] == {"event": "message_deleted", "messageId": sent, "by": str(ann.user)}
        assert not any("edit" in one or "reactions" in one or one["mediaId"] for one in entries)
    view = await bob.get(f"/messages/{sent}")
    assert (view.status, view.json["content"], view.json["editedAt"]) == (200, "", None)


async def test_deleting_again_changes_nothing():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    sent = (await ann.send(conversation)).json["messageId"]
    for _ in range(3):
        answer = await ann.delete(f"/messages/{sent}?for_everyone=true")
        assert (answer.status, answer.json) == (200, {"messageId": sent})
    assert len(await raw(bob, conversation)) == 3
    # Its key still answers for it, and cannot bring it back.
    (row,) = await database.run(lambda: list(Message.objects.filter(id=sent)))
    again = await ann.send(conversation, clientRandom=row.client_random)
    assert (again.status, again.json["status"], again.json["messageId"]) == (200, "duplicate", sent)
    assert (await ann.get(f"/messages/{sent}")).json["content"] == ""


async def test_who_may_delete_what():
    ann, bob, eve = Client(), Client(), Client()
    conversation = await ann.group(bob)
    sent = (await ann.send(conversation)).json["messageId"]
    body = {"content": "eA==", "clientRandom": next(RANDOMS)}
    edit = (await ann.ask("PUT", f"/messages/{sent}", body)).json["messageId"]
    refused = await bob.delete(f"/messages/{sent}?for_everyone=true")
    assert (refused.status, refused.code) == (403, "forbidden")
    for flag in ("true", "false"):
        foreign = await eve.delete(f"/messages/{sent}?for_everyone={flag}")
        absent = await eve.delete(f"/messages/{uuid4()}?for_everyone={flag}")
        assert (foreign.status, foreign.body) == (404, absent.body)
        refused = await ann.delete(f"/messages/{edit}?for_everyone={flag}")
        assert (refused.status, refused.code) == (422, "invalid_target")
    for bad in ("1", "TRUE", "", "yes"):
        refused = await ann.delete(f"/messages/{sent}?for_everyone={bad}")
        assert (refused.status, refused.code) == (400, "bad_request")
    await ann.delete(f"/conversations/{conversation}/members/{ann.user}")
    assert (await ann.delete(f"/messages/{sent}?for_everyone=true")).status == 404
    assert (await bob.get(f"/messages/{sent}")).json["content"] == "eA=="


async def test_deleted_for_oneself_it_is_gone_on_all_own_devices_alone():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    sent = await said(ann, bob, conversation)
    before = await raw(ann, conversation)
    with Listener(bob) as bobs, Listener(ann) as anns:
        for _ in range(2):
            answer = await bob.delete(f"/messages/{sent}")
            assert (answer.status, answer.json) == (200, {"messageId": sent})
    assert (bobs.pushed, anns.pushed) == ([{"kind": "hidden", "messageIds": [sent]}], [])
    assert [one["seq"] for one in await history(bob, conversation)] == [1, 5]
    assert (await bob.get(f"/messages/{sent}")).status == 404
    assert (await bob.get(f"/messages/{sent}/reactions")).status == 404
    assert (await bob.post(f"/messages/{sent}/reactions", {"emoji": "x"})).status == 404
    # The log has no hole for his other devices, and no content of it either.
    entries = await raw(bob, conversation)
    assert [(one["seq"], one["content"], one["metadata"]) for one in entries[1:4]] == [
        (2, "", {}),
        (3, "", {}),
        (4, "", {}),
    ]
    assert [one["seq"] for one in entries] == [1, 2, 3, 4, 5]
    page = (await bob.post("/sync", {"cursors": {conversation: 5}})).json
    assert (page["complete"], page["personal"]["hidden"]) == (True, [sent])
    # For the others nothing changed.
    assert await raw(ann, conversation) == before
    assert (await ann.get(f"/messages/{sent}")).json["content"] == text(CANARY + b"-edit")
    assert (await ann.post("/sync", {})).json["personal"]["hidden"] == []
    assert await database.run(HiddenMessage.objects.count) == 1


async def test_history_pages_pass_over_what_is_hidden():
    ann = Client()
    conversation = await ann.group()
    ids = [(await ann.send(conversation)).json["messageId"] for _ in range(6)]
    for hidden in (ids[1], ids[2], ids[5]):
        await ann.delete(f"/messages/{hidden}")
    page = (await ann.get(f"/conversations/{conversation}/messages?limit=2")).json
    assert ([one["seq"] for one in page["messages"]], page["hasMore"]) == ([5, 6], True)
    page = (await ann.get(f"/conversations/{conversation}/messages?limit=2&before=5")).json
    assert ([one["seq"] for one in page["messages"]], page["hasMore"]) == ([1, 2], False)


async def test_the_author_learns_where_it_is_erased():
    ann, bob, cid = Client(), Client(), Client()
    tablet = Client(user=bob.user)
    conversation = await ann.group(bob, cid)
    sent = (await ann.send(conversation)).json
    path = f"/messages/{sent['messageId']}/delivery"
    assert "erasure" not in (await ann.get(path)).json
    await cid.get("/devices")

    async def ack(client: Client, seq: int) -> None:
        assert (await client.post("/acks", {"conversationId": conversation, "upTo": seq})).status == 200

    await ack(bob, 2)
    await ack(tablet, 2)
    await ack(ann, 2)
    await ann.delete(f"/messages/{sent['messageId']}?for_everyone=true")
    assert (await ann.get(path)).json["erasure"] == {"reached": 2, "erased": 0}
    await ack(tablet, 3)
    assert (await ann.get(path)).json["erasure"] == {"reached": 2, "erased": 1}
    # A device that comes to its place only now never had it.
    await ack(cid, 3)
    assert (await ann.get(path)).json["erasure"] == {"reached": 2, "erased": 1}
    await ack(bob, 3)
    assert (await ann.get(path)).json["erasure"] == {"reached": 2, "erased": 2}
    assert (await bob.get(path)).status == 404
