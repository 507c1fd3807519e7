"""Edits over REST: who may, how long, how often, and what is then read on each route."""

import base64
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from messaging.models import Message
from tests.messaging.api.client import RANDOMS, Answer, Client
from whispr.kernel import database
from whispr.kernel.limits import LIMITS


def text(value: bytes) -> str:
    return base64.b64encode(value).decode()


async def put(client: Client, message_id: str, value: bytes, *, headers: Any = None, **fields: Any) -> Answer:
    body = {"content": text(value), "clientRandom": next(RANDOMS)} | fields
    return await client.ask("PUT", f"/messages/{message_id}", body, headers=headers)


async def stored(**where: Any) -> list[Message]:
    return await database.run(lambda: list(Message.objects.filter(**where).order_by("seq")))


async def test_an_edit_is_an_entry_and_the_message_shows_it():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    sent = (await ann.send(conversation, b"first", metadata={"a": 1})).json
    before = await bob.get(f"/messages/{sent['messageId']}")
    assert before.headers["etag"] == f'"{sent["messageId"]}"'
    edited = await put(ann, sent["messageId"], b"second", metadata={"b": 2})
    assert (edited.status, edited.json["status"], edited.json["seq"]) == (200, "sent", 3)
    assert edited.headers["etag"] == f'"{edited.json["messageId"]}"'
    now = await bob.get(f"/messages/{sent['messageId']}")
    assert now.headers["etag"] == edited.headers["etag"]
    edit = (await stored(id=edited.json["messageId"]))[0]
    assert now.json == before.json | {
        "content": text(b"second"),
        "metadata": {"b": 2},
        "editedAt": edited.json["sentAt"],
        "edit": {
            "messageId": edited.json["messageId"],
            "seq": 3,
            "senderDeviceId": str(ann.device),
            "clientRandom": edit.client_random,
        },
    }
    # History shows the state and the entry; the log as it is synchronised has the original at its seq.
    history = (await bob.get(f"/conversations/{conversation}/messages")).json["messages"]
    assert [(one["seq"], one["type"], one["content"]) for one in history] == [
        (1, "system", ""),
        (2, "text", text(b"second")),
        (3, "edit", text(b"second")),
    ]
    (synced,) = (await bob.post("/sync", {"cursors": {}})).json["conversations"]
    raw = synced["messages"]
    assert [(one["seq"], one["type"], one["content"], one["target"], one["editedAt"]) for one in raw] == [
        (1, "system", "", None, None),
        (2, "text", text(b"first"), None, None),
        (3, "edit", text(b"second"), sent["messageId"], None),
    ]
    again = await put(ann, sent["messageId"], b"third")
    assert (await bob.get(f"/messages/{sent['messageId']}")).json["edit"]["seq"] == again.json["seq"] == 4


async def test_a_send_of_type_edit_is_the_same():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    sent = (await ann.send(conversation, b"first")).json
    random = next(RANDOMS)
    first = await ann.send(conversation, b"second", type="edit", target=sent["messageId"], clientRandom=random)
    assert first.status == 201
    again = await put(ann, sent["messageId"], b"second", clientRandom=random)
    assert (again.status, again.json) == (200, first.json | {"status": "duplicate"})
    other = await put(ann, sent["messageId"], b"other", clientRandom=random)
    assert (other.status, other.code) == (409, "client_random_reused")
    assert (await bob.get(f"/messages/{sent['messageId']}")).json["content"] == text(b"second")
    assert len(await stored(target_id=sent["messageId"])) == 1


async def test_if_match_keeps_an_edit_that_the_author_has_not_seen():
    ann = Client()
    conversation = await ann.group()
    sent = (await ann.send(conversation)).json
    seen = (await ann.get(f"/messages/{sent['messageId']}")).headers["etag"]
    first = await put(ann, sent["messageId"], b"phone", headers={"if-match": seen})
    assert first.status == 200
    late = await put(ann, sent["messageId"], b"tablet", headers={"if-match": seen})
    assert (late.status, late.code, late.json["details"]) == (
        409,
        "edit_conflict",
        {"current": first.json["messageId"]},
    )
    late = await put(ann, sent["messageId"], b"tablet", baseId=sent["messageId"])
    assert (late.status, late.code) == (409, "edit_conflict")
    # A resend of the edit that was made is no conflict.
    random = next(RANDOMS)
    tag = first.headers["etag"]
    made = await put(ann, sent["messageId"], b"x", headers={"if-match": tag}, clientRandom=random)
    again = await put(ann, sent["messageId"], b"x", headers={"if-match": tag}, clientRandom=random)
    assert (made.json["status"], again.json) == ("sent", made.json | {"status": "duplicate"})
    assert (await put(ann, sent["messageId"], b"y", headers={"if-match": "*"})).status == 200
    for bad in ("x", '"x"', f"W/{tag}", f"{tag}, {tag}", sent["messageId"]):
        refused = await put(ann, sent["messageId"], b"z", headers={"if-match": bad})
        assert (refused.status, refused.code) == (400, "bad_request"), bad


async def test_only_its_author_edits_a_message():
    ann, bob, eve = Client(), Client(), Client()
    conversation = await ann.group(bob)
    sent = (await ann.send(conversation, b"first")).json["messageId"]
    refused = await put(bob, sent, b"x")
    assert (refused.status, refused.code) == (403, "forbidden")
    refused = await bob.send(conversation, b"x", type="edit", target=sent)
    assert (refused.status, refused.code) == (403, "forbidden")
    foreign, absent = await put(eve, sent, b"x"), await put(eve, str(uuid4()), b"x")
    assert (foreign.status, foreign.body) == (404, absent.body)
    # Left, she neither sees it as hers to edit, nor by naming the conversation.
    await ann.delete(f"/conversations/{conversation}/members/{ann.user}")
    assert (await put(ann, sent, b"x")).status == 404
    assert [bytes(one.content) for one in await stored(conversation=conversation, message_type="edit")] == []


async def test_what_is_no_live_message_cannot_be_edited():
    ann, bob = Client(), Client()
    conversation, elsewhere = await ann.group(bob), await ann.group(bob)
    sent = (await ann.send(conversation)).json["messageId"]
    edit = (await put(ann, sent, b"e")).json["messageId"]
    reaction = (await ann.post(f"/messages/{sent}/reactions", {"emoji": "👍"})).json["messageId"]
    (created,) = await stored(conversation=conversation, message_type="system")
    for target in (edit, reaction, str(created.id)):
        refused = await put(ann, target, b"x")
        assert (refused.status, refused.code) == (422, "invalid_target")
    for target in (sent, str(uuid4())):
        refused = await ann.send(elsewhere, b"x", type="edit", target=target)
        assert (refused.status, refused.code) == (422, "invalid_target")
    expired = (await ann.send(conversation, ttl=60)).json["messageId"]
    await database.run(lambda: Message.objects.filter(id=expired).update(expires_at=created.sent_at))
    deleted = (await ann.send(conversation)).json["messageId"]
    assert (await ann.delete(f"/messages/{deleted}?for_everyone=true")).status == 200
    old = (await ann.send(conversation)).json["messageId"]
    back = timedelta(seconds=LIMITS.edit_window_seconds + 1)
    await database.run(lambda: Message.objects.filter(id=old).update(sent_at=created.sent_at - back))
    for target in (expired, deleted, old):
        for refused in (await put(ann, target, b"x"), await ann.send(conversation, b"x", type="edit", target=target)):
            assert (refused.status, refused.code) == (409, "edit_conflict"), target
    assert await stored(content=b"x") == []


async def test_an_edit_never_prolongs_a_ttl():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    sent = (await ann.send(conversation, type="ephemeral", ttl=600)).json
    edited = (await put(ann, sent["messageId"], b"second")).json
    assert edited["expiresAt"] == sent["expiresAt"]
    for refused in (
        await ann.send(conversation, b"x", type="edit", target=sent["messageId"], ttl=6000),
        await ann.send(conversation, b"x", type="edit", target=sent["messageId"], replyTo=sent["messageId"]),
        await ann.send(conversation, b"x", type="edit"),
        await ann.send(conversation, b"x", target=sent["messageId"]),
    ):
        assert (refused.status, refused.code) == (400, "bad_request")
    (past,) = await stored(conversation=conversation, seq=1)
    await database.run(
        lambda: Message.objects.filter(conversation=conversation, seq__gt=1).update(expires_at=past.sent_at)
    )
    (synced,) = (await bob.post("/sync", {"cursors": {}})).json["conversations"]
    assert [one["content"] for one in synced["messages"]] == ["", "", ""]
    history = (await bob.get(f"/conversations/{conversation}/messages")).json["messages"]
    assert [one["content"] for one in history] == ["", "", ""]


async def test_ten_versions_are_kept_and_the_edits_are_counted(monkeypatch):
    ann = Client()
    conversation = await ann.group()
    sent = (await ann.send(conversation, b"v0")).json["messageId"]
    for number in range(1, 13):
        assert (await put(ann, sent, b"v%d" % number)).status == 200
    versions = [bytes(one.content) for one in await stored(conversation=conversation, message_type="edit")]
    assert versions == [b"", b"", b""] + [b"v%d" % number for number in range(4, 13)]
    assert (await ann.get(f"/messages/{sent}")).json["content"] == text(b"v12")
    assert [one.seq for one in await stored(conversation=conversation)] == list(range(1, 15))
    monkeypatch.setattr("messaging.store.targets.LIMITS", LIMITS.__class__(edits_per_message=12))
    refused = await put(ann, sent, b"v13")
    assert (refused.status, refused.code) == (409, "edit_conflict")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"content": ""}, (400, "bad_request")),
        ({"content": "*"}, (400, "bad_request")),
        ({"content": None}, (400, "bad_request")),
        ({"content": text(bytes(LIMITS.content_bytes + 1))}, (413, "too_large")),
        ({"clientRandom": -1}, (400, "bad_request")),
        ({"clientRandom": None}, (400, "bad_request")),
        ({"metadata": []}, (400, "bad_request")),
        ({"metadata": {"a": "x" * LIMITS.metadata_bytes}}, (413, "too_large")),
        ({"baseId": "x"}, (400, "bad_request")),
        ({"signature": "*"}, (422, "invalid_signature")),
    ],
)
async def test_bad_edits_are_refused_and_change_nothing(fields: dict[str, Any], expected: tuple[int, str]):
    ann = Client()
    conversation = await ann.group()
    sent = (await ann.send(conversation)).json["messageId"]
    refused = await put(ann, sent, b"x", **fields)
    assert (refused.status, refused.code) == expected
    assert len(await stored(conversation=conversation)) == 2


async def test_what_an_edit_may_not_set_is_ignored():
    ann = Client()
    conversation = await ann.group()
    sent = (await ann.send(conversation)).json["messageId"]
    forged = {"messageId": str(uuid4()), "senderId": str(uuid4()), "ttl": 9, "expiresAt": "2030-01-01T00:00:00Z"}
    assert (await put(ann, sent, b"second", **forged)).status == 200
    view = (await ann.get(f"/messages/{sent}")).json
    assert (view["content"], view["expiresAt"], view["senderId"]) == (text(b"second"), None, str(ann.user))
