"""What people let each other know, and what a user's devices know of one another, over running servers.

Two processes of each ASGI server: docs/protocol.md §2, §4.5, §4.6; the reliability catalogue I15, I17, rows 30,
41-43, 59, 71.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.e2e.server import database_url
from tests.live.client import Client, Reply, message_of
from tests.live.conftest import LIVE_ASGI
from tests.live.server import Cluster, Scene
from tests.own_redis import OwnRedis


async def direct_of(scene: Scene, ann: UUID, bob: UUID) -> str:
    answer = await scene.rest(ann, "POST", "conversations", {"type": "direct", "members": [str(bob)]})
    assert answer.status in (200, 201), answer
    return answer.body["id"]


async def settle(*clients: Client) -> None:
    """Whatever was on its way is here afterwards: what is passed on between processes takes milliseconds."""
    await asyncio.sleep(0.4)
    for client in clients:
        await client.heartbeat()


async def set_settings(scene: Scene, user: UUID, **settings: Any) -> None:
    answer = await scene.rest(user, "PATCH", "settings", settings, worker=1)
    assert answer.status == 200, answer
    assert answer.body.items() >= settings.items()


async def members_of(scene: Scene, viewer: UUID, conversation_id: str) -> dict[str, dict[str, Any]]:
    answer = await scene.rest(viewer, "GET", f"conversations/{conversation_id}/members", worker=1)
    assert answer.status == 200, answer
    return {one["userId"]: one for one in answer.body["members"]}


# --- receipts


@pytest.mark.parametrize("off", ["reader", "sender", "conversation"])
@pytest.mark.parametrize("transport", ["socket", "rest"])
async def test_nobody_learns_of_a_reading_that_is_not_to_be_told(scene: Scene, off: str, transport: str) -> None:
    users = {"sender": uuid4(), "reader": uuid4()}
    conversation_id = await scene.group(*users.values())
    ann, bob = await scene.joined(users["sender"]), await scene.joined(users["reader"], worker=1)
    if off == "conversation":
        change = {"settings": {"readReceipts": False}}
        answer = await scene.rest(ann.user, "PATCH", f"conversations/{conversation_id}", change)
        assert answer.status == 200, answer
    else:
        await set_settings(scene, users[off], readReceipts=False)

    async def read(message: dict[str, Any]) -> None:
        await bob.until_seq(conversation_id, message["seq"])
        if transport == "socket":
            assert (await bob.ack(conversation_id, message["seq"], "message_read")).ok == {}
        else:
            answer = await scene.rest(bob.user, "POST", f"messages/{message['messageId']}/read", device=bob.device)
            assert answer.status == 200, answer

    async def known(message: dict[str, Any]) -> tuple[Any, ...]:
        """What ann knows of bob's reading by every route."""
        delivery = (await scene.rest(ann.user, "GET", f"messages/{message['messageId']}/delivery")).body
        receipts = (await scene.rest(ann.user, "GET", f"conversations/{conversation_id}/receipts")).body["receipts"]
        # A device of hers that was never there is told everything at once.
        sync = (await scene.rest(ann.user, "POST", "sync", {}, device=uuid4())).body["conversations"]
        (synced,) = [one for one in sync if one["id"] == conversation_id]
        (row,) = delivery["recipients"]
        (seq,) = {one["readSeq"] for r in (receipts, synced["receipts"]) for one in r if one["userId"] == str(bob.user)}
        return row["status"], row["readAt"] is not None, delivery["counts"]["read"], seq

    first = (await ann.send(conversation_id)).ok
    await read(first)
    await ann.until(lambda: ann.events("delivery_status_update"))
    await settle(ann)
    assert await known(first) == ("delivered", False, 0, 0)
    assert ann.events("read_status_update") == []
    # Switched on again: what was read before stays untold, what is read from now on is told.
    if off == "conversation":
        undone = {"settings": {"readReceipts": None}}
        assert (await scene.rest(ann.user, "PATCH", f"conversations/{conversation_id}", undone)).status == 200
    else:
        await set_settings(scene, users[off], readReceipts=True)
    second = (await ann.send(conversation_id)).ok
    await read(second)
    await ann.until(lambda: ann.events("read_status_update"))
    await settle(ann)
    (update,) = ann.events("read_status_update")
    assert (update["messageIds"], update["upTo"]) == ([second["messageId"]], second["seq"])
    assert (await known(first))[:3] == ("delivered", False, 0)
    assert await known(second) == ("read", True, 1, second["seq"])


async def test_ones_own_devices_learn_of_settings_and_of_what_was_read(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    phone, laptop, other = await scene.joined(ann), await scene.joined(ann, worker=1), await scene.joined(bob)
    await set_settings(scene, ann, readReceipts=False, shareLastSeen=False)
    for client in (phone, laptop):
        await client.until(lambda client=client: client.events("personal_update"))
        expected = {"kind": "settings", "readReceipts": False, "shareLastSeen": False}
        assert client.events("personal_update", client.inbox) == [expected]
    await set_settings(scene, ann, readReceipts=False)  # no change, no update
    sent = (await other.send(conversation_id)).ok
    await phone.until_seq(conversation_id, sent["seq"])
    assert (await phone.ack(conversation_id, sent["seq"], "message_read")).ok == {}
    await laptop.until(lambda: laptop.events("read_status_update"))
    assert laptop.events("read_status_update")[0]["upTo"] == sent["seq"]
    await settle(phone, laptop, other)
    assert [len(client.events("personal_update")) for client in (phone, laptop, other)] == [1, 1, 0]
    assert other.events("read_status_update") == []
    view = (await scene.rest(ann, "GET", f"conversations/{conversation_id}", device=laptop.device)).body
    assert (view["readSeq"], view["unread"]) == (sent["seq"], 0)


@pytest.mark.parametrize(
    "settings", [{"readReceipts": "no"}, {"readReceipts": 0}, {"sharedHistory": 1}, {"sharedHistory": []}]
)
async def test_settings_that_the_server_acts_on_are_checked(scene: Scene, settings: dict[str, Any]) -> None:
    ann = uuid4()
    conversation_id = await scene.group(ann)
    refused = await scene.rest(ann, "PATCH", f"conversations/{conversation_id}", {"settings": settings})
    assert (refused.status, refused.body["code"]) == (400, "bad_request")
    body = {"type": "group", "members": [str(ann)], "settings": settings}
    assert (await scene.rest(ann, "POST", "conversations", body)).status == 400


# --- members


async def test_a_new_member_of_a_conversation_that_shares_its_history_gets_it_as_any_device_does(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    body = {"type": "group", "members": [str(ann)], "settings": {"sharedHistory": True}}
    conversation_id = (await scene.rest(ann, "POST", "conversations", body)).body["id"]
    author = await scene.joined(ann)
    for _ in range(30):
        assert (await author.send(conversation_id)).ok
    online = await scene.joined(bob, worker=1, acks=True)
    await scene.add(ann, conversation_id, bob)
    await online.until_seq(conversation_id, 32)
    assert (await author.send(conversation_id)).ok
    await online.until_seq(conversation_id, 33)
    assert online.seqs(conversation_id) == list(range(1, 34))
    late = await scene.joined(bob, acks=True)
    await late.until_seq(conversation_id, 33)
    assert late.entries[conversation_id] == online.entries[conversation_id]
    # Removed and back again: what was between is shared as well, and nothing comes twice.
    await scene.remove(ann, conversation_id, bob)
    await online.until_seq(conversation_id, 34)
    assert (await author.send(conversation_id)).ok
    await settle(online, late)
    assert online.seqs(conversation_id)[-1] == late.seqs(conversation_id)[-1] == 34
    await scene.add(ann, conversation_id, bob)
    for client in (online, late):
        await client.until_seq(conversation_id, 36)
        assert sorted(set(client.seqs(conversation_id))) == list(range(1, 37))
        assert client.seqs(conversation_id)[33:] == [34, 35, 36]


async def test_a_stale_sender_is_told_the_change_on_both_transports(scene: Scene) -> None:
    ann, bob, cid = uuid4(), uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    client = await scene.joined(ann)
    await scene.add(ann, conversation_id, cid)
    await scene.remove(ann, conversation_id, bob)
    details = {"membersVersion": 3, "added": [str(cid)], "removed": [str(bob)]}
    refused = await client.send(conversation_id, membersVersion=1)
    assert (refused.code, refused.response["details"]) == ("stale_membership", details)
    answer = await scene.rest(ann, "POST", "messages", message_of(conversation_id, membersVersion=1))
    assert (answer.status, answer.body["code"], answer.body["details"]) == (409, "stale_membership", details)
    assert (await client.send(conversation_id, membersVersion=3)).ok["status"] == "sent"


@pytest.mark.parametrize("transport", ["socket", "rest"])
async def test_who_is_removed_while_all_send_gets_and_writes_nothing_after_it(scene: Scene, transport: str) -> None:
    """Row 42 over running servers: the sends of both, and the removal, on different processes at the same moment."""
    ann, bob = uuid4(), uuid4()
    author, leaver = await scene.joined(ann, acks=True), await scene.joined(bob, worker=1, acks=True)

    async def by_socket(asked: "asyncio.Future[Reply]") -> int:
        """The seq of a send, 0 where it was refused as a stranger's."""
        reply = await asked
        return reply.ok["seq"] if reply.status == "ok" else {"not_found": 0}[reply.code]

    async def by_rest(body: dict[str, Any]) -> int:
        answer = await scene.rest(bob, "POST", "messages", body, worker=1)
        return answer.body["seq"] if answer.status == 201 else {404: 0}[answer.status]

    for _ in range(30):
        conversation_id = await scene.group(ann, bob)
        await leaver.until_seq(conversation_id, 1)
        if transport == "socket":
            asked = [await leaver.asked(leaver.inbox, "send_message", message_of(conversation_id)) for _ in range(3)]
            mine = [asyncio.ensure_future(by_socket(one)) for one in asked]
        else:
            mine = [asyncio.ensure_future(by_rest(message_of(conversation_id))) for _ in range(3)]
        others = [await author.asked(author.inbox, "send_message", message_of(conversation_id)) for _ in range(3)]
        await scene.remove(ann, conversation_id, bob)
        (await author.send(conversation_id)).ok
        sql = "SELECT seq FROM messages WHERE conversation_id = %s AND metadata->>'event' = 'member_removed'"
        ((removed,),) = scene.rows(sql, conversation_id)
        assert all(seq < removed for seq in await asyncio.gather(*mine))
        assert all([(await one).status == "ok" for one in others])
        await leaver.until_seq(conversation_id, removed)
        assert max(leaver.seqs(conversation_id)) == removed
        refused = await leaver.send(conversation_id)
        assert refused.code == "not_found"
    await settle(leaver)
    last = {one: leaver.seqs(one)[-1] for one in leaver.entries}
    sql = "SELECT conversation_id::text, left_seq FROM members WHERE user_id = %s"
    assert last == dict(scene.rows(sql, bob))


# --- presence and typing


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


# --- devices


async def test_the_list_of_devices_says_which_one_asks_and_when_each_was_there(scene: Scene) -> None:
    ann = uuid4()
    phone, laptop = uuid4(), uuid4()
    for device in (phone, laptop):
        answer = await scene.rest(ann, "GET", "devices", device=device)
    assert [(one["id"], one["current"]) for one in answer.body["devices"]] == [(str(phone), False), (str(laptop), True)]
    assert all(one["lastSeenAt"] for one in answer.body["devices"])


@pytest.mark.parametrize("transport", ["socket", "rest"])
async def test_a_device_that_was_away_for_too_long_begins_anew(scene: Scene, transport: str) -> None:
    ann, bob, device = uuid4(), uuid4(), uuid4()
    conversation_id = await scene.group(bob, ann)
    author = await scene.joined(bob)
    first = await scene.joined(ann, device, acks=True)
    for _ in range(5):
        assert (await author.send(conversation_id)).ok
    await first.until_seq(conversation_id, 6)
    async with asyncio.timeout(20):
        while scene.rows("SELECT acked_seq FROM device_cursors WHERE device_id = %s", device) != [(6,)]:
            await asyncio.sleep(0.05)
    await first.close()
    await asyncio.sleep(1.5)  # its end is noted as its last being there
    with psycopg.connect(database_url()) as session:
        session.execute("UPDATE devices SET last_seen_at = now() - interval '46 days' WHERE id = %s", (device,))
    if transport == "socket":
        back = await scene.client(ann, device, worker=1)
        await back.join_inbox(cursors={conversation_id: 6})
        assert back.events("resync_required") == [{"reason": "device_expired"}]
        assert back.seqs(conversation_id) == [1, 2, 3, 4, 5, 6]
        assert scene.rows("SELECT acked_seq FROM device_cursors WHERE device_id = %s", device) == []
        await back.close()
        again = await scene.joined(ann, device, cursors={conversation_id: 6})
        assert again.events("resync_required") == []
        assert again.seqs(conversation_id) == []
    else:
        body = {"cursors": {conversation_id: 6}}
        page = (await scene.rest(ann, "POST", "sync", body, device=device, worker=1)).body
        assert page["resyncRequired"] == "device_expired"
        assert [one["seq"] for one in page["conversations"][0]["messages"]] == [1, 2, 3, 4, 5, 6]
        again = (await scene.rest(ann, "POST", "sync", body, device=device)).body
        assert "resyncRequired" not in again
        assert again["conversations"] == []


async def test_the_cap_of_sockets_counts_both_processes(scene: Scene) -> None:
    ann = uuid4()
    clients = [await scene.joined(ann, worker=number % 2) for number in range(20)]
    for worker in (0, 1):
        assert await (await scene.client(ann, worker=worker)).until_closed() == 4429
    await clients[0].close()
    async with asyncio.timeout(20):
        while True:
            client = await scene.client(ann, worker=1)
            try:
                await client.join_inbox()
                break
            except ConnectionError:
                await asyncio.sleep(0.2)
    # A device that has a socket takes its own place, wherever it comes back.
    await scene.joined(ann, clients[1].device, worker=0)


@pytest.fixture(scope="module")
def own_redis() -> Iterator[OwnRedis]:
    redis = OwnRedis()
    redis.start()
    yield redis
    redis.close()


@pytest.fixture(scope="module", params=LIVE_ASGI)
def mortal(request: pytest.FixtureRequest, live_database: None, own_redis: OwnRedis) -> Iterator[Cluster]:
    """Two processes whose doorbell is a Valkey of this module, and which ask for revoked devices every 2 s."""
    environment = {"REDIS_URL": own_redis.url, "WHISPR_DEVICE_CHECK_SECONDS": "2"}
    servers = Cluster(request.param, workers=2, env=environment)
    try:
        servers.start()
        yield servers
    finally:
        servers.kill()


@pytest.fixture
async def stage(mortal: Cluster) -> AsyncIterator[Scene]:
    scene = Scene(mortal)
    yield scene
    await scene.close()


@pytest.mark.parametrize("redis", ["there", "away"])
async def test_a_revoked_device_is_cut_off_on_every_process_also_without_redis(
    stage: Scene, own_redis: OwnRedis, redis: str
) -> None:
    ann = uuid4()
    lost, laptop = uuid4(), uuid4()
    gone, stays = await stage.joined(ann, lost, worker=1), await stage.joined(ann, laptop, worker=0)
    if redis == "away":
        own_redis.kill()
    try:
        answer = await stage.rest(ann, "DELETE", f"devices/{lost}", device=laptop)
        assert answer.status == 204, answer
        assert await gone.until_closed() == 4403
        await stays.heartbeat()
        async with asyncio.timeout(20):
            for worker in (0, 1):
                while (await stage.rest(ann, "GET", "devices", device=lost, worker=worker)).status != 401:
                    await asyncio.sleep(0.2)
    finally:
        if redis == "away":
            own_redis.start()
