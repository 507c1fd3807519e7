"""The path of a message over running servers: join, send, push, acknowledge, status (docs/protocol.md §2, §4)."""

import asyncio
import base64
import random
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from tests.live.client import Client, Reply, message_of
from tests.live.server import Scene, agreed


async def pair(scene: Scene, *, workers: tuple[int, int] = (0, 1)) -> tuple[Client, Client, str]:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    return await scene.joined(ann, worker=workers[0]), await scene.joined(bob, worker=workers[1]), conversation_id


async def test_a_join_is_answered_as_documented(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    group, _ = await scene.group(ann, bob), await scene.group(ann, uuid4())
    client = await scene.client(ann)
    inbox = (await client.join(client.inbox)).ok
    assert set(inbox) == {"userId", "deviceId", "serverTime", "epoch", "conversations"}
    assert (inbox["userId"], inbox["deviceId"]) == (str(client.user), str(client.device))
    assert inbox["conversations"] == 2
    assert datetime.fromisoformat(inbox["serverTime"]).tzinfo is not None
    topic = f"conversation:{group}"
    one = (await client.join(topic)).ok
    assert one["conversations"] == 1
    assert one["epoch"] == inbox["epoch"] != ""
    await client.until(lambda: len(client.events("sync_complete")) == 2)
    assert client.events("sync_complete", client.inbox) == [{"conversations": 2, "messages": 2}]
    assert client.events("sync_complete", topic) == [{"conversations": 1, "messages": 1}]


async def test_a_message_and_its_whole_cycle(scene: Scene) -> None:
    ann, bob, conversation_id = await pair(scene)
    sent = (await ann.send(conversation_id, b"hello \xff", clientRandom=2**53 - 1, metadata={"k": ["é", 1]})).ok
    assert set(sent) == {"status", "messageId", "conversationId", "seq", "sentAt"}
    assert (sent["status"], sent["conversationId"], sent["seq"]) == ("sent", conversation_id, 2)
    await bob.until_seq(conversation_id, 2)
    assert bob.entries[conversation_id][-1] == {
        "messageId": sent["messageId"],
        "conversationId": conversation_id,
        "seq": 2,
        "senderId": str(ann.user),
        "senderDeviceId": str(ann.device),
        "type": "text",
        "content": base64.b64encode(b"hello \xff").decode(),
        "metadata": {"k": ["é", 1]},
        "replyTo": None,
        "target": None,
        "mediaId": None,
        "clientRandom": 2**53 - 1,
        "sentAt": sent["sentAt"],
        "editedAt": None,
        "expiresAt": None,
        "signature": None,
    }
    for event, status in (("message_received", "delivered"), ("message_read", "read")):
        assert (await bob.ack(conversation_id, 2, event)).ok == {}
        name = {"delivered": "delivery_status_update", "read": "read_status_update"}[status]
        await ann.until(lambda name=name: ann.events(name))
        (update,) = ann.events(name)
        assert datetime.fromisoformat(update.pop("timestamp")).tzinfo is not None
        assert update == {
            "conversationId": conversation_id,
            "recipientId": str(bob.user),
            "status": status,
            "messageIds": [sent["messageId"]],
            "upTo": 2,
        }
    again = (await ann.send(conversation_id, b"hello \xff", clientRandom=2**53 - 1, metadata={"k": ["é", 1]})).ok
    assert again == sent | {"status": "duplicate"}
    sql = "SELECT user_id, delivered_at IS NOT NULL, read_at IS NOT NULL FROM delivery_statuses WHERE message_id = %s"
    assert scene.rows(sql, sent["messageId"]) == [(bob.user, True, True)]


async def test_ones_other_devices_learn_of_it_and_the_sending_socket_does_not(scene: Scene) -> None:
    ann, bob, conversation_id = await pair(scene)
    tablet = await scene.joined(ann.user, worker=1)
    bobs_laptop = await scene.joined(bob.user, worker=0)
    sent = (await ann.send(conversation_id, clientRandom=41)).ok
    after = (await bob.send(conversation_id)).ok
    for client in (tablet, bob, bobs_laptop, ann):
        await client.until(lambda client=client: (client is bob) or after["seq"] in client.seqs(conversation_id))
    await bob.until_seq(conversation_id, 2)
    await bob.heartbeat()
    assert [(e["seq"], e["clientRandom"]) for e in tablet.entries[conversation_id]][1] == (2, 41)
    assert tablet.entries[conversation_id][1]["messageId"] == sent["messageId"]
    assert [client.seqs(conversation_id) for client in (ann, tablet, bob, bobs_laptop)] == [
        [1, 3],
        [1, 2, 3],
        [1, 2],
        [1, 2, 3],
    ]
    # Bob's other device learns that he read, on its own process; the one that said so does not.
    assert (await bob.ack(conversation_id, 3, "message_read")).ok == {}
    await bobs_laptop.until(lambda: bobs_laptop.events("read_status_update"))
    (update,) = bobs_laptop.events("read_status_update")
    assert (update["recipientId"], update["upTo"], update["status"]) == (str(bob.user), 3, "read")
    await bob.heartbeat()
    assert bob.events("read_status_update") == []


async def test_with_read_receipts_off_only_ones_own_devices_learn(scene: Scene) -> None:
    ann, bob, conversation_id = await pair(scene)
    laptop = await scene.joined(bob.user)
    answer = await scene.rest(bob.user, "PATCH", "settings", {"readReceipts": False})
    assert answer.status == 200, answer
    sent = (await ann.send(conversation_id)).ok
    await bob.until_seq(conversation_id, 2)
    assert (await bob.ack(conversation_id, 2, "message_read")).ok == {}
    await laptop.until(lambda: laptop.events("read_status_update"))
    await ann.until(lambda: ann.events("delivery_status_update"))
    await ann.send(conversation_id)
    await bob.until_seq(conversation_id, 3)
    assert (await bob.ack(conversation_id, 3)).ok == {}
    await ann.until(lambda: len(ann.events("delivery_status_update")) == 2)
    assert ann.events("read_status_update") == []
    sql = "SELECT read_at FROM delivery_statuses WHERE message_id = %s"
    assert scene.rows(sql, sent["messageId"]) == [(None,)]
    receipts = await scene.rest(ann.user, "GET", f"conversations/{conversation_id}/receipts")
    (his,) = [one for one in receipts.body["receipts"] if one["userId"] == str(bob.user)]
    assert (his["deliveredSeq"], his["readSeq"]) == (3, 0)


async def test_acknowledgements_in_their_three_forms(scene: Scene) -> None:
    ann, bob, conversation_id = await pair(scene)
    other = await scene.group(ann.user, bob.user)
    sent = [(await ann.send(conversation_id)).ok for _ in range(3)]  # 2, 3, 4
    await bob.until(lambda: 4 in bob.seqs(conversation_id) and 1 in bob.seqs(other))
    acks = {"acks": [{"conversationId": conversation_id, "upTo": 2}, {"conversationId": other, "upTo": 1}]}
    assert (await bob.ask(bob.inbox, "message_received", acks)).ok == {}
    by_id = {"messageIds": [sent[1]["messageId"], str(uuid4())]}
    assert (await bob.ask(bob.inbox, "message_received", by_id)).ok == {}
    assert (await bob.ask(bob.inbox, "message_read", by_id)).ok == {}
    await ann.until(lambda: ann.events("read_status_update"))
    ids = [one["messageId"] for one in sent]
    delivered = [(one["messageIds"], one["upTo"]) for one in ann.events("delivery_status_update")]
    assert delivered == [(ids[:1], 2), (ids[1:2], 3)]
    assert [(one["messageIds"], one["upTo"]) for one in ann.events("read_status_update")] == [(ids[:2], 3)]
    cursors = scene.rows("SELECT conversation_id::text, acked_seq FROM device_cursors WHERE device_id = %s", bob.device)
    assert sorted(cursors) == sorted([(conversation_id, 3), (other, 1)])


async def test_rest_and_socket_are_one_way_in(scene: Scene) -> None:
    ann, bob, conversation_id = await pair(scene)
    body = message_of(conversation_id, b"over REST")
    answer = await scene.rest(ann.user, "POST", "messages", body, device=ann.device, worker=1)
    assert answer.status == 201, answer
    again = await ann.ask(ann.inbox, "send_message", body)
    assert again.ok == answer.body | {"status": "duplicate"}
    # REST has no socket to tell: all the sender's sockets get the entry.
    await asyncio.gather(ann.until_seq(conversation_id, 2), bob.until_seq(conversation_id, 2))
    page = await scene.rest(bob.user, "GET", f"conversations/{conversation_id}/messages?after=1")
    assert page.body == {"messages": [bob.entries[conversation_id][-1]], "hasMore": False}
    history = await bob.ask(bob.inbox, "history", {"conversationId": conversation_id, "after": 1})
    assert history.ok == page.body
    refusals = {"conversationId": str(uuid4())}, {"clientRandom": -1}, {"content": "?"}, {"type": "system"}
    for wrong in refusals:
        refused = message_of(conversation_id) | wrong
        over_socket = await ann.ask(ann.inbox, "send_message", refused)
        over_rest = await scene.rest(ann.user, "POST", "messages", refused, device=ann.device)
        assert over_socket.code == over_rest.body["code"], wrong


async def test_order_under_concurrent_senders_on_two_processes(scene: Scene) -> None:
    users = [uuid4() for _ in range(8)]
    conversation_id = await scene.group(*users)
    senders = [await scene.joined(user, worker=n, acks=True) for n, user in enumerate(users)]
    watchers = [await scene.joined(users[n], worker=n, acks=True) for n in range(2)]

    async def send(sender: Client) -> list[dict[str, Any]]:
        # Pipelined: what one socket sends in order is stored in order.
        asked = [
            await sender.asked(sender.inbox, "send_message", message_of(conversation_id, b"%d" % n)) for n in range(25)
        ]
        return [(await reply).ok for reply in asked]

    replies = await asyncio.gather(*map(send, senders))
    for mine in replies:
        assert [one["seq"] for one in mine] == sorted(one["seq"] for one in mine)
    places = {one["seq"]: one for mine in replies for one in mine}
    assert sorted(places) == list(range(2, 202))
    times = [datetime.fromisoformat(places[seq]["sentAt"]) for seq in sorted(places)]
    assert times == sorted(set(times))
    for watcher in watchers:
        await watcher.until_seq(conversation_id, 201)
    log = agreed(watchers, conversation_id)
    assert log == scene.log(conversation_id)
    assert [seq for seq, _ in log] == list(range(1, 202))
    assert dict(log[1:]) == {seq: one["messageId"] for seq, one in places.items()}
    # A sender holds the rest of the log from its pushes, and its own part from its replies: each entry once.
    for sender, mine in zip(senders, replies, strict=True):
        await sender.until(lambda s=sender: len(s.seqs(conversation_id)) >= 176)
        await sender.heartbeat()
        told = [one["seq"] for one in mine]
        assert sorted(sender.seqs(conversation_id) + told) == list(range(1, 202))
        assert sender.seqs(conversation_id) == sorted(sender.seqs(conversation_id))


async def test_fifty_duplicates_at_once_are_one_message(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    devices = [await scene.joined(ann, worker=n) for n in range(4)]
    reader = await scene.joined(bob, worker=1)
    body = message_of(conversation_id, b"once")

    async def over_rest(number: int) -> dict[str, Any]:
        answer = await scene.rest(ann, "POST", "messages", body, device=devices[0].device, worker=number)
        assert answer.status == (201 if answer.body["status"] == "sent" else 200), answer
        return answer.body

    async def over_socket(number: int) -> dict[str, Any]:
        device = devices[number % 4]
        return (await device.ask(device.inbox, "send_message", body)).ok

    kinds = [over_rest, over_socket, over_socket, over_socket, over_socket] * 10
    outcomes = await asyncio.gather(*(kind(number) for number, kind in enumerate(kinds)))
    assert sorted(one.pop("status") for one in outcomes) == ["duplicate"] * 49 + ["sent"]
    assert all(one == outcomes[0] for one in outcomes)
    assert scene.log(conversation_id)[1:] == [(2, outcomes[0]["messageId"])]
    assert (await devices[0].send(conversation_id)).ok["seq"] == 3
    await reader.until_seq(conversation_id, 3)
    assert reader.seqs(conversation_id) == [1, 2, 3]


async def test_a_key_that_carried_something_else_is_refused(scene: Scene) -> None:
    ann, _, conversation_id = await pair(scene)
    other = await scene.group(ann.user, uuid4())
    await ann.send(conversation_id, b"first", clientRandom=7)
    reused: list[Reply] = [
        await ann.send(conversation_id, b"second", clientRandom=7),
        await ann.send(other, b"first", clientRandom=7),
        await ann.send(conversation_id, b"first", clientRandom=7, metadata={"a": 1}),
        await ann.send(conversation_id, b"first", clientRandom=7, ttl=60),
    ]
    assert [one.code for one in reused] == ["client_random_reused"] * 4
    answer = await scene.rest(ann.user, "POST", "messages", message_of(other, b"first", clientRandom=7))
    assert (answer.status, answer.body["code"]) == (409, "client_random_reused")
    assert [len(scene.log(one)) for one in (conversation_id, other)] == [2, 1]


async def test_a_conversation_topic(scene: Scene) -> None:
    ann, bob, conversation_id = await pair(scene)
    topic = f"conversation:{conversation_id}"
    for client in (ann, bob):
        (await client.join(topic)).ok
        await client.until(lambda client=client: client.events("presence_state", topic))
    await bob.until(lambda: str(ann.user) in presence(bob, topic) and str(bob.user) in presence(bob, topic))
    await ann.until(lambda: str(bob.user) in presence(ann, topic))
    # conversationId may be left out here, and another one is refused.
    sent = (await ann.ask(topic, "send_message", message_of(None))).ok
    assert sent["conversationId"] == conversation_id
    elsewhere = await ann.ask(topic, "send_message", message_of(str(uuid4())))
    assert elsewhere.code == "bad_request"
    await bob.until(lambda: sum(p.event == "new_message" and p.payload["seq"] == 2 for p in bob.pushes) == 2)
    assert {p.topic for p in bob.pushes if p.event == "new_message"} == {topic, bob.inbox}
    assert (await bob.ask(topic, "typing", {"active": True})).ok == {}
    await ann.until(lambda: len(ann.events("typing")) == 2)
    typing = {"conversationId": conversation_id, "userId": str(bob.user), "active": True}
    assert ann.events("typing", topic) == ann.events("typing", ann.inbox) == [typing]
    assert bob.events("typing") == []
    assert (await bob.ask(topic, "phx_leave", {})).ok == {}
    await ann.until(lambda: str(bob.user) not in presence(ann, topic))
    assert (await bob.ask(topic, "typing", {"active": True})).response == {"reason": "unmatched topic"}


async def test_who_is_no_member_gets_nothing(scene: Scene) -> None:
    ann, bob, conversation_id = await pair(scene)
    sent = (await ann.send(conversation_id)).ok
    eve = await scene.joined(uuid4())
    topic = f"conversation:{conversation_id}"
    absent = str(uuid4())
    assert (await eve.join(topic)) == (await eve.join(f"conversation:{absent}"))
    for event, payload in (
        ("send_message", message_of(None)),
        ("message_received", {"upTo": 1}),
        ("message_read", {"upTo": 1}),
        ("typing", {"active": True}),
        ("history", {}),
    ):
        theirs = await eve.ask(eve.inbox, event, payload | {"conversationId": conversation_id})
        nobodys = await eve.ask(eve.inbox, event, payload | {"conversationId": absent})
        assert theirs.code == "not_found", event
        assert theirs == nobodys
    assert (await eve.ask(eve.inbox, "message_read", {"messageIds": [sent["messageId"]]})).ok == {}
    await bob.until_seq(conversation_id, 2)
    assert ann.events("read_status_update") == ann.events("delivery_status_update") == []
    assert eve.events("new_message") == []
    assert len(scene.log(conversation_id)) == 2


async def test_removal_and_addition_against_a_running_sender(scene: Scene) -> None:
    """the reliability catalogue I15, I16: over sockets on both processes, fifty times."""
    ann, bob, cid = uuid4(), uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob, cid)
    sender = await scene.joined(ann, worker=0, acks=True)
    readers = [await scene.joined(bob, worker=n, acks=True) for n in range(2)]
    stays = await scene.joined(cid, worker=1, acks=True)
    stop = asyncio.Event()

    async def run() -> None:
        while not stop.is_set():
            (await sender.send(conversation_id)).ok

    running = asyncio.create_task(run())
    for turn in range(50):
        await scene.remove(ann, conversation_id, bob, worker=turn)
        await asyncio.sleep(random.uniform(0, 0.01))
        await scene.add(ann, conversation_id, bob, worker=turn + 1)
    stop.set()
    await running
    last = (await sender.send(conversation_id)).ok["seq"]
    for client in (*readers, stays):
        await client.until_seq(conversation_id, last)
    allowed = spans_of(scene, conversation_id, bob)
    assert len(allowed) == last - 1 - between(scene, conversation_id)
    for reader in readers:
        seqs = reader.seqs(conversation_id)
        assert set(seqs) - allowed == set()
        assert allowed - set(seqs) == set()
        assert list(dict.fromkeys(seqs)) == sorted(set(seqs))  # a repeat may come, but nothing out of order
    assert stays.seqs(conversation_id) == list(range(1, last + 1))
    # A third device that was away for all of it sees the same on its return, and by REST.
    late = await scene.joined(bob, acks=True)
    await late.until_seq(conversation_id, last)
    assert set(late.seqs(conversation_id)) == allowed


def presence(client: Client, topic: str) -> set[str]:
    """Who is there, as phoenix.js would keep it from `presence_state` and `presence_diff`."""
    refs: dict[str, set[str]] = {}
    for push in client.pushes:
        if push.topic != topic:
            continue
        if push.event == "presence_state":
            refs = {user: {meta["phx_ref"] for meta in one["metas"]} for user, one in push.payload.items()}
        elif push.event == "presence_diff":
            for user, one in push.payload["joins"].items():
                refs.setdefault(user, set()).update(meta["phx_ref"] for meta in one["metas"])
            for user, one in push.payload["leaves"].items():
                refs.get(user, set()).difference_update(meta["phx_ref"] for meta in one["metas"])
    return {user for user, found in refs.items() if found}


def spans_of(scene: Scene, conversation_id: str, user: UUID) -> set[int]:
    """The seqs that the user may see, by the log's own system entries."""
    sql = "SELECT seq, metadata FROM messages WHERE conversation_id = %s ORDER BY seq"
    allowed, inside = set(), False
    for seq, metadata in scene.rows(sql, conversation_id):
        mine = str(user) in metadata.get("userIds", ())
        if mine and metadata["event"] in ("conversation_created", "member_added"):
            inside = True
        if inside:
            allowed.add(seq)
        if mine and metadata["event"] == "member_removed":
            inside = False
    return allowed


def between(scene: Scene, conversation_id: str) -> int:
    """How many entries, less one, fell between a removal and the addition after it."""
    sql = "SELECT seq, metadata->>'event' FROM messages WHERE conversation_id = %s ORDER BY seq"
    count, outside = 0, False
    for _, event in scene.rows(sql, conversation_id):
        if event == "member_added":
            outside = False
        count += outside
        if event == "member_removed":
            outside = True
    return count - 1
