"""What a device lacks, on its return and while others send: in order, without a gap, as fast as it acknowledges."""

import asyncio
import base64
import json
from typing import Any
from uuid import UUID, uuid4

import psycopg

from tests.e2e.server import database_url
from tests.live.client import Client, message_of
from tests.live.server import Scene
from whispr.kernel.limits import LIMITS

WINDOW = 256  # docs/architecture.md "The way of a message": unacknowledged entries of one socket


async def fill(scene: Scene, conversation_id: str, sender: UUID, count: int, content: bytes = b"x") -> None:
    """Send `count` messages, pipelined, from a socket of its own that follows nothing of it afterwards."""
    client = await scene.joined(sender, acks=True)
    for start in range(0, count, 200):
        asked = [
            await client.asked(client.inbox, "send_message", message_of(conversation_id, content))
            for _ in range(start, min(start + 200, count))
        ]
        for reply in asked:
            (await reply).ok
    await client.close()


async def settle(client: Client) -> None:
    """Give the server every chance to push more than it should."""
    for _ in range(5):
        await client.heartbeat()
        await asyncio.sleep(0.05)


async def test_catching_up_while_others_send(scene: Scene) -> None:
    """the reliability catalogue I7: no gap, no hole at the seam, each entry once; on both processes, at ten moments."""
    ann, bob, cid = uuid4(), uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob, cid)
    await fill(scene, conversation_id, ann, 400)
    senders = [await scene.joined(user, worker=n, acks=True) for n, user in enumerate((ann, bob))]
    stop = asyncio.Event()

    async def run(sender: Client) -> None:
        while not stop.is_set():
            (await sender.send(conversation_id)).ok

    running = [asyncio.create_task(run(sender)) for sender in senders]
    devices = []
    for number in range(10):
        device = await scene.client(cid, worker=number, acks=True)
        if number < 5:
            await device.join_inbox(synced=False)
        else:
            (await device.join(f"conversation:{conversation_id}")).ok
        devices.append(device)
        await asyncio.sleep(0.02)
    for device in devices:
        await device.until(lambda device=device: device.events("sync_complete"))
    await asyncio.sleep(0.2)
    stop.set()
    await asyncio.gather(*running)
    last = (await senders[0].send(conversation_id)).ok["seq"]
    log = scene.log(conversation_id)
    assert [seq for seq, _ in log] == list(range(1, last + 1))
    for device in devices:
        await device.until_seq(conversation_id, last)
        held = [(entry["seq"], entry["messageId"]) for entry in device.entries[conversation_id]]
        assert held == log


async def test_many_conversations_catch_up_in_order(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversations = [await scene.group(ann, bob, worker=n) for n in range(12)]
    for n, conversation_id in enumerate(conversations):
        await fill(scene, conversation_id, ann, n * 7)
    device = await scene.client(bob, acks=True)
    await device.join_inbox()
    total = sum(n * 7 + 1 for n in range(12))
    assert device.events("sync_complete") == [{"conversations": 12, "messages": total}]
    for n, conversation_id in enumerate(conversations):
        assert device.seqs(conversation_id) == list(range(1, n * 7 + 2))


async def test_the_window_bounds_catching_up(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    await fill(scene, conversation_id, ann, 2 * WINDOW + 50)
    device = await scene.client(bob)
    await device.join_inbox(synced=False)
    for acked, held in ((0, WINDOW), (100, WINDOW + 100), (WINDOW + 100, 2 * WINDOW + 51)):
        if acked:
            (await device.ack(conversation_id, acked)).ok
        expected = list(range(1, held + 1))
        await device.until_seq(conversation_id, held)
        await settle(device)
        assert device.seqs(conversation_id) == expected
        assert bool(device.events("sync_complete")) == (held == 2 * WINDOW + 51)
    assert device.events("sync_complete") == [{"conversations": 1, "messages": 2 * WINDOW + 51}]


async def test_the_window_bounds_what_is_live(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id, other = await scene.group(ann, bob), await scene.group(ann, bob)
    device = await scene.joined(bob, worker=1)  # holds the first entry of both
    await fill(scene, conversation_id, ann, 300)
    await device.until_seq(conversation_id, WINDOW - 1)
    await settle(device)
    assert device.seqs(conversation_id) == list(range(1, WINDOW))
    # The window is the socket's: the other conversation waits too, and what is not an entry does not.
    await fill(scene, other, ann, 1)
    await settle(device)
    assert device.seqs(other) == [1]
    (await device.ack(conversation_id, 60)).ok
    await device.until(lambda: 301 in device.seqs(conversation_id) and 2 in device.seqs(other))
    assert device.seqs(conversation_id) == list(range(1, 302))


async def test_what_history_gave_and_was_acknowledged_takes_no_room(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    await fill(scene, conversation_id, ann, 2 * WINDOW + 50)
    device = await scene.client(bob)
    await device.join_inbox(synced=False)
    await device.until_seq(conversation_id, WINDOW)
    (await device.ask(device.inbox, "history", {"conversationId": conversation_id, "limit": 10})).ok
    (await device.ack(conversation_id, 2 * WINDOW + 51)).ok
    # Whoever has the end of the log acknowledges nothing of it a second time.
    await device.until_seq(conversation_id, 2 * WINDOW + 51)
    assert device.seqs(conversation_id) == list(range(1, 2 * WINDOW + 52))
    await device.until(lambda: device.events("sync_complete"))


async def test_every_form_of_acknowledgement_opens_the_window(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    await fill(scene, conversation_id, ann, 4 * WINDOW)
    device = await scene.client(bob)
    await device.join_inbox(synced=False)
    held = WINDOW
    forms: list[tuple[str, Any]] = [
        ("message_received", lambda: {"messageIds": [device.entries[conversation_id][-1]["messageId"]]}),
        ("message_received", lambda: {"acks": [{"conversationId": conversation_id, "upTo": 2 * WINDOW}]}),
        ("message_read", lambda: {"conversationId": conversation_id, "upTo": 3 * WINDOW}),
    ]
    for event, form in forms:
        await device.until_seq(conversation_id, held)
        assert (await device.ask(device.inbox, event, form())).ok == {}
        held += WINDOW
    await device.until_seq(conversation_id, held)
    await settle(device)
    assert device.seqs(conversation_id) == list(range(1, held + 1))


async def test_an_acknowledgement_that_waits_holds_up_no_other(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversations = [await scene.group(ann, bob) for _ in range(2)]
    device = await scene.joined(bob)
    acks = {"acks": [{"conversationId": one, "upTo": 1} for one in conversations]}
    with psycopg.connect(database_url()) as session:
        sql = "SELECT 1 FROM members WHERE conversation_id = %s AND user_id = %s FOR UPDATE"
        session.execute(sql, (conversations[0], bob))
        both = await device.asked(device.inbox, "message_received", acks)
        assert (await device.ack(conversations[1], 1)).ok == {}
        assert not both.done()
        session.rollback()
    assert (await both).ok == {}


async def test_a_device_resumes_from_what_it_acknowledged(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    await fill(scene, conversation_id, ann, 9)  # up to 10
    phone = uuid4()
    first = await scene.joined(bob, phone)
    assert first.seqs(conversation_id) == list(range(1, 11))
    (await first.ack(conversation_id, 6)).ok
    await first.close()
    await fill(scene, conversation_id, ann, 2)  # up to 12
    again = await scene.joined(bob, phone, worker=1)
    assert again.seqs(conversation_id) == list(range(7, 13))
    assert again.events("sync_complete") == [{"conversations": 1, "messages": 6}]
    (await again.ack(conversation_id, 12, "message_read")).ok
    await again.close()
    # What one device read, the other still lacks.
    laptop = await scene.joined(bob)
    assert laptop.seqs(conversation_id) == list(range(1, 13))
    nothing = await scene.joined(bob, phone)
    assert nothing.events("new_message") == []
    # A cursor says more than what was acknowledged, in both directions.
    for cursor in (0, 3, 12):
        asked = await scene.joined(bob, uuid4(), cursors={conversation_id: cursor})
        assert asked.seqs(conversation_id) == list(range(cursor + 1, 13))
        assert asked.events("resync_required") == []


async def test_a_rejoin_replaces_the_join_and_loses_nothing(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    sender = await scene.joined(ann, worker=1, acks=True)
    device = await scene.joined(bob)
    for turn in range(5):
        (await sender.send(conversation_id)).ok
        await device.join_inbox(cursors={conversation_id: max(device.seqs(conversation_id))})
        (await sender.send(conversation_id)).ok
        await device.until_seq(conversation_id, 2 * turn + 3)
    # What came live while the new join was on its way may come again, but nothing is left out or out of order.
    assert list(dict.fromkeys(device.seqs(conversation_id))) == list(range(1, 12))
    assert [push.join_ref for push in device.pushes if push.event == "phx_close"] != []


async def test_a_cursor_past_the_head_is_told_and_answered_from_the_beginning(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id, other = await scene.group(ann, bob), await scene.group(ann, bob)
    await fill(scene, conversation_id, ann, 3)
    cursors = {conversation_id: 5, other: 1, str(uuid4()): 10**6}
    device = await scene.joined(bob, cursors=cursors)
    assert device.events("resync_required") == [{"conversationId": conversation_id, "reason": "cursor_beyond_head"}]
    assert device.seqs(conversation_id) == [1, 2, 3, 4]
    assert device.seqs(other) == []


async def test_another_epoch_is_told_and_answered_from_the_beginning(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    await fill(scene, conversation_id, ann, 2)
    device = await scene.client(bob, uuid4())
    epoch = (await device.join_inbox())["epoch"]
    same = await scene.joined(bob, epoch=epoch, cursors={conversation_id: 3})
    assert (same.seqs(conversation_id), same.events("resync_required")) == ([], [])
    with psycopg.connect(database_url()) as session:
        session.execute("UPDATE log_epoch SET epoch = %s", [str(uuid4())])
    after = await scene.joined(bob, epoch=epoch, cursors={conversation_id: 3})
    assert after.events("resync_required") == [{"reason": "epoch_changed"}]
    assert after.seqs(conversation_id) == [1, 2, 3]
    # The resync is told before anything that follows from it.
    assert [push.event for push in after.pushes] == ["resync_required", *["new_message"] * 3, "sync_complete"]


async def test_rest_catches_up_to_the_same(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    await fill(scene, conversation_id, ann, 120)
    device = await scene.joined(bob)
    held: list[Any] = []
    cursor, complete = 0, False
    while not complete:
        answer = await scene.rest(bob, "POST", "sync", {"cursors": {conversation_id: cursor}, "limit": 50})
        assert answer.status == 200, answer
        (page,) = answer.body["conversations"]
        held += page["messages"]
        cursor, complete = held[-1]["seq"], answer.body["complete"]
        assert page["lastSeq"] == 121
    assert held == device.entries[conversation_id]


async def test_entries_in_binary_are_the_same(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    await fill(scene, conversation_id, ann, 3, b"\x00\x01\xff")
    text = await scene.joined(bob)
    raw = await scene.client(bob)
    # The client above reads text alone: take its connection over before anything binary comes.
    assert raw._reader is not None
    raw._reader.cancel()
    await asyncio.gather(raw._reader, return_exceptions=True)
    await raw.frame(json.dumps(["1", "1", raw.inbox, "phx_join", {"binary": True}]))
    found: list[dict[str, Any]] = []
    while len(found) < 4:
        frame = await asyncio.wait_for(raw.connection.recv(), 20)
        if isinstance(frame, bytes):
            found.append(binary_entry(frame, raw.inbox))
    assert found == text.entries[conversation_id]


def binary_entry(frame: bytes, topic: str) -> dict[str, Any]:
    """The entry in a binary push: kind 0, three sizes, join_ref, topic, event, then the envelope."""
    kind, *sizes = frame[:4]
    assert kind == 0
    start, parts = 4, []
    for size in sizes:
        parts.append(frame[start : start + size].decode())
        start += size
    assert parts == ["1", topic, "new_message"]
    length = int.from_bytes(frame[start : start + 4], "big")
    header = json.loads(frame[start + 4 : start + 4 + length])
    assert "content" not in header
    return header | {"content": base64.b64encode(frame[start + 4 + length :]).decode()}


async def test_a_long_page_of_history_is_no_reason_to_end_a_socket(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    await fill(scene, conversation_id, ann, 30, b"c" * 64 * 1024)
    device = await scene.client(bob)
    (await device.join(device.inbox, cursors={conversation_id: 31})).ok
    held: list[int] = []
    while len(held) < 31:
        page = {"conversationId": conversation_id, "before": held[0] if held else 32, "limit": 20}
        entries = (await device.ask(device.inbox, "history", page)).ok["messages"]
        held = [entry["seq"] for entry in entries] + held
        await device.heartbeat()
    assert held == list(range(1, 32))
    # Nor are several that were asked for at once.
    asked = [await device.asked(device.inbox, "history", {"conversationId": conversation_id}) for _ in range(5)]
    assert [len((await reply).ok["messages"]) for reply in asked] == [LIMITS.page_bytes // (64 * 1024)] * 5
    await device.heartbeat()
