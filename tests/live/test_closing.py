"""How the server ends a socket, with which code, and whom it does not touch (docs/protocol.md "Close codes")."""

import asyncio
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from websockets.exceptions import InvalidStatus

from tests.live.client import Client, message_of, token_of
from tests.live.conftest import LIVE_ASGI
from tests.live.server import Cluster, Scene


async def test_a_newer_socket_of_a_device_takes_its_place(scene: Scene) -> None:
    user, device = uuid4(), uuid4()
    other_device = await scene.joined(user)
    others_same_id = await scene.joined(uuid4())
    older = await scene.joined(user, device, worker=0)
    for worker in (0, 1, 0):  # on the same process and on the other one
        newer = await scene.joined(user, device, worker=worker)
        assert await older.until_closed() == 4409
        await newer.heartbeat()
        older = newer
    for client in (other_device, others_same_id, older):
        await client.heartbeat()


async def test_a_device_is_its_users_own(scene: Scene) -> None:
    ann, bob, device = uuid4(), uuid4(), uuid4()
    mine = await scene.joined(ann, device)
    with pytest.raises(InvalidStatus) as refused:
        await scene.client(bob, device, worker=1)
    assert refused.value.response.status_code == 403
    await mine.heartbeat()


async def test_the_end_of_a_token_ends_its_socket(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    device = uuid4()
    short = await scene.client(bob, device, token=token_of(bob, device, lifetime=2))
    await short.join_inbox()
    long = await scene.joined(bob)
    assert await short.until_closed() == 4401
    sent = (await (await scene.joined(ann)).send(conversation_id)).ok
    await long.until_seq(conversation_id, sent["seq"])
    assert sent["seq"] not in short.seqs(conversation_id)


async def test_a_token_is_renewed_in_band(scene: Scene) -> None:
    """`token_expiring`, then `renew_token`: the socket outlives its first token (the reliability catalogue row 29)."""
    bob, device = uuid4(), uuid4()
    socket_ = await scene.client(bob, device, token=token_of(bob, device, lifetime=4))
    await socket_.join_inbox()
    await socket_.until(lambda: socket_.events("token_expiring"))
    first = datetime.fromisoformat(socket_.events("token_expiring")[0]["expiresAt"])
    other = await socket_.ask(socket_.inbox, "renew_token", {"token": token_of(bob, uuid4())})
    assert other.code == "forbidden"
    stranger = await socket_.ask(socket_.inbox, "renew_token", {"token": token_of(uuid4(), device)})
    assert stranger.code in ("unauthenticated", "forbidden")
    assert (await socket_.ask(socket_.inbox, "renew_token", {"token": "x.y.z"})).code == "unauthenticated"
    renewed = (await socket_.ask(socket_.inbox, "renew_token", {"token": token_of(bob, device)})).ok
    assert datetime.fromisoformat(renewed["expiresAt"]) > first
    await asyncio.sleep((first - datetime.now(UTC)).total_seconds() + 3)  # longer than the sweep's 2 s
    await socket_.heartbeat()


async def test_a_revoked_device_is_cut_off_on_every_process(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    lost, kept = uuid4(), uuid4()
    gone = await scene.joined(bob, lost, worker=1)
    stays = await scene.joined(bob, kept, worker=1)
    answer = await scene.rest(bob, "DELETE", f"devices/{lost}", device=kept, worker=0)
    assert answer.status in (200, 204), answer
    assert await gone.until_closed() == 4403
    for worker in (0, 1):
        with pytest.raises(InvalidStatus) as refused:
            await scene.client(bob, lost, worker=worker)
        assert refused.value.response.status_code == 403
        answer = await scene.rest(bob, "GET", "conversations", device=lost, worker=worker)
        assert (answer.status, answer.body["code"]) == (401, "unauthenticated")
    sent = (await (await scene.joined(ann)).send(conversation_id)).ok
    await stays.until_seq(conversation_id, sent["seq"])
    assert sent["seq"] not in gone.seqs(conversation_id)


async def test_a_user_has_so_many_sockets(scene: Scene) -> None:
    user = uuid4()
    sockets = [await scene.client(user) for _ in range(20)]
    one_too_many = await scene.client(user)
    assert await one_too_many.until_closed() == 4429
    await sockets[0].close()
    another = await scene.joined(user)
    for client in (*sockets[1:], another):
        await client.heartbeat()


# --- with shorter times than a deployment has ---


@pytest.fixture(scope="module", params=LIVE_ASGI)
def impatient(request: pytest.FixtureRequest, live_database: None) -> Iterator[Cluster]:
    environment = {
        "WHISPR_SOCKET_IDLE_SECONDS": "3",
        "WHISPR_WRITE_SECONDS": "3",
        "WHISPR_SENDS_PER_MINUTE": "5",
    }
    with Cluster(request.param, workers=1, env=environment) as servers:
        yield servers


async def test_a_silent_socket_is_idle(impatient: Cluster) -> None:
    scene = Scene(impatient)
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    silent, alive = await scene.joined(bob), await scene.joined(bob)

    async def beat() -> None:
        while True:
            await alive.heartbeat()
            await asyncio.sleep(0.5)

    beating = asyncio.create_task(beat())
    # What the server sends is no sign of life of the client.
    ann_here = await scene.joined(ann)
    (await ann_here.send(conversation_id)).ok
    assert await silent.until_closed() == 4408
    assert await ann_here.until_closed() == 4408
    beating.cancel()
    await alive.heartbeat()
    await scene.close()
    assert impatient.faults() == ""


async def test_a_socket_that_reads_nothing_is_ended_and_costs_nobody(impatient: Cluster) -> None:
    scene = Scene(impatient)
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    sender = await scene.joined(ann)
    for _ in range(5):
        (await sender.send(conversation_id, b"c" * 64 * 1024)).ok
    # A connection of our own, so that nothing reads ahead of the test.
    stream = socket.create_connection(("127.0.0.1", impatient.workers[0].port), timeout=20)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    device = uuid4()
    stream.sendall(handshake(token_of(bob, device)))
    assert b" 101 " in stream.recv(1024)
    topic = f"user:{bob}"
    stream.sendall(masked(["1", "1", topic, "phx_join", {}]))
    for number in range(2, 60):
        stream.sendall(masked(["1", str(number), topic, "history", {"conversationId": conversation_id}]))
    # It never reads. Its heartbeats would keep it alive; the server must not wait for it for ever.
    for number in range(60, 90):
        try:
            stream.sendall(masked([None, str(number), "phoenix", "heartbeat", {}]))
        except OSError:
            break
        await sender.heartbeat()
        await asyncio.sleep(0.3)
    else:
        stream.setblocking(False)
        ended = False
        while not ended:
            try:
                ended = not stream.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                ended = True
        assert ended, "the connection is still open"
    stream.close()
    await sender.heartbeat()
    await scene.close()
    assert impatient.faults() == ""


def handshake(token: str, *headers: bytes) -> bytes:
    """The request of a connection of our own."""
    lines = [
        b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1",
        b"Host: localhost",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
        f"Authorization: Bearer {token}".encode(),
        *headers,
    ]
    return b"\r\n".join([*lines, b"", b""])


@pytest.mark.skipif("uvicorn" not in LIVE_ASGI, reason="daphne's pings are autobahn's")
def test_a_socket_that_answers_no_ping_is_closed_with_a_code_of_ours(live_database: None) -> None:
    """4408 and the end of the connection, never the library's own 1011 (the reliability catalogue §3)."""
    with Cluster("uvicorn", workers=1, env={"WHISPR_PING_SECONDS": "1"}) as servers:
        stream = socket.create_connection(("127.0.0.1", servers.workers[0].port), timeout=20)
        stream.sendall(handshake(token_of(uuid4(), uuid4())))
        received = b""
        while chunk := stream.recv(65536):
            received += chunk
        frames = received.partition(b"\r\n\r\n")[2]
        assert frames[0] == 0x89, frames  # a ping
        assert frames[6:10] == b"\x88" + frames[7:8] + (4408).to_bytes(2, "big"), frames
        assert servers.faults() == ""


def test_a_handshake_whose_header_is_too_long_is_answered(cluster: Cluster) -> None:
    stream = socket.create_connection(("127.0.0.1", cluster.workers[0].port), timeout=20)
    stream.sendall(handshake(token_of(uuid4(), uuid4()), b"X-Long: " + b"x" * 9_000))
    answer = b""
    while b"\r\n\r\n" not in answer and (chunk := stream.recv(65536)):
        answer += chunk
    stream.close()
    # daphne takes it.
    assert int(answer.split()[1]) == (431 if cluster.asgi == "uvicorn" else 101), answer


def masked(frame: list[object]) -> bytes:
    """A text frame of a client with a mask of zeros."""
    body = json.dumps(frame).encode()
    assert 126 <= len(body) < 65536 or len(body) < 126
    size = bytes([0x80 | len(body)]) if len(body) < 126 else b"\xfe" + len(body).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + body


async def test_the_sixth_send_a_minute_waits(impatient: Cluster) -> None:
    """The rate is the user's: over devices and both transports together (the reliability catalogue row 56)."""
    scene = Scene(impatient)
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    devices: list[Client] = [await scene.joined(ann) for _ in range(2)]
    for number in range(4):
        (await devices[number % 2].send(conversation_id)).ok
    answer = await scene.rest(ann, "POST", "messages", message_of(conversation_id))
    assert answer.status == 201, answer
    for device in devices:
        refused = await device.send(conversation_id)
        assert refused.code == "rate_limited"
        assert 0 < refused.response["retryAfter"] <= 60
        assert (await device.ack(conversation_id, 1)).ok == {}  # acknowledgements have a rate of their own
    answer = await scene.rest(ann, "POST", "messages", message_of(conversation_id))
    assert (answer.status, answer.body["code"]) == (429, "rate_limited")
    assert (await (await scene.joined(bob)).send(conversation_id)).ok["seq"] == 7
    await scene.close()
    assert impatient.faults() == ""
