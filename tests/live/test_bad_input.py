"""Bad input on a socket (the reliability catalogue §3; the number of its row stands with each case).

A refusal is a coded reply and the socket lives, or the documented close. Nothing is stored, nothing is a fault of ours.
"""

import asyncio
import base64
import contextlib
import json
import struct
import time
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import UUID, uuid4

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.server import SECRET
from tests.live.client import ANSWER_SECONDS, Client, Reply, message_of, token_of
from tests.live.server import Scene

CIPHERTEXT = base64.b64encode(b"ciphertext").decode()


class Room:
    """A conversation of two, with one message in it, and a socket of each."""

    def __init__(self, scene: Scene, ann: Client, bob: Client, conversation_id: str) -> None:
        self.scene, self.ann, self.bob, self.id = scene, ann, bob, conversation_id

    @classmethod
    async def of(cls, scene: Scene) -> "Room":
        ann, bob = uuid4(), uuid4()
        conversation_id = await scene.group(ann, bob)
        room = cls(scene, await scene.joined(ann), await scene.joined(bob, worker=1), conversation_id)
        (await room.ann.send(conversation_id, b"first", clientRandom=1)).ok
        await room.bob.until_seq(conversation_id, 2)
        return room

    def stored(self) -> tuple[Any, ...]:
        """All that a request could have changed."""
        return (
            self.scene.log(self.id),
            self.scene.rows("SELECT user_id, delivered_seq, read_seq FROM members WHERE conversation_id = %s", self.id),
            self.scene.rows("SELECT count(*) FROM send_keys WHERE sender_id = %s", self.ann.user),
            self.scene.rows("SELECT id, acked_seq FROM device_cursors WHERE conversation_id = %s", self.id),
            self.scene.rows("SELECT count(*) FROM device_cursors WHERE device_id = %s", self.ann.device),
        )


# --- frames ---


def _frame(payload: str, ref: str = '"77"', event: str = "send_message") -> str:
    return f'["1",{ref},"TOPIC","{event}",{payload}]'


FRAMES: list[tuple[str, str]] = [
    ("1 an open brace", "{"),
    ("1 truncated", '["1","77","TOPIC","send_mess'),
    ("1 JSON, then more", '["1","77","TOPIC","typing",{}] x'),
    ("1 nothing", ""),
    ("7 depth 1,500", _frame('{"metadata":' + "[" * 1_500 + "]" * 1_500 + "}")),
    ("7 depth 50,000", _frame('{"metadata":' + "[" * 50_000 + "]" * 50_000 + "}")),
    ("7 depth 20,000 of objects", _frame('{"a":' * 20_000 + "1" + "}" * 20_000)),
    ("8 NUL in metadata", _frame(r'{"metadata":{"a":"\u0000"}}')),
    ("8 NUL in a key", _frame(r'{"metadata":{"\u0000":1}}')),
    ("9 half a surrogate pair", _frame(r'{"metadata":{"a":"\ud800"}}')),
    ("10 NaN", _frame('{"clientRandom":NaN}')),
    ("11 Infinity", _frame('{"metadata":{"a":Infinity}}')),
    ("15 null", "null"),
    ("15 a text", '"text"'),
    ("15 a number", "7"),
    ("15 an empty list", "[]"),
    ("15 four elements", '["1","77","TOPIC","typing"]'),
    ("15 the payload is a list", _frame("[]")),
    ("15 the payload is null", _frame("null")),
    ("15 no ref", _frame("{}", ref="null")),
    ("15 a ref of 100,000 characters", _frame("{}", ref='"' + "r" * 100_000 + '"')),
    ("15 a ref that is a list", _frame("{}", ref="[1]")),
    ("15 a huge integer as ref", _frame("{}", ref="9" * 4_000)),
    ("16 an event of 10,000 characters", _frame("{}", event="e" * 10_000)),
]


@pytest.mark.parametrize(("name", "frame"), FRAMES, ids=[name for name, _ in FRAMES])
async def test_a_bad_frame_is_answered_and_the_socket_lives(scene: Scene, name: str, frame: str) -> None:
    client = await scene.joined(uuid4())
    before = len(client.pushes)
    await client.frame(frame.replace("TOPIC", client.inbox))
    await client.until(lambda: len(client.pushes) > before)
    answer = client.pushes[before]
    assert (answer.event, answer.payload["status"]) == ("phx_reply", "error")
    assert answer.payload["response"]["reason"] == "bad_request"
    await client.heartbeat()
    assert len(client.pushes) == before + 1


async def test_five_bad_frames_are_enough(scene: Scene) -> None:
    client = await scene.joined(uuid4())
    for _ in range(5):
        await client.frame("{")
    assert await client.until_closed() == 4400
    assert [push.payload["status"] for push in client.pushes if push.event == "phx_reply"] == ["error"] * 5


BINARY: list[tuple[str, bytes]] = [
    ("2 nothing", b""),
    ("2 another kind", b"\x07\x01\x01\x01\x011111"),
    ("2 a header past the end", b"\x00\xff\xff\xff\xff1"),
    ("2 JSON in a binary frame", b'["1","2","t","e",{}]'),
    ("2 a text that is no UTF-8", b"\x00\x01\x01\x01\x01\xff\xff\xff\xff"),
]


@pytest.mark.parametrize(("name", "frame"), BINARY, ids=[name for name, _ in BINARY])
async def test_a_bad_binary_frame(scene: Scene, name: str, frame: bytes) -> None:
    client = await scene.joined(uuid4())
    await client.frame(frame)
    await client.until(lambda: any(push.event == "phx_reply" for push in client.pushes))
    assert client.pushes[-1].payload["response"]["reason"] == "bad_request"
    await client.heartbeat()


def binary_push(client: Client, header: bytes, content: bytes, event: str = "send_message", size: int | None = None):
    """A binary push with ref 9 on the inbox."""
    parts = [client._joins[client.inbox].encode(), b"9", client.inbox.encode(), event.encode()]
    body = struct.pack(">I", len(header) if size is None else size) + header + content
    return bytes([0, *map(len, parts)]) + b"".join(parts) + body


async def test_a_binary_send_and_what_it_may_not_be(scene: Scene) -> None:
    room = await Room.of(scene)
    before = room.stored()
    head = {"conversationId": room.id, "type": "text", "clientRandom": 900}
    good = json.dumps(head).encode()
    bad: list[tuple[bytes, str]] = [
        (binary_push(room.ann, b"{", b"x"), "bad_request"),
        (binary_push(room.ann, good, b"x", size=10**9), "bad_request"),
        (binary_push(room.ann, good, b""), "bad_request"),
        (binary_push(room.ann, b"[]", b"x"), "bad_request"),
        (binary_push(room.ann, good, b"x" * (64 * 1024 + 1)), "too_large"),
        (binary_push(room.ann, b"{}", b"", event="typing"), "bad_request"),
    ]
    for number, (frame, code) in enumerate(bad):
        if number % 3 == 2:  # strikes are counted: another socket of the same user
            room.ann = await scene.joined(room.ann.user)
            frame = frame.replace(b"9user", b"9user")
        future = room.ann._pending["9"] = asyncio.get_running_loop().create_future()
        await room.ann.frame(frame)
        reply: Reply = await asyncio.wait_for(future, ANSWER_SECONDS)
        assert reply.code == code, number
    assert room.stored()[0] == before[0]
    future = room.ann._pending["9"] = asyncio.get_running_loop().create_future()
    await room.ann.frame(binary_push(room.ann, good, b"\x00\xffraw"))
    assert (await asyncio.wait_for(future, ANSWER_SECONDS)).ok["seq"] == 3
    await room.bob.until_seq(room.id, 3)
    assert room.bob.entries[room.id][-1]["content"] == base64.b64encode(b"\x00\xffraw").decode()


async def test_what_is_no_text_or_too_large_ends_in_the_websockets_own_codes(scene: Scene) -> None:
    """Rows 3 and 4. The limit itself still passes."""
    client = await scene.joined(uuid4())
    at_limit = json.dumps([None, "5", "phoenix", "heartbeat", {"x": ""}])
    at_limit = at_limit.replace('""', '"' + "x" * (128 * 1024 - len(at_limit)) + '"')
    assert len(at_limit) == 128 * 1024
    await client.frame(at_limit)
    await client.until(lambda: any(push.event == "phx_reply" for push in client.pushes))
    await client.heartbeat()
    over = await scene.client(uuid4())
    await over.frame("x" * 256 * 1024)
    assert await over.until_closed() == 1009
    not_utf8 = await scene.client(uuid4())
    await not_utf8.connection.send(b"\xff\xfe", text=True)
    assert await not_utf8.until_closed() == 1007
    await client.heartbeat()
    # uvicorn writes a traceback of its own for a text that is none. Ours would not be that error.
    faults = scene.cluster.faults()
    assert faults.count("Traceback") == faults.count("\nUnicodeDecodeError: ")


async def test_a_frame_a_little_over_the_limit_is_answered_or_closed(scene: Scene) -> None:
    client = await scene.joined(uuid4())
    await client.frame(_frame('{"x":"' + "x" * 128 * 1024 + '"}').replace("TOPIC", client.inbox))
    await client.until(lambda: client.connection.close_code or any(p.event == "phx_reply" for p in client.pushes))
    if client.connection.close_code is None:
        assert client.pushes[-1].payload["response"]["reason"] == "too_large"
        await client.heartbeat()
    else:
        assert client.connection.close_code == 1009


async def test_fragments_are_bounded_together(scene: Scene) -> None:
    """Row 5: no fragment is over the limit, all of them are."""
    client = await scene.joined(uuid4())
    with contextlib.suppress(ConnectionClosed):  # while it still writes
        await client.connection.send(iter(["x" * 1_000] * 133))
    assert await client.until_closed() == 1009
    whole = await scene.joined(uuid4())
    frame = json.dumps([None, "1", "phoenix", "heartbeat", {}])
    await whole.connection.send(iter(list(frame)))  # one byte each
    await whole.until(lambda: any(push.event == "phx_reply" for push in whole.pushes))


async def test_compression_is_not_spoken(scene: Scene) -> None:
    """Row 6: some bytes that ask for megabytes are not understood at all."""
    user = uuid4()
    url = scene.url(0).replace("http", "ws", 1) + "/socket/websocket?vsn=2.0.0"
    headers = {"Authorization": f"Bearer {token_of(user, uuid4())}"}
    async with connect(url, additional_headers=headers, compression="deflate", close_timeout=1) as connection:
        assert connection.protocol.extensions == []


# --- requests ---


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


# --- tokens ---


def _signed(algorithm: str, key: str, **claims: Any) -> str:
    body = jwt.decode(token_of(uuid4(), uuid4()), options={"verify_signature": False}) | claims
    return jwt.encode(body, key, algorithm=algorithm, headers=claims.pop("headers", None))


def _unsigned(algorithm: str) -> str:
    _, payload, _ = token_of(uuid4(), uuid4()).split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode()).decode().rstrip("=")
    return f"{header}.{payload}."


def _with_header(**header: Any) -> str:
    body = jwt.decode(token_of(uuid4(), uuid4()), options={"verify_signature": False})
    return jwt.encode(body, SECRET, algorithm="HS256", headers=header)


TOKENS: list[tuple[str, str | None]] = [
    ("24 none", None),
    ("24 garbage", "garbage"),
    ("24 7,000 characters", "a" * 7_000),
    *((f"25 alg {name}", _unsigned(name)) for name in ("none", "None", "nOnE", "NONE")),
    ("26 another secret", _signed("HS256", "x" * 40)),
    ("26 another algorithm of the family", _signed("HS512", SECRET + "x" * 40)),
    ("27 crit", _with_header(crit=["x"], x=1)),
    ("28 expired", token_of(uuid4(), uuid4(), lifetime=-120)),
    ("28 not yet", token_of(uuid4(), uuid4(), nbf=int(time.time()) + 3_600)),
    ("28 no exp", token_of(uuid4(), uuid4(), exp=None)),
    ("28 exp in a hundred years", token_of(uuid4(), uuid4(), lifetime=100 * 365 * 86_400)),
    ("28 no aud", token_of(uuid4(), uuid4(), aud=None)),
    ("28 another aud", token_of(uuid4(), uuid4(), aud="other")),
    ("28 another issuer", token_of(uuid4(), uuid4(), iss="other")),
    ("28 no jti", token_of(uuid4(), uuid4(), jti=None)),
    ("31 no device", token_of(uuid4(), uuid4(), device=None)),
    ("31 a device that is none", token_of(uuid4(), uuid4(), device="*")),
    ("28 no sub", token_of(uuid4(), uuid4(), sub=None)),
]


@pytest.mark.parametrize(("name", "token"), TOKENS, ids=[name for name, _ in TOKENS])
async def test_a_bad_token_is_refused_before_the_upgrade(scene: Scene, name: str, token: str | None) -> None:
    url = scene.url(0).replace("http", "ws", 1) + "/socket/websocket?vsn=2.0.0"
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers=headers, open_timeout=ANSWER_SECONDS)
    assert refused.value.response.status_code == 403
    answer = await asyncio.to_thread(_get, f"{scene.url(0)}/api/v1/conversations", headers)
    assert answer == 401


def _get(url: str, headers: dict[str, str]) -> int:
    from urllib.request import Request

    try:
        with urlopen(Request(url, headers=headers), timeout=ANSWER_SECONDS) as response:
            return response.status
    except HTTPError as error:
        return error.code


async def test_a_token_in_the_query_is_not_looked_at(scene: Scene) -> None:
    """Row 24: only a ticket, once (row 33)."""
    user, device = uuid4(), uuid4()
    base = scene.url(0).replace("http", "ws", 1) + "/socket/websocket?vsn=2.0.0"
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{base}&token={token_of(user, device)}", open_timeout=ANSWER_SECONDS)
    assert refused.value.response.status_code == 403
    ticket = (await scene.rest(user, "POST", "socket-tickets", device=device)).body["ticket"]
    other = scene.url(1).replace("http", "ws", 1) + "/socket/websocket?vsn=2.0.0"
    async with connect(f"{other}&ticket={ticket}", open_timeout=ANSWER_SECONDS) as connection:
        await connection.send(json.dumps([None, "1", "phoenix", "heartbeat", {}]))
        assert json.loads(await connection.recv())[1] == "1"
    for again in (base, other):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{again}&ticket={ticket}", open_timeout=ANSWER_SECONDS)
        assert refused.value.response.status_code == 403


async def test_origins(scene: Scene) -> None:
    """Row 32."""
    url = scene.url(0).replace("http", "ws", 1) + "/socket/websocket?vsn=2.0.0"
    port = scene.cluster.workers[0].port

    async def status(origin: str | None) -> int:
        headers = {"Authorization": f"Bearer {token_of(uuid4(), uuid4())}"}
        if origin is not None:
            headers["Origin"] = origin
        try:
            async with connect(url, additional_headers=headers, open_timeout=ANSWER_SECONDS, close_timeout=1):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code

    assert await status(None) == await status(f"http://127.0.0.1:{port}") == 101
    for origin in ("https://evil.example", "null", "http://127.0.0.1:8081", f"https://127.0.0.1:{port}"):
        assert await status(origin) == 403, origin


async def test_an_unknown_version_and_an_unknown_path_are_refused(scene: Scene) -> None:
    headers = {"Authorization": f"Bearer {token_of(uuid4(), uuid4())}"}
    base = scene.url(0).replace("http", "ws", 1)
    for path in ("/socket/websocket?vsn=3.0.0", "/socket/websocket?vsn=x", "/socket/other", "/"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(base + path, additional_headers=headers, open_timeout=ANSWER_SECONDS)
        assert refused.value.response.status_code in (403, 404), path


async def test_a_flood_of_control_frames_costs_nobody(scene: Scene) -> None:
    """Row 20."""
    room = await Room.of(scene)
    flood = await scene.client(uuid4())
    for number in range(500):
        await flood.connection.ping(str(number))
    await flood.connection.pong(b"unasked")
    await flood.heartbeat()
    (await room.ann.send(room.id)).ok
    await room.bob.until_seq(room.id, 3)
    await flood.connection.close(code=3999)
    assert await flood.until_closed() in (3999, 1000, 1002, 1008)
