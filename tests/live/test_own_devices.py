"""A user's devices: the list, the one that was away for too long, sockets' cap, revocation (docs/protocol.md §3)."""

import asyncio
from uuid import uuid4

import psycopg
import pytest

from tests.e2e.server import database_url
from tests.live.server import Scene
from tests.own_redis import OwnRedis


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
