"""Requests over the socket that must be refused, and what a client says of itself (the reliability catalogue §3)."""

import asyncio
import base64
import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.live.client import ANSWER_SECONDS, Reply, message_of
from tests.live.room import CIPHERTEXT, Room
from tests.live.server import Scene


def _send(**fields: Any) -> dict[str, Any]:
    return {"type": "text", "content": CIPHERTEXT, "clientRandom": 500} | fields


BIG = {f"k{number}": 1 for number in range(8_000)}
SENDS: list[tuple[str, Any, str]] = [
    *((f"10 clientRandom {value!r}", _send(clientRandom=value), "bad_request") for value in (2**53, 2**63, -1, 10**30)),
    *((f"10 clientRandom {value!r}", _send(clientRandom=value), "bad_request") for value in (1.5, "1", True, None, [])),
    ("10 clientRandom 1e400", '{"clientRandom":1e400,"type":"text","content":"YQ=="}', "bad_request"),
    ("10 clientRandom absent", {"type": "text", "content": CIPHERTEXT}, "bad_request"),
    ("11 4,000 digits", '{"metadata":{"a":' + "9" * 4_000 + "}}", "bad_request"),
    ("11 1e308", _send(metadata={"a": 1e308}), "bad_request"),
    ("11 1e-300", _send(metadata={"a": [1e-300]}), "bad_request"),
    ("11 2^53", _send(metadata={"a": 2**53}), "bad_request"),
    ("7 metadata of depth 9", _send(metadata={"a": [[[[[[[[1]]]]]]]]}), "bad_request"),
    ("13 8,000 keys", _send(metadata=BIG), "too_large"),
    ("13 a key of 5,000 characters", _send(metadata={"k" * 5_000: 1}), "too_large"),
    ("13 metadata is a list", _send(metadata=[]), "bad_request"),
    ("13 metadata is a text", _send(metadata="{}"), "bad_request"),
    *(
        (f"14 content {value!r}", _send(content=value), "bad_request")
        for value in ({}, 7, None, [], "", "=", "YQ", "Y")
    ),
    ("14 content with a line break", _send(content="YW\nJj"), "bad_request"),
    ("14 content of the other alphabet", _send(content="-_-_"), "bad_request"),
    ("14 content over its limit", _send(content=base64.b64encode(b"x" * (64 * 1024 + 1)).decode()), "too_large"),
    ("19 type system", _send(type="system"), "forbidden"),
    *((f"19 type {value!r}", _send(type=value), "bad_request") for value in ("nothing", ["text"], None, 1, "")),
    *((f"ttl {value!r}", _send(ttl=value), "bad_request") for value in (0, -1, 2_419_201, 1.5, "60", True)),
    ("replyTo nobody's", _send(replyTo=str(UUID(int=7))), "invalid_target"),
    ("replyTo no UUID", _send(replyTo="' OR 1=1--"), "bad_request"),
    ("49 a key of another message", _send(clientRandom=1), "client_random_reused"),
    ("membersVersion old", _send(membersVersion=0), "stale_membership"),
    ("membersVersion negative", _send(membersVersion=-1), "bad_request"),
    ("54 a signature that is none", _send(signature="YQ=="), "invalid_signature"),
    ("54 a signature of 100,000 bytes", _send(signature="A" * 100_000), "invalid_signature"),
]


@pytest.mark.parametrize(("name", "payload", "code"), SENDS, ids=[name for name, _, _ in SENDS])
async def test_a_bad_send(scene: Scene, name: str, payload: Any, code: str) -> None:
    room = await cached_room(scene)
    before = room.stored()
    if isinstance(payload, str):
        future = room.ann._pending["raw"] = asyncio.get_running_loop().create_future()
        body = payload[:-1] + f',"conversationId":"{room.id}"}}'
        await room.ann.frame(f'["{room.ann._joins[room.ann.inbox]}","raw","{room.ann.inbox}","send_message",{body}]')
        reply: Reply = await asyncio.wait_for(future, ANSWER_SECONDS)
    else:
        reply = await room.ann.ask(room.ann.inbox, "send_message", {"conversationId": room.id} | payload)
    assert reply.code == code
    await room.ann.heartbeat()
    await room.bob.heartbeat()
    assert room.stored() == before


FOREIGN = str(UUID(int=5))
EVENTS: list[tuple[str, str, dict[str, Any], str]] = [
    ("35 a foreign conversation", "send_message", _send(conversationId=FOREIGN), "not_found"),
    ("16 no UUID", "send_message", _send(conversationId="' OR 1=1--"), "bad_request"),
    ("16 a UUID and CRLF", "send_message", _send(conversationId=FOREIGN + "\r\n"), "bad_request"),
    ("16 no conversation", "send_message", _send(), "bad_request"),
    ("38 an ack of a foreign conversation", "message_received", {"conversationId": FOREIGN, "upTo": 1}, "not_found"),
    ("38 an ack of less than nothing", "message_received", {"conversationId": "ROOM", "upTo": -1}, "bad_request"),
    ("38 an ack of 10^30", "message_received", {"conversationId": "ROOM", "upTo": 10**30}, "bad_request"),
    ("38 an ack of a text", "message_received", {"conversationId": "ROOM", "upTo": "1"}, "bad_request"),
    ("38 an ack without upTo", "message_received", {"conversationId": "ROOM"}, "bad_request"),
    ("38 an ack of nothing", "message_read", {}, "bad_request"),
    ("38 two forms", "message_read", {"conversationId": "ROOM", "upTo": 1, "messageIds": []}, "bad_request"),
    ("39 10,000 ids", "message_read", {"messageIds": [FOREIGN] * 2_000}, "bad_request"),
    ("39 ids that are none", "message_read", {"messageIds": ["1"]}, "bad_request"),
    ("40 before and after", "history", {"conversationId": "ROOM", "before": 2, "after": 1}, "bad_request"),
    ("40 a negative after", "history", {"conversationId": "ROOM", "after": -1}, "bad_request"),
    ("40 after 10^30", "history", {"conversationId": "ROOM", "after": 10**30}, "bad_request"),
    ("40 SQL as before", "history", {"conversationId": "ROOM", "before": "1; DROP TABLE messages"}, "bad_request"),
    ("40 a foreign history", "history", {"conversationId": FOREIGN}, "not_found"),
    ("typing without active", "typing", {"conversationId": "ROOM"}, "bad_request"),
    ("typing elsewhere", "typing", {"conversationId": FOREIGN, "active": True}, "not_found"),
]


@pytest.mark.parametrize(("name", "event", "payload", "code"), EVENTS, ids=[name for name, *_ in EVENTS])
async def test_a_bad_event(scene: Scene, name: str, event: str, payload: dict[str, Any], code: str) -> None:
    room = await cached_room(scene)
    before = room.stored()
    if payload.get("conversationId") == "ROOM":
        payload = payload | {"conversationId": room.id}
    assert (await room.ann.ask(room.ann.inbox, event, payload)).code == code
    await room.ann.heartbeat()
    assert room.stored() == before


_rooms: dict[tuple[int, int], Room] = {}


async def cached_room(scene: Scene) -> Room:
    """A room of this test; its sockets are opened anew, because a loop ends with its test."""
    key = (id(scene.cluster), scene.cluster.workers[0].port)
    known = _rooms.get(key)
    if known is None:
        known = _rooms[key] = await Room.of(scene)
        return known
    ann = await scene.joined(known.ann.user, known.ann.device, cursors={known.id: 2})
    bob = await scene.joined(known.bob.user, known.bob.device, cursors={known.id: 2})
    _rooms[key] = Room(scene, ann, bob, known.id)
    return _rooms[key]


async def test_what_only_the_server_says_is_not_honoured(scene: Scene) -> None:
    """Row 17."""
    room = await Room.of(scene)
    forged = {
        "senderId": str(room.bob.user),
        "senderDeviceId": str(uuid4()),
        "sentAt": "2001-01-01T00:00:00Z",
        "seq": 77,
        "id": str(uuid4()),
        "messageId": str(uuid4()),
        "is_deleted": True,
        "expiresAt": "2001-01-01T00:00:00Z",
        "expires_at": "2001-01-01T00:00:00Z",
        "__proto__": {"a": 1},
    }
    sent = (await room.ann.send(room.id, metadata={"__proto__": 1, "constructor": {}}, **forged)).ok
    assert sent["seq"] == 3
    assert sent["messageId"] not in forged.values()
    await room.bob.until_seq(room.id, 3)
    entry = room.bob.entries[room.id][-1]
    assert (entry["senderId"], entry["senderDeviceId"]) == (str(room.ann.user), str(room.ann.device))
    assert entry["sentAt"] == sent["sentAt"] > "2020"
    assert (entry["expiresAt"], entry["metadata"]) == (None, {"__proto__": 1, "constructor": {}})


TOPICS = (
    "conversation:*",
    "conversation:' OR 1=1--",
    "conversation:",
    "conversation:\r\nx",
    "conversation:été",
    "conversation:{%s}",
    "conversation:%S",
    "user:",
    "user:%s:x",
    "%s",
    "",
    "x" * 10_000,
)


async def test_a_topic_that_is_none(scene: Scene) -> None:
    """Rows 16 and 44."""
    room = await Room.of(scene)
    for template in TOPICS:
        topic = template.replace("%s", room.id).replace("%S", room.id.upper())
        reply = await room.ann.join(topic)
        assert (reply.status, reply.response) == ("error", {"reason": "unmatched topic"}), topic
    for other in (room.bob.user, uuid4()):
        reply = await room.ann.join(f"user:{other}")
        assert (reply.status, reply.response) == ("error", {"reason": "unmatched topic"})
    foreign, absent = await scene.group(uuid4()), str(uuid4())
    assert await room.ann.join(f"conversation:{foreign}") == await room.ann.join(f"conversation:{absent}")
    await room.ann.heartbeat()
    reply = await room.ann.ask(room.ann.inbox, "no_such_event", {})
    assert (reply.status, reply.response) == ("error", {"reason": "unmatched event"})


JOINS: list[Any] = [
    {"cursors": []},
    {"cursors": {"x": 1}},
    {"cursors": {"ROOM": -1}},
    {"cursors": {"ROOM": 10**30}},
    {"cursors": {"ROOM": "1"}},
    {"cursors": {"ROOM": 1.5}},
    {"cursors": {"ROOM": None}},
    {"epoch": 7},
    {"epoch": "e" * 65},
    {"binary": "yes"},
]


async def test_a_bad_join_is_refused_and_can_be_mended(scene: Scene) -> None:
    """Row 40."""
    room = await Room.of(scene)
    client = await scene.client(room.bob.user)
    for payload in JOINS:
        body = json.loads(json.dumps(payload).replace("ROOM", room.id))
        assert (await client.join(client.inbox, **body)).code == "bad_request", payload
    await client.join_inbox()
    assert client.seqs(room.id) == [1, 2]


async def test_before_and_after_a_join(scene: Scene) -> None:
    """Row 18."""
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    client = await scene.client(ann)
    for event, payload in (("send_message", message_of(conversation_id)), ("typing", {}), ("nonsense", {})):
        reply = await client.ask(client.inbox, event, payload)
        assert (reply.status, reply.response) == ("error", {"reason": "unmatched topic"})
    assert (await client.ask(f"conversation:{conversation_id}", "phx_leave", {})).ok == {}
    (await client.join(client.inbox)).ok
    first = client._joins[client.inbox]
    (await client.join(client.inbox)).ok  # takes the first one's place
    closes = [push for push in client.pushes if push.event == "phx_close"]
    assert [push.join_ref for push in closes] == [first]
    # What is meant for the first join is dropped; a ref that is used again is answered again.
    before = len(client.pushes)
    await client.frame(json.dumps([first, "900", client.inbox, "send_message", message_of(conversation_id)]))
    for _ in range(2):
        client._refs = iter(["901", "902"])
        assert (await client.ask(client.inbox, "history", {"conversationId": conversation_id})).ok["hasMore"] is False
    client._refs = iter(map(str, range(1_000, 1_100)))
    await client.heartbeat()
    assert [push for push in client.pushes[before:] if push.event == "phx_reply"] == []
    assert len(scene.log(conversation_id)) == 1


async def test_an_ack_of_what_was_never_written_ends_the_socket(scene: Scene) -> None:
    """Row 38; below the head it is not taken as received."""
    room = await Room.of(scene)
    before = room.stored()
    for event in ("message_received", "message_read"):
        client = await scene.joined(room.bob.user)
        future = await client.asked(client.inbox, event, {"conversationId": room.id, "upTo": 3})
        assert (await future).code == "bad_request"
        assert await client.until_closed() == 4400
    assert room.stored()[:2] == before[:2]
    for event in ("message_received", "message_read"):
        behind = await scene.client(room.bob.user)
        # It joined another conversation only, and holds nothing of this one.
        own = await scene.group(room.bob.user)
        (await behind.join(f"conversation:{own}")).ok
        acks = {"conversationId": room.id, "upTo": 2, "userId": str(room.ann.user)}
        assert (await behind.ask(f"conversation:{own}", event, acks)).code == "bad_request"
    assert room.stored()[:2] == before[:2]


async def test_a_receipt_is_the_callers_own(scene: Scene) -> None:
    """Row 39: whoever is named, and one's own message."""
    room = await Room.of(scene)
    body = {"conversationId": room.id, "upTo": 2, "userId": str(room.bob.user), "deviceId": str(room.bob.device)}
    assert (await room.ann.ask(room.ann.inbox, "message_read", body)).ok == {}
    sql = "SELECT user_id, read_seq FROM members WHERE conversation_id = %s"
    assert dict(scene.rows(sql, room.id)) == {room.ann.user: 2, room.bob.user: 0}
    sql = "SELECT user_id, delivered_at, read_at FROM delivery_statuses s JOIN messages m ON m.id = s.message_id"
    assert scene.rows(sql + " WHERE m.conversation_id = %s", room.id) == [(room.bob.user, None, None)]
    assert room.ann.events("read_status_update") == []


async def test_limits_of_history_are_cut_to_what_is_allowed(scene: Scene) -> None:
    """Row 40."""
    room = await Room.of(scene)
    for limit, count in ((0, 1), (-1, 1), (10**9, 2), (2, 2)):
        page = (await room.bob.ask(room.bob.inbox, "history", {"conversationId": room.id, "limit": limit})).ok
        assert len(page["messages"]) == count, limit
        assert page["hasMore"] == (count == 1)


async def test_a_hundred_topics_and_no_more(scene: Scene) -> None:
    client = await scene.joined(uuid4())
    groups = [await scene.group(client.user, worker=number) for number in range(100)]
    replies = [await client.join(f"conversation:{group}") for group in groups]
    assert [reply.status for reply in replies] == ["ok"] * 99 + ["error"]
    assert replies[-1].response == {"reason": "too many channels joined"}
    assert (await client.ask(f"conversation:{groups[0]}", "phx_leave", {})).ok == {}
    (await client.join(f"conversation:{groups[-1]}")).ok
