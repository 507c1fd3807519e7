"""Who does not get in: tokens, origins, versions; and floods of control frames (the reliability catalogue §3)."""

import asyncio
import base64
import json
import time
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.e2e.server import SECRET
from tests.live.client import ANSWER_SECONDS, token_of
from tests.live.room import Room
from tests.live.server import Scene


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
