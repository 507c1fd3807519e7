"""Media on running servers: streamed through, shared by the processes (docs/protocol.md §7 `media`)."""

import asyncio
import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from uuid import UUID, uuid4

from tests.live.client import token_of
from tests.live.server import Scene

DATA = os.urandom(5 * 1024 * 1024 + 3)


def ask(url: str, user: UUID | None, data: bytes | None = None) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/octet-stream"}
    if user is not None:
        headers["Authorization"] = f"Bearer {token_of(user, user)}"
    try:
        asked = urllib.request.Request(url, data, headers)
        with urllib.request.urlopen(asked, timeout=20) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


async def test_a_medium_goes_to_its_readers_by_any_process(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    status, body = await asyncio.to_thread(ask, f"{scene.url(0)}/api/v1/media", ann, DATA)
    assert status == 201, body
    media_id = json.loads(body)["mediaId"]
    hers, his = await scene.joined(ann, worker=0), await scene.joined(bob, worker=1)
    url = f"{scene.url(1)}/api/v1/media/{media_id}"
    assert (await asyncio.to_thread(ask, url, bob))[0] == 404
    sent = (await hers.send(conversation_id, b"key", type="media", mediaId=media_id)).ok
    assert (sent["mediaMetadata"]["mediaId"], sent["mediaMetadata"]["size"]) == (media_id, len(DATA))
    await his.until_seq(conversation_id, 2)
    assert his.entries[conversation_id][-1]["mediaId"] == media_id
    assert await asyncio.to_thread(ask, url, bob) == (200, DATA)
    refused = await hers.send(conversation_id, b"key", type="media", mediaId=str(uuid4()))
    assert refused.code == "invalid_media"
    # The topic goes on after both, in order.
    assert (await hers.send(conversation_id, b"text")).ok["seq"] == 3


async def test_uploads_that_are_refused_leave_the_server_well(scene: Scene) -> None:
    ann = uuid4()
    url = f"{scene.url(0)}/api/v1/media"
    for user, data, expected in ((None, b"x", 401), (ann, bytes(6_000_001), 413), (ann, b"", 400)):
        try:
            status, _ = await asyncio.to_thread(ask, url, user, data)
        except OSError:
            status = expected if expected == 413 else 0  # refused before all of it was sent: the connection was closed
        assert status == expected
    assert (await asyncio.to_thread(ask, url, ann, DATA))[0] == 201
    directory = Path(scene.cluster.workers[0]._environment["WHISPR_MEDIA_DIR"])
    assert list((directory / "incoming").iterdir()) == []
