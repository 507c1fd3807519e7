"""Presence, last seen and typing (docs/protocol.md §5 "Presence and typing")."""

import asyncio
import time
from uuid import uuid4

import psycopg

from tests.e2e.server import database_url
from tests.live.client import Client
from tests.live.people import direct_of, members_of, set_settings, settle
from tests.live.server import Scene


async def test_online_and_last_seen_are_shown_to_who_shares_them(scene: Scene) -> None:
    ann, bob, cid = uuid4(), uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob, cid)
    async with asyncio.timeout(20):
        client = await scene.joined(bob, worker=1)
        seen = await members_of(scene, ann, conversation_id)
        assert seen[str(bob)]["online"] is True
        assert seen[str(bob)]["lastSeen"] is not None
        assert seen[str(cid)]["online"] is False
        assert "lastSeen" not in seen[str(cid)]  # never there
        await client.close()
        while (await members_of(scene, ann, conversation_id))[str(bob)]["online"]:
            await asyncio.sleep(0.1)
    await set_settings(scene, bob, shareLastSeen=False)
    seen = await members_of(scene, ann, conversation_id)
    assert not {"online", "lastSeen"} & seen[str(bob)].keys()
    assert {"online", "lastSeen"} <= seen[str(ann)].keys()
    assert not {"online", "lastSeen"} & (await members_of(scene, bob, conversation_id))[str(ann)].keys()
    await set_settings(scene, bob, shareLastSeen=True)
    assert (await scene.rest(bob, "PUT", f"blocks/{ann}")).status in (200, 201, 204)
    for viewer, other in ((ann, bob), (bob, ann)):
        assert not {"online", "lastSeen"} & (await members_of(scene, viewer, conversation_id))[str(other)].keys()


async def test_the_end_of_a_socket_is_when_its_user_was_last_there(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    client = await scene.joined(bob)
    at_connect = (await members_of(scene, ann, conversation_id))[str(bob)]["lastSeen"]
    await asyncio.sleep(1.1)
    await client.close()
    async with asyncio.timeout(20):
        while (await members_of(scene, ann, conversation_id))[str(bob)]["lastSeen"] == at_connect:
            await asyncio.sleep(0.1)
    assert (await members_of(scene, ann, conversation_id))[str(bob)]["lastSeen"] > at_connect


async def test_a_block_ends_presence_and_typing_in_the_direct_conversation(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await direct_of(scene, ann, bob)
    topic = f"conversation:{conversation_id}"
    here, there = await scene.joined(ann), await scene.joined(bob, worker=1)
    for client in (here, there):
        assert (await client.join(topic)).ok
        await client.until(lambda client=client: client.events("presence_state"))
    await here.until(lambda: any(str(bob) in diff["joins"] for diff in here.events("presence_diff")))

    async def type_(client: Client) -> None:
        assert (await client.ask(client.inbox, "typing", {"conversationId": conversation_id, "active": True})).ok == {}

    await type_(there)
    await here.until(lambda: here.events("typing"))
    assert (await scene.rest(ann, "PUT", f"blocks/{bob}")).status in (200, 201, 204)
    for client in (here, there):
        await client.until(lambda client=client: {} in client.events("presence_state", topic))
    await settle(here, there)
    await here.until(lambda: here.events("typing")[-1]["active"] is False)
    marks = [(len(client.events("typing")), len(client.events("presence_diff"))) for client in (here, there)]
    await type_(there)
    await type_(here)
    again = await scene.joined(bob)
    assert (await again.join(topic)).ok
    await again.until(lambda: again.events("presence_state"))
    await settle(here, there, again)
    assert again.events("presence_state") == [{}]
    assert [(len(client.events("typing")), len(client.events("presence_diff"))) for client in (here, there)] == marks
    # Unblocked, they see each other again, without joining anew.
    assert (await scene.rest(ann, "DELETE", f"blocks/{bob}")).status == 204
    for client, other in ((here, bob), (there, ann)):
        await client.until(
            lambda client=client, other=other: (
                str(other) in client.events("presence_state", topic)[-1]
                or any(str(other) in diff["joins"] for diff in client.events("presence_diff")[-3:])
            )
        )


async def test_typing_is_coalesced_and_ends_with_the_send_with_the_socket_and_by_itself(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    here, there = await scene.joined(ann), await scene.joined(bob, worker=1)

    async def type_(active: bool = True) -> None:
        assert (await here.ask(here.inbox, "typing", {"conversationId": conversation_id, "active": active})).ok == {}

    def shown() -> list[bool]:
        assert {(one["conversationId"], one["userId"]) for one in there.events("typing")} <= {
            (conversation_id, str(ann))
        }
        return [one["active"] for one in there.events("typing")]

    started = time.monotonic()
    for _ in range(20):
        await type_()
    await there.until(shown)
    await settle(there)
    if time.monotonic() - started < 2:
        assert shown() == [True]
    sent = (await here.send(conversation_id)).ok
    await there.until(lambda: shown()[-1] is False)
    assert sent["seq"] in there.seqs(conversation_id)
    await type_()
    await there.until(lambda: shown()[-1] is True)
    count = len(shown())
    await there.until(lambda: len(shown()) > count, 20)  # nothing renews it
    assert shown()[-1] is False
    await type_()
    await there.until(lambda: shown()[-1] is True)
    await here.close()
    await there.until(lambda: shown()[-1] is False)
    assert here.events("typing") == []


async def test_a_typing_flood_is_refused_and_costs_no_sends(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    here, there = await scene.joined(ann), await scene.joined(bob, worker=1)
    asked = [
        await here.asked(here.inbox, "typing", {"conversationId": conversation_id, "active": bool(number % 2)})
        for number in range(200)
    ]
    replies = [await one for one in asked]
    codes = [reply.response.get("reason") for reply in replies if reply.status == "error"]
    assert set(codes) == {"rate_limited"}
    assert (await here.send(conversation_id)).ok["status"] == "sent"
    await settle(there)
    assert len(there.events("typing")) <= 200 - len(codes) + 1


async def test_a_user_of_a_thousand_conversations_costs_nobody_a_presence_diff(scene: Scene) -> None:
    """The inbox is no presence: only who opens a conversation is shown there, in that one."""
    ann, bob = uuid4(), uuid4()
    with psycopg.connect(database_url()) as session:
        session.execute(
            "WITH made AS (INSERT INTO conversations (id, type, created_by, last_seq, member_count)"
            " SELECT gen_random_uuid(), 'group', %s, 0, 2 FROM generate_series(1, 1000) RETURNING id)"
            " INSERT INTO members (conversation_id, user_id, joined_seq)"
            " SELECT id, unnest(%s::uuid[]), 1 FROM made",
            (ann, [ann, bob]),
        )
        ids = [str(row[0]) for row in session.execute("SELECT id FROM conversations WHERE created_by = %s", (ann,))]
    watcher = await scene.joined(bob, worker=1)
    for conversation_id in ids[:90]:
        assert (await watcher.join(f"conversation:{conversation_id}")).ok
    await watcher.until(lambda: len(watcher.events("presence_state")) == 90)
    client = await scene.client(ann)
    assert (await client.join_inbox())["conversations"] == 1000
    await settle(watcher, client)
    assert watcher.events("presence_diff") == []
    assert client.events("presence_state") == []
    assert (await client.join(f"conversation:{ids[0]}")).ok
    await watcher.until(lambda: watcher.events("presence_diff"))
    await client.close()
    await watcher.until(lambda: any(diff["leaves"] for diff in watcher.events("presence_diff")))
    await settle(watcher)
    assert len(watcher.events("presence_diff")) == 2
