"""Frames that are none, too large, too many or of the wrong kind, over the socket (the reliability catalogue §3)."""

import asyncio
import base64
import contextlib
import json
import struct
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.live.client import ANSWER_SECONDS, Client, Reply, token_of
from tests.live.room import Room
from tests.live.server import Scene


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

    async def fragments() -> AsyncIterator[str]:
        for number in range(133):
            if number == 132 and scene.cluster.asgi == "uvicorn":  # daphne looks at the one after
                await client.until_closed()  # what is written to a closed connection makes TCP drop the close's code
            yield "x" * 1_000

    with contextlib.suppress(ConnectionClosed):
        await client.connection.send(fragments())
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
