"""`blocks` over REST, and that nothing that a blocked user can ask tells of it (the reliability catalogue row 43)."""

from uuid import uuid4

from tests.messaging.api.client import Client


async def direct(one: Client, other: Client) -> str:
    answer = await one.post("/conversations", {"type": "direct", "members": [other.user]})
    assert answer.status in (200, 201)
    return answer.json["id"]


async def block(one: Client, other: Client) -> None:
    assert (await one.ask("PUT", f"/blocks/{other.user}")).status == 204


async def test_blocks_are_set_listed_and_ended():
    ann, others = Client(), sorted((Client() for _ in range(3)), key=lambda client: client.user, reverse=True)
    for other in (*others, others[0]):
        await block(ann, other)
    page = (await ann.get("/blocks?limit=2")).json
    assert [one["userId"] for one in page["blocks"]] == [str(other.user) for other in others[:2]]
    assert set(page["blocks"][0]) == {"userId", "blockedAt"}
    rest = (await ann.get(f"/blocks?limit=2&cursor={page['next']}")).json
    assert [one["userId"] for one in rest["blocks"]] == [str(others[2].user)]
    assert "next" not in rest
    assert (await others[0].get("/blocks")).json == {"blocks": []}
    for _ in range(2):
        assert (await ann.delete(f"/blocks/{others[0].user}")).status == 204
    assert len((await ann.get("/blocks")).json["blocks"]) == 2


async def test_bad_blocks_are_refused():
    ann = Client()
    assert (await ann.ask("PUT", f"/blocks/{ann.user}")).code == "bad_request"
    assert (await ann.ask("PUT", "/blocks/x")).code == "not_found"
    assert (await ann.get("/blocks?limit=x")).code == "bad_request"
    assert (await ann.get("/blocks?cursor=x")).code == "bad_request"
    assert (await Client(token=None).get("/blocks")).code == "unauthenticated"
    assert (await ann.post("/blocks", {})).status == 405
    assert (await ann.ask("PUT", f"/blocks/{uuid4()}")).status == 204  # nothing tells whether there is such a user


async def test_the_blocked_one_is_answered_as_ever_and_the_blocker_gets_a_blank():
    ann, bob = Client(), Client()
    conversation_id = await direct(ann, bob)
    before = await bob.send(conversation_id, b"before")
    await block(ann, bob)
    after = await bob.send(conversation_id, b"after")
    assert (after.status, set(after.json)) == (before.status, set(before.json))
    assert after.json["seq"] == before.json["seq"] + 1
    page = (await ann.get(f"/conversations/{conversation_id}/messages")).json["messages"]
    assert [(entry["seq"], entry["type"]) for entry in page] == [(1, "system"), (2, "text"), (3, "system")]
    assert (page[2]["metadata"], page[2]["content"]) == ({"event": "withheld"}, "")
    assert page[2]["senderId"] == "00000000-0000-0000-0000-000000000000"
    synced = (await ann.post("/sync", {"cursors": {conversation_id: 2}})).json["conversations"][0]
    assert [entry["metadata"] for entry in synced["messages"]] == [{"event": "withheld"}]
    assert (await ann.get(f"/messages/{after.json['messageId']}")).json["metadata"] == {"event": "withheld"}
    own = (await bob.get(f"/conversations/{conversation_id}/messages")).json["messages"]
    assert [entry["type"] for entry in own] == ["system", "text", "text"]
    delivery = (await bob.get(f"/messages/{after.json['messageId']}/delivery")).json["recipients"]
    assert [(one["userId"], one["status"]) for one in delivery] == [(str(ann.user), "pending")]
    assert (await ann.send(conversation_id)).status == 201


async def test_a_direct_conversation_with_a_blocker_begins_as_any():
    ann, bob, cid = Client(), Client(), Client()
    await block(ann, bob)
    blocked = await bob.post("/conversations", {"type": "direct", "members": [ann.user]})
    other = await cid.post("/conversations", {"type": "direct", "members": [ann.user]})
    assert (blocked.status, set(blocked.json)) == (other.status, set(other.json)) == (201, set(other.json))
    sent = await bob.send(blocked.json["id"], b"hello")
    assert (sent.status, sent.json["seq"]) == (201, 2)
    page = (await ann.get(f"/conversations/{blocked.json['id']}/messages")).json["messages"]
    assert page[-1]["metadata"] == {"event": "withheld"}


async def test_what_the_blocker_acknowledges_is_not_told():
    ann, bob = Client(), Client()
    conversation_id = await direct(ann, bob)
    await bob.send(conversation_id)
    await block(ann, bob)
    sent = (await bob.send(conversation_id)).json
    for status in ("received", "read"):
        assert (
            await ann.post("/acks", {"conversationId": conversation_id, "upTo": sent["seq"], "status": status})
        ).status == 200
    receipts = (await bob.get(f"/conversations/{conversation_id}/receipts")).json["receipts"]
    assert [(one["deliveredSeq"], one["readSeq"]) for one in receipts if one["userId"] == str(ann.user)] == [(0, 0)]
