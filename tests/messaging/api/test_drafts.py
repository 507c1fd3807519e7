"""Drafts over REST, on real tables: one a conversation, no device's words lost to another's."""

import asyncio
import base64
from typing import Any
from uuid import uuid4

import msgspec

from messaging.fanout.hub import hub
from messaging.fanout.news import UserChange, UserPush
from messaging.models import Draft
from tests.messaging.api.client import Client, message
from whispr.kernel import database
from whispr.kernel.limits import LIMITS


def text(value: bytes) -> str:
    return base64.b64encode(value).decode()


async def save(client: Client, conversation: str, value: bytes, **fields: Any) -> Any:
    return await client.ask("PUT", f"/messages/drafts/{conversation}", {"content": text(value)} | fields)


async def contents(client: Client) -> list[str]:
    return [draft["content"] for draft in (await client.get("/messages/drafts")).json["drafts"]]


class Listener:
    """A socket's place in the fan-out, for one user."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.pushed: list[Any] = []

    def __enter__(self) -> "Listener":
        hub.listeners.setdefault(self.client.user, set()).add(self)  # type: ignore[arg-type]
        return self

    def __exit__(self, *_: object) -> None:
        hub.listeners.pop(self.client.user, None)

    def on_user_push(self, push: UserPush) -> None:
        if push.event == "personal_update":
            self.pushed.append(msgspec.json.decode(push.payload))

    def on_user_change(self, change: UserChange) -> None:
        pass

    def on_joined_conversation(self, conversation_id: object, seq: int) -> None:
        pass


async def test_a_draft_is_kept_for_all_devices_of_its_user():
    ann, bob = Client(), Client()
    tablet = Client(user=ann.user)
    conversation = await ann.group(bob)
    with Listener(ann) as listener:
        first = await ann.post("/messages/drafts", {"conversationId": conversation, "content": text(b"dear")})
        assert first.status == 201
        seen = (await tablet.get(f"/messages/drafts/{conversation}")).json
        assert seen == first.json
        assert (seen["content"], seen["deviceId"]) == (text(b"dear"), str(ann.device))
        second = await save(tablet, conversation, b"dear bob", revision=seen["revision"])
        assert (second.status, second.json["revision"]) == (200, seen["revision"] + 1)
        assert (await ann.delete(f"/messages/drafts/{conversation}")).status == 204
    told = [(one["kind"], one["revision"], one["content"], one["deviceId"]) for one in listener.pushed]
    revision = seen["revision"]
    assert told == [
        ("draft", revision, text(b"dear"), str(ann.device)),
        ("draft", revision + 1, text(b"dear bob"), str(tablet.device)),
        ("draft", revision + 1, None, str(ann.device)),
    ]
    assert (await ann.get(f"/messages/drafts/{conversation}")).code == "not_found"
    assert (await ann.delete(f"/messages/drafts/{conversation}")).code == "not_found"
    assert await contents(bob) == []


async def test_an_old_revision_does_not_overwrite():
    ann = Client()
    conversation = await ann.group()
    first = (await save(ann, conversation, b"1", revision=0)).json
    again = await save(ann, conversation, b"2", revision=0)
    assert (again.status, again.code, again.json["details"]) == (409, "edit_conflict", {"revision": first["revision"]})
    second = (await save(ann, conversation, b"3", revision=first["revision"])).json
    assert (await save(ann, conversation, b"4", revision=first["revision"])).code == "edit_conflict"
    gone = await ann.delete(f"/messages/drafts/{conversation}?revision={first['revision']}")
    assert gone.json["details"] == {"revision": second["revision"]}
    assert await contents(ann) == [text(b"3")]
    assert (await save(ann, conversation, b"whatever")).status == 200
    assert (await ann.delete(f"/messages/drafts/{conversation}?revision={second['revision'] + 1}")).status == 204
    renewed = (await save(ann, conversation, b"new", revision=0)).json
    assert renewed["revision"] > second["revision"] + 1
    late = await save(ann, conversation, b"of before the deletion", revision=first["revision"])
    assert late.code == "edit_conflict"


async def test_of_two_devices_at_once_one_is_told():
    ann = Client()
    conversation = await ann.group()
    made = (await save(ann, conversation, b"0")).json
    answers = await asyncio.gather(
        *(save(ann, conversation, bytes([65 + n]), revision=made["revision"]) for n in range(8))
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    (winner,) = (answer.json["content"] for answer in answers if answer.status == 200)
    assert await contents(ann) == [winner]


async def test_what_no_draft_is():
    ann, eve = Client(), Client()
    conversation = await ann.group()
    assert (await save(ann, conversation, b"")).code == "bad_request"
    assert (await save(ann, conversation, b"A" * (LIMITS.content_bytes + 1))).code == "too_large"
    assert (await save(ann, conversation, b"A" * LIMITS.content_bytes)).status == 201
    assert (await ann.ask("PUT", f"/messages/drafts/{conversation}", {"content": "§"})).code == "bad_request"
    assert (await save(ann, conversation, b"x", revision=-1)).code == "bad_request"
    assert (await save(ann, conversation, b"x", revision="1")).code == "bad_request"
    foreign, absent = await save(eve, conversation, b"x"), await save(eve, str(uuid4()), b"x")
    assert (foreign.code, foreign.body) == ("not_found", absent.body)
    assert (await eve.get(f"/messages/drafts/{conversation}")).code == "not_found"
    assert (await eve.delete(f"/messages/drafts/{conversation}")).code == "not_found"


async def test_the_send_that_it_became_clears_it():
    ann, bob = Client(), Client()
    conversation, other = await ann.group(bob), await ann.group(bob)
    for one in (conversation, other):
        await save(ann, one, b"dear")
    await save(bob, conversation, b"bob's own")
    with Listener(ann) as listener:
        assert (await ann.send(conversation)).status == 201
    (told,) = listener.pushed
    assert (told["kind"], told["conversationId"], told["content"]) == ("draft", conversation, None)
    assert (await ann.get(f"/messages/drafts/{conversation}")).code == "not_found"
    assert len(await contents(ann)) == len(await contents(bob)) == 1


async def test_what_another_device_writes_stays():
    ann = Client()
    tablet = Client(user=ann.user)
    conversation = await ann.group()
    await save(ann, conversation, b"mine")
    await save(tablet, conversation, b"the tablet's")
    assert (await ann.send(conversation)).status == 201
    assert await contents(ann) == [text(b"the tablet's")]


async def test_a_repeated_or_refused_send_clears_nothing():
    ann = Client()
    conversation = await ann.group()
    body = message(conversation)
    assert (await ann.post("/messages", body)).status == 201
    await save(ann, conversation, b"the next one")
    assert (await ann.post("/messages", body)).status == 200
    assert (await ann.post("/messages", body | {"content": "eHh4"})).status == 409
    assert (await ann.send(conversation, replyTo=uuid4())).status == 422
    assert await contents(ann) == [text(b"the next one")]


async def test_who_leaves_leaves_no_draft():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    await save(ann, conversation, b"ann's")
    await save(bob, conversation, b"bob's")
    assert (await bob.delete(f"/conversations/{conversation}/members/{bob.user}")).status == 204
    assert await contents(bob) == []
    assert await database.run(lambda: list(Draft.objects.values_list("user_id", flat=True))) == [ann.user]


async def test_there_is_an_end_to_them(monkeypatch):
    ann = Client()
    for _ in range(3):
        conversation = await ann.group()
        await save(ann, conversation, b"x")
    monkeypatch.setattr("messaging.store.drafts.LIMITS", limits_with(drafts_per_user=3))
    full = await save(ann, await ann.group(), b"y")
    assert (full.code, full.json["details"]) == ("bad_request", {"max": 3})
    assert (await save(ann, conversation, b"z")).status == 200


def limits_with(**values: int) -> Any:
    from dataclasses import replace

    return replace(LIMITS, **values)


async def test_sync_tells_them():
    ann = Client()
    conversation = await ann.group()
    draft = (await save(ann, conversation, b"dear")).json
    page = (await ann.post("/sync")).json
    assert (page["complete"], page["personal"]["drafts"], page["personal"]["moreDrafts"]) == (True, [draft], False)
    for _ in range(3):
        await ann.send(conversation)
    page = (await ann.post("/sync", {"limit": 1})).json
    assert (page["complete"], page["personal"]) == (False, {})
