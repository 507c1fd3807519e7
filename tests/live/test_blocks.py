"""A block on running servers: nothing of the blocked one arrives, and nothing tells of it (the reliability catalogue
I16)."""

import asyncio
import base64
from collections.abc import Awaitable
from typing import Any
from uuid import UUID, uuid4

from tests.live.client import Client, Reply
from tests.live.server import Scene

CANARY = b"the canary of a blocked sender"


async def direct(scene: Scene, one: UUID, other: UUID) -> str:
    answer = await scene.rest(one, "POST", "conversations", {"type": "direct", "members": [str(other)]})
    assert answer.status in (200, 201), answer
    return answer.body["id"]


async def block(scene: Scene, one: UUID, other: UUID, *, worker: int = 0) -> None:
    assert (await scene.rest(one, "PUT", f"blocks/{other}", worker=worker)).status == 204


async def ok(asked: Awaitable[Reply]) -> None:
    assert (await asked).status == "ok"


def blank(entry: dict[str, Any]) -> bool:
    return entry["type"] == "system" and entry["metadata"] == {"event": "withheld"} and entry["content"] == ""


def canaries(client: Client) -> int:
    return sum(base64.b64encode(CANARY).decode() in str(push.payload) for push in client.pushes)


async def test_live_and_on_return_the_blocker_gets_blanks_without_a_hole(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await direct(scene, ann, bob)
    sender, other_device = await scene.joined(bob, worker=0), await scene.joined(bob, worker=1)
    readers = [await scene.joined(ann, worker=n) for n in range(2)]
    before = (await sender.send(conversation_id, b"before")).ok
    await block(scene, ann, bob, worker=1)
    sent = [(await sender.send(conversation_id, CANARY)).ok for _ in range(3)]
    assert {frozenset(one) for one in sent} == {frozenset(before)}
    answer = await scene.rest(ann, "DELETE", f"blocks/{bob}")
    assert answer.status == 204
    await ok(sender.send(conversation_id, b"after"))
    late = await scene.joined(ann, worker=0)
    for reader in (*readers, late):
        await reader.until_seq(conversation_id, 6)
        await reader.heartbeat()
        entries = reader.entries[conversation_id]
        assert [entry["seq"] for entry in entries] == [1, 2, 3, 4, 5, 6]
        assert [blank(entry) for entry in entries] == [False, False, True, True, True, False]
        assert canaries(reader) == 0
    await other_device.until_seq(conversation_id, 6)
    assert [base64.b64decode(entry["content"]) for entry in other_device.entries[conversation_id]] == [
        b"", b"before", CANARY, CANARY, CANARY, b"after",
    ]  # fmt: skip


async def test_catching_up_leaves_the_live_ones_their_own_view(scene: Scene) -> None:
    """Blocker and blocked on one process, each joining while the other is sent to: a feed is shared, a view is not."""
    ann, bob = uuid4(), uuid4()
    conversation_id = await direct(scene, ann, bob)
    await block(scene, ann, bob)
    sender = await scene.joined(bob, worker=1)
    clients: list[Client] = []

    async def send() -> None:
        for _ in range(40):
            await ok(sender.send(conversation_id, CANARY))

    async def come() -> None:
        for user in (ann, bob) * 6:
            clients.append(await scene.joined(user, worker=0, acks=True))  # noqa: PERF401 - one after the other

    await asyncio.gather(send(), come())
    for client in clients:
        await client.until_seq(conversation_id, 41)
        entries = client.entries[conversation_id][1:]
        assert [entry["seq"] for entry in entries] == list(range(2, 42))
        assert {blank(entry) for entry in entries} == {client.user == ann}
        assert canaries(client) == (40 if client.user == bob else 0)


async def test_typing_receipts_and_presence_do_not_pass_between_the_two(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await direct(scene, ann, bob)
    topic = f"conversation:{conversation_id}"
    hers, his = await scene.joined(ann, worker=0), await scene.joined(bob, worker=1)
    await ok(his.send(conversation_id))
    await hers.until_seq(conversation_id, 2)
    for client in (hers, his):
        await ok(client.join(topic))
    await his.until(lambda: str(ann) in str(his.events("presence_state", topic) + his.events("presence_diff", topic)))
    await block(scene, ann, bob)
    for client in (hers, his):  # each is told that nobody is there any more, or that the other one left
        await client.until(lambda c=client: c.events("presence_state", topic)[-1:] == [{}])
    for client in (hers, his):
        client.pushes.clear()
    await ok(his.send(conversation_id, CANARY))
    await ok(hers.send(conversation_id, b"hers"))
    await hers.until_seq(conversation_id, 3)
    await his.until_seq(conversation_id, 4)
    for client in (hers, his):
        assert (await client.ask(client.inbox, "typing", {"conversationId": conversation_id, "active": True})).ok == {}
        assert (await client.ack(conversation_id, 4 if client is his else 3)).ok == {}
        assert (await client.ack(conversation_id, 4 if client is his else 3, "message_read")).ok == {}
    # A message in a group that both are in comes after all of that on every way between the processes.
    group = await scene.group(ann, bob)
    for client in (hers, his):
        await client.until_seq(group, 1)
        await client.heartbeat()
        told = {push.event for push in client.pushes}
        assert told <= {"new_message", "read_status_update"}, told
        assert {one["recipientId"] for one in client.events("read_status_update")} <= {str(client.user)}
        assert client.events("typing") == client.events("delivery_status_update") == []
    assert canaries(hers) == 0


async def test_a_group_delivers_as_ever(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    group = await scene.group(ann, bob)
    await block(scene, ann, bob)
    hers, his = await scene.joined(ann, worker=0), await scene.joined(bob, worker=1)
    await ok(his.send(group, CANARY))
    await hers.until_seq(group, 2)
    assert canaries(hers) == 1


async def test_settings_of_the_blocked_one_reach_nobody(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await direct(scene, ann, bob)
    reader, writer, other_device = await scene.joined(ann), await scene.joined(bob), await scene.joined(bob, worker=1)
    await block(scene, ann, bob)
    path = f"conversations/{conversation_id}"
    answer = await scene.rest(bob, "PATCH", path, {"settings": {"canary": CANARY.decode(), "ttl": 60}}, worker=1)
    assert (answer.status, answer.body["settings"]["canary"]) == (200, CANARY.decode())
    assert (await writer.send(conversation_id, CANARY)).ok["expiresAt"]
    for client, seq in ((reader, 3), (writer, 2), (other_device, 3)):  # the writer has its own from the reply
        await client.until_seq(conversation_id, seq)
        await client.heartbeat()
    assert [blank(entry) for entry in reader.entries[conversation_id]] == [False, True, True]
    assert CANARY.decode() not in str(reader.pushes)
    told = [entry["metadata"].get("event") for entry in other_device.entries[conversation_id]]
    assert told == ["conversation_created", "conversation_updated", None]
    assert (await scene.rest(ann, "GET", path)).body["settings"] == {}
    for route in (f"{path}/messages", "conversations"):
        assert CANARY.decode() not in str((await scene.rest(ann, "GET", route)).body)
    assert (await scene.rest(bob, "GET", path)).body["settings"]["ttl"] == 60
