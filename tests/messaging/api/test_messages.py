"""Sending, reading back and acknowledging over REST, from the gate to PostgreSQL."""

import base64
from typing import Any
from uuid import uuid4

from tests.messaging.api.client import Client, message


async def test_a_send_is_durable_and_a_repeat_a_duplicate():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    body = message(conversation, b"hello", metadata={"k": [1, "x"]})
    first, again = await ann.post("/messages", body), await ann.post("/messages", body)
    assert (first.status, first.json["status"], first.json["seq"]) == (201, "sent", 2)
    assert (again.status, again.json) == (200, first.json | {"status": "duplicate"})
    seen = (await bob.get(f"/messages/{first.json['messageId']}")).json
    assert seen == {
        "messageId": first.json["messageId"],
        "conversationId": conversation,
        "seq": 2,
        "senderId": str(ann.user),
        "senderDeviceId": str(ann.device),
        "type": "text",
        "content": base64.b64encode(b"hello").decode(),
        "metadata": {"k": [1, "x"]},
        "replyTo": None,
        "target": None,
        "mediaId": None,
        "clientRandom": body["clientRandom"],
        "sentAt": first.json["sentAt"],
        "editedAt": None,
        "expiresAt": None,
        "signature": None,
    }
    reused = await ann.post("/messages", body | {"content": "eHh4"})
    assert (reused.status, reused.code) == (409, "client_random_reused")
    assert (await bob.get(f"/conversations/{conversation}")).json["lastSeq"] == 2


async def test_what_a_client_may_not_set_is_ignored():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    forged: dict[str, Any] = {
        "senderId": bob.user,
        "seq": 99,
        "id": uuid4(),
        "messageId": uuid4(),
        "sentAt": "2020-01-01T00:00:00Z",
    }
    sent = await ann.send(conversation, **forged, isDeleted=True, expiresAt="2020-01-01T00:00:00Z")
    seen = (await bob.get(f"/messages/{sent.json['messageId']}")).json
    assert (seen["senderId"], seen["seq"], seen["expiresAt"]) == (str(ann.user), 2, None)
    assert sent.json["messageId"] != str(forged["messageId"])


async def test_history_is_paged_by_seq():
    ann = Client()
    conversation = await ann.group()
    for _ in range(5):
        assert (await ann.send(conversation)).status == 201

    async def seqs(query: str) -> tuple[list[int], bool]:
        page = (await ann.get(f"/conversations/{conversation}/messages{query}")).json
        return [entry["seq"] for entry in page["messages"]], page["hasMore"]

    assert await seqs("") == ([1, 2, 3, 4, 5, 6], False)
    assert await seqs("?limit=2") == ([5, 6], True)
    assert await seqs("?limit=2&before=5") == ([3, 4], True)
    assert await seqs("?limit=2&after=0") == ([1, 2], True)
    assert await seqs("?after=4") == ([5, 6], False)
    assert await seqs("?limit=0") == await seqs("?limit=-1") == await seqs("?limit=1") == ([6], True)
    assert await seqs("?limit=1000000000") == await seqs(f"?limit={10**30}") == ([1, 2, 3, 4, 5, 6], False)
    assert await seqs(f"?after={2**63 - 1}") == ([], False)


async def test_delivery_is_told_to_the_sender_alone():
    ann, bob, cid = Client(), Client(), Client()
    conversation = await ann.group(bob, cid)
    sent = (await ann.send(conversation)).json
    path = f"/messages/{sent['messageId']}"
    first, second = sorted([bob, cid], key=lambda client: client.user)

    async def delivery() -> list[tuple]:
        answer = (await ann.get(f"{path}/delivery")).json
        assert answer["messageId"] == sent["messageId"]
        return [
            (row["userId"], row["status"], row["deliveredAt"] is not None, row["readAt"] is not None)
            for row in answer["recipients"]
        ]

    assert await delivery() == [(str(first.user), "pending", False, False), (str(second.user), "pending", False, False)]
    acked = await first.post("/acks", {"conversationId": conversation, "upTo": 2})
    assert (acked.status, acked.json) == (200, {})
    assert (await second.post(f"{path}/read")).json == {}
    assert await delivery() == [(str(first.user), "delivered", True, False), (str(second.user), "read", True, True)]
    for stranger in (bob, Client()):
        assert (await stranger.get(f"{path}/delivery")).code == "not_found"
    receipts = (await ann.get(f"/conversations/{conversation}/receipts")).json["receipts"]
    found = {row["userId"]: (row["deliveredSeq"], row["readSeq"]) for row in receipts}
    assert (found[str(first.user)], found[str(second.user)]) == ((2, 0), (2, 2))
    unread = [(await client.get(f"/conversations/{conversation}")).json["unread"] for client in (ann, first, second)]
    assert unread == [0, 1, 0]


async def test_a_silent_reader_tells_nobody():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    assert (await bob.patch("/settings", {"readReceipts": False})).json["readReceipts"] is False
    sent = (await ann.send(conversation)).json
    assert (await bob.post(f"/messages/{sent['messageId']}/read")).status == 200
    (row,) = (await ann.get(f"/messages/{sent['messageId']}/delivery")).json["recipients"]
    assert (row["status"], row["readAt"]) == ("delivered", None)
    receipts = {
        r["userId"]: r["readSeq"] for r in (await ann.get(f"/conversations/{conversation}/receipts")).json["receipts"]
    }
    assert receipts[str(bob.user)] == 0
    own = {
        r["userId"]: r["readSeq"] for r in (await bob.get(f"/conversations/{conversation}/receipts")).json["receipts"]
    }
    assert own[str(bob.user)] == 2


async def test_foreign_messages_are_not_there():
    ann, eve = Client(), Client()
    conversation = await ann.group()
    sent = (await ann.send(conversation)).json
    for method, tail in (("GET", ""), ("POST", "/read"), ("GET", "/delivery")):
        foreign = await eve.ask(method, f"/messages/{sent['messageId']}{tail}")
        absent = await eve.ask(method, f"/messages/{uuid4()}{tail}")
        assert foreign.code == "not_found", (method, tail)
        assert foreign.body == absent.body
    to_foreign, to_absent = await eve.send(conversation), await eve.send(str(uuid4()))
    assert (to_foreign.status, to_foreign.code) == (404, "not_found")
    assert to_foreign.body == to_absent.body


async def test_sync_gives_what_the_device_lacks():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    await ann.send(conversation)
    page = (await bob.post("/sync")).json
    assert page["complete"] is True
    assert [(c["id"], c["lastSeq"], [e["seq"] for e in c["messages"]]) for c in page["conversations"]] == [
        (conversation, 2, [1, 2])
    ]
    page = (await bob.post("/sync", {"cursors": {conversation: 1}})).json
    assert [e["seq"] for c in page["conversations"] for e in c["messages"]] == [2]
