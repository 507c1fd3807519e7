"""`media` over the whole HTTP side: streamed in and out, bounded, each refusal with its code (docs/protocol.md §7)."""

import asyncio
import base64
import hashlib
import os
from uuid import uuid4

import pytest
from asgiref.testing import ApplicationCommunicator

from messaging.api import uploads
from messaging.models import Media, MediaLink
from tests.messaging.api.client import Client
from whispr.kernel.limits import LIMITS

DATA = os.urandom(700_000)  # several times the body of any other route


@pytest.fixture(autouse=True)
def media_dir(settings, tmp_path):
    settings.WHISPR_MEDIA_DIR = tmp_path / "media"
    return settings.WHISPR_MEDIA_DIR


def files_of(root):
    return [path for path in root.rglob("*") if path.is_file()]


async def upload(client: Client, data: bytes = DATA, **options):
    return await client.ask(
        "POST", "/media", body=data, headers={"content-type": "application/octet-stream"}, **options
    )


async def stored(client: Client, data: bytes = DATA) -> str:
    answer = await upload(client, data)
    assert answer.status == 201, answer
    return answer.json["mediaId"]


async def media_message(client: Client, conversation_id: str, media_id: str, **fields):
    return await client.send(conversation_id, b"key of the medium", type="media", mediaId=media_id, **fields)


async def test_a_medium_goes_in_and_comes_out_as_it_was(media_dir):
    ann = Client()
    answer = await upload(ann)
    assert answer.status == 201
    assert set(answer.json) == {"mediaId", "size", "sha256", "createdAt"}
    assert (answer.json["size"], base64.b64decode(answer.json["sha256"])) == (len(DATA), hashlib.sha256(DATA).digest())
    got = await ann.get(f"/media/{answer.json['mediaId']}")
    assert (got.status, got.body) == (200, DATA)
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["content-length"] == str(len(DATA))
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["cache-control"] == "no-store"
    assert got.headers["content-disposition"] == "attachment"
    assert len(files_of(media_dir)) == 1


async def test_a_body_without_a_length_is_streamed_too():
    ann = Client()
    parts = [DATA[start : start + 50_000] for start in range(0, len(DATA), 50_000)]
    answer = await ann.ask("POST", "/media", chunks=[*parts, b""], headers={"content-type": "application/octet-stream"})
    assert answer.status == 201
    assert (await ann.get(f"/media/{answer.json['mediaId']}")).body == DATA


async def test_nothing_is_taken_without_a_token(media_dir):
    for token in (None, "x"):
        assert (await upload(Client(token=token))).code == "unauthenticated"
    assert files_of(media_dir) == []
    assert await Media.objects.acount() == 0


async def test_without_a_token_nothing_of_the_body_is_read():
    scope = {"type": "http", "method": "POST", "path": uploads.PATH, "headers": []}
    application = ApplicationCommunicator(Client().gate, scope)  # and the body never comes
    assert (await application.receive_output(5))["status"] == 401
    await application.receive_output(5)
    await application.wait(5)


async def test_what_is_too_large_is_refused_by_its_header_or_as_it_comes(media_dir):
    ann = Client()
    declared = await ann.ask("POST", "/media", body=b"x", headers={"content-length": str(LIMITS.media_bytes + 1)})
    assert (declared.status, declared.code) == (413, "too_large")
    part = bytes(1024 * 1024)
    streamed = await ann.ask("POST", "/media", chunks=[part] * 26)
    assert (streamed.status, streamed.code) == (413, "too_large")
    assert files_of(media_dir) == []
    assert await Media.objects.acount() == 0


async def test_bad_uploads_are_refused_and_leave_nothing(media_dir):
    ann = Client()
    assert (await upload(ann, b"")).code == "bad_request"
    form = await ann.ask("POST", "/media", body=b"--x", headers={"content-type": "multipart/form-data; boundary=x"})
    assert (form.status, form.code) == (415, "bad_request")
    assert (await ann.ask("POST", "/media", body=b"x", headers={"content-length": "-1"})).code == "bad_request"
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        assert (await ann.ask(method, "/media")).status == 405
    assert files_of(media_dir) == []


async def test_a_client_that_stops_or_goes_away_leaves_nothing(media_dir, monkeypatch):
    monkeypatch.setattr(uploads, "IDLE_SECONDS", 0.05)
    ann = Client()
    scope = {
        "type": "http",
        "method": "POST",
        "path": uploads.PATH,
        "headers": [(b"authorization", f"Bearer {ann.token}".encode())],
    }
    stops = ApplicationCommunicator(ann.gate, scope)
    await stops.send_input({"type": "http.request", "body": DATA, "more_body": True})
    assert (await stops.receive_output(5))["status"] == 408
    await stops.receive_output(5)
    await stops.wait(5)
    goes = ApplicationCommunicator(ann.gate, scope)
    await goes.send_input({"type": "http.request", "body": DATA, "more_body": True})
    await goes.send_input({"type": "http.disconnect"})
    await goes.wait(5)
    assert await goes.receive_nothing()
    assert files_of(media_dir) == []
    assert ann.gate.running == 0


async def test_too_many_uploads_at_once_are_shed(monkeypatch):
    ann = Client()
    ann.gate._uploads.running = LIMITS.media_transfers_max
    assert (await upload(ann)).code == "overloaded"


async def test_who_may_fetch_a_medium():
    ann, bob, eve = Client(), Client(), Client()
    conversation_id, media_id = await ann.group(bob), await stored(ann)
    absent = await bob.get(f"/media/{uuid4()}")
    assert (await bob.get(f"/media/{media_id}")).body == absent.body
    assert absent.code == "not_found"
    assert (await media_message(ann, conversation_id, media_id)).status == 201
    assert (await bob.get(f"/media/{media_id}")).body == DATA
    assert (await eve.get(f"/media/{media_id}")).code == "not_found"
    assert (await Client(token=None).get(f"/media/{media_id}")).code == "unauthenticated"
    for strange in ("..%2f..%2fetc", "incoming", "x" * 500):
        assert (await bob.get(f"/media/{strange}")).code == "not_found"


async def test_a_media_message_is_validated_linked_and_answered_with_its_metadata():
    ann, bob = Client(), Client()
    conversation_id, media_id = await ann.group(bob), await stored(ann)
    answer = await media_message(ann, conversation_id, media_id, clientRandom=5)
    assert answer.status == 201
    metadata = answer.json["mediaMetadata"]
    assert (metadata["mediaId"], metadata["size"]) == (media_id, len(DATA))
    again = await media_message(ann, conversation_id, media_id, clientRandom=5)
    assert (again.status, again.json) == (200, answer.json | {"status": "duplicate"})
    entry = (await bob.get(f"/messages/{answer.json['messageId']}")).json
    assert (entry["type"], entry["mediaId"]) == ("media", media_id)
    for _ in range(100):
        if await MediaLink.objects.filter(linked_at__isnull=False).aexists():
            break
        await asyncio.sleep(0.02)
    link = await MediaLink.objects.aget()
    assert (link.media_id, str(link.message_id)) == (media_id, answer.json["messageId"])
    assert link.linked_at is not None
    assert (await Media.objects.aget()).linked_at is not None


async def test_invalid_media():
    ann, bob = Client(), Client()
    conversation_id = await ann.group(bob)
    for wrong in (str(uuid4()), await stored(bob), "x", "../../etc/passwd", (await stored(ann)).upper()):
        assert (await media_message(ann, conversation_id, wrong)).code == "invalid_media", wrong
    assert (await ann.send(conversation_id, type="media")).code == "bad_request"
    assert (await ann.send(conversation_id, mediaId=await stored(ann))).code == "bad_request"
    assert (await media_message(ann, conversation_id, "m" * 129)).code == "bad_request"
    page = (await ann.get(f"/conversations/{conversation_id}/messages")).json["messages"]
    assert [entry["type"] for entry in page] == ["system"]
    assert await MediaLink.objects.acount() == 0


async def test_a_plain_send_says_nothing_of_media():
    ann = Client()
    answer = await ann.send(await ann.group())
    assert set(answer.json) == {"status", "messageId", "conversationId", "seq", "sentAt"}


async def test_a_deleted_message_gives_its_medium_to_nobody():
    ann, bob = Client(), Client()
    conversation_id, media_id = await ann.group(bob), await stored(ann)
    sent = (await media_message(ann, conversation_id, media_id)).json
    deleted = await ann.delete(f"/messages/{sent['messageId']}?for_everyone=true")
    assert deleted.status == 200, deleted
    for client in (ann, bob):
        assert (await client.get(f"/media/{media_id}")).code == "not_found"
    entry = (await bob.get(f"/messages/{sent['messageId']}")).json
    assert entry["mediaId"] is None
