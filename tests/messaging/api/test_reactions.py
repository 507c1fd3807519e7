"""Reactions over REST: one of each emoji a user, capped, counted, and nothing written where nothing changes."""

from typing import Any
from urllib.parse import quote

import pytest

from messaging.models import Conversation, Message, Reaction
from tests.messaging.api.client import RANDOMS, Answer, Client
from trust.services import quota
from whispr.kernel import database
from whispr.kernel.limits import LIMITS

THUMB, HEART, FAMILY = "👍", "❤️", "👨‍👩‍👧‍👦"


async def react(client: Client, message_id: str, emoji: str, **fields: Any) -> Answer:
    return await client.post(f"/messages/{message_id}/reactions", {"emoji": emoji} | fields)


async def unreact(client: Client, message_id: str, emoji: str) -> Answer:
    return await client.delete(f"/messages/{message_id}/reactions?emoji={quote(emoji)}")


async def head(conversation: str) -> int:
    return await database.run(lambda: Conversation.objects.get(id=conversation).last_seq)


async def test_reactions_are_entries_and_are_counted_in_history():
    ann, bob, cid = Client(), Client(), Client()
    conversation = await ann.group(bob, cid)
    sent = (await ann.send(conversation)).json["messageId"]
    added = await react(bob, sent, THUMB)
    assert (added.status, added.json["status"], added.json["seq"]) == (201, "sent", 3)
    assert (await react(ann, sent, FAMILY)).status == (await react(cid, sent, THUMB)).status == 201
    history = (await ann.get(f"/conversations/{conversation}/messages")).json["messages"]
    assert history[1]["reactions"] == [
        {"emoji": THUMB, "count": 2, "userIds": [str(bob.user), str(cid.user)], "mine": False},
        {"emoji": FAMILY, "count": 1, "userIds": [str(ann.user)], "mine": True},
    ]
    assert [(one["type"], one["target"], one["content"], one["metadata"]) for one in history[2:]] == [
        ("reaction", sent, "", {"emoji": THUMB, "remove": False}),
        ("reaction", sent, "", {"emoji": FAMILY, "remove": False}),
        ("reaction", sent, "", {"emoji": THUMB, "remove": False}),
    ]
    assert "reactions" not in history[0]
    shown = (await cid.get(f"/messages/{sent}")).json["reactions"]
    assert [(one["emoji"], one["mine"]) for one in shown] == [(THUMB, True), (FAMILY, False)]
    assert (await cid.get(f"/messages/{sent}/reactions")).json == {"reactions": shown}
    alone = (await cid.get(f"/messages/{sent}/reactions?emoji={quote(FAMILY)}")).json["reactions"]
    assert [one["emoji"] for one in alone] == [FAMILY]
    gone = await unreact(bob, sent, THUMB)
    assert (gone.status, gone.json["status"], gone.json["seq"]) == (200, "sent", 6)
    assert (await ann.get(f"/messages/{sent}/reactions")).json["reactions"][0] == {
        "emoji": FAMILY,
        "count": 1,
        "userIds": [str(ann.user)],
        "mine": True,
    }


async def test_what_changes_nothing_writes_nothing_and_stays_answered_so():
    ann = Client()
    conversation = await ann.group()
    sent = (await ann.send(conversation)).json["messageId"]
    first = (await react(ann, sent, THUMB, clientRandom=next(RANDOMS))).json
    random = next(RANDOMS)
    again = await react(ann, sent, THUMB, clientRandom=random)
    expected = {"status": "duplicate", "messageId": sent, "conversationId": conversation}
    assert (again.status, again.json) == (200, expected)
    assert (await unreact(ann, sent, HEART)).json == expected
    assert await head(conversation) == first["seq"] == 3
    assert (await unreact(ann, sent, THUMB)).json["seq"] == 4
    # The reply to the second was lost; it is sent again now, and still adds nothing.
    assert (await react(ann, sent, THUMB, clientRandom=random)).json == expected
    assert await head(conversation) == 4
    for other in (
        await react(ann, sent, HEART, clientRandom=random),
        await ann.send(conversation, clientRandom=random),
    ):
        assert (other.status, other.code) == (409, "client_random_reused")
    assert await database.run(Reaction.objects.count) == 0


async def test_a_send_of_type_reaction_is_the_same():
    ann = Client()
    conversation = await ann.group()
    sent = (await ann.send(conversation)).json["messageId"]
    random = next(RANDOMS)
    fields = {"type": "reaction", "target": sent, "content": "", "clientRandom": random}
    first = await ann.send(conversation, metadata={"emoji": THUMB, "remove": False}, **fields)
    assert (first.status, first.json["seq"]) == (201, 3)
    again = await react(ann, sent, THUMB, clientRandom=random)
    assert (again.status, again.json) == (200, first.json | {"status": "duplicate"})
    fields["clientRandom"] = next(RANDOMS)
    assert (await ann.send(conversation, metadata={"emoji": THUMB, "remove": True}, **fields)).json["seq"] == 4
    for metadata in ({}, {"emoji": 1}, {"emoji": THUMB, "remove": 1}, {"emoji": THUMB, "x": 1}, {"emoji": "ab"}):
        refused = await ann.send(conversation, metadata=metadata, **fields)
        assert (refused.status, refused.code) == (400, "bad_request"), metadata
    refused = await ann.send(conversation, metadata={"emoji": THUMB}, type="reaction")
    assert (refused.status, refused.code) == (400, "bad_request")


@pytest.mark.parametrize(
    "emoji",
    [
        "",
        "ab",
        "👍👍",
        "x" * 10_000,
        "👨" + "\u200d👨" * 20,
        " ",
        "\n",
        "\u200d",
        "\u202e",
        "e" + "\u0301" * 40,
        "\x07",
        None,
        1,
        {},
    ],
)
async def test_what_is_no_emoji_is_refused(emoji: Any):
    ann = Client()
    conversation = await ann.group()
    sent = (await ann.send(conversation)).json["messageId"]
    refused = await ann.post(f"/messages/{sent}/reactions", {"emoji": emoji, "clientRandom": next(RANDOMS)})
    assert (refused.status, refused.code) == (400, "bad_request")
    assert await head(conversation) == 2


@pytest.mark.parametrize("emoji", [THUMB, HEART, FAMILY, "🇫🇷", "👍🏽", "1️⃣", "é", "€"])
async def test_one_visible_character_is_taken(emoji: str):
    ann = Client()
    sent = (await ann.send(await ann.group())).json["messageId"]
    assert (await react(ann, sent, emoji)).status == 201
    assert (await ann.get(f"/messages/{sent}")).json["reactions"][0]["emoji"] == emoji
    assert (await unreact(ann, sent, emoji)).status == 200


async def test_reactions_are_capped_a_user_and_a_message(monkeypatch):
    capped = LIMITS.__class__(reactions_per_user=2, reactions_per_message=3)
    monkeypatch.setattr("messaging.store.targets.LIMITS", capped)
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    sent = (await ann.send(conversation)).json["messageId"]
    for emoji in ("a", "b"):
        assert (await react(ann, sent, emoji)).status == 201
    refused = await react(ann, sent, "c")
    assert (refused.status, refused.code) == (400, "bad_request")
    assert (await react(bob, sent, "c")).status == 201
    refused = await react(bob, sent, "d")
    assert (refused.status, refused.code) == (400, "bad_request")
    assert (await react(bob, sent, "a")).status == 201  # one that is there already
    assert (await unreact(ann, sent, "b")).status == 200
    assert (await react(ann, sent, "d")).status == 201
    assert await head(conversation) == 8


async def test_the_reactions_have_a_rate_of_their_own(monkeypatch):
    monkeypatch.setattr(quota, "LIMITS", LIMITS.__class__(reactions_per_minute=3, sends_per_minute=100))
    ann = Client()
    conversation = await ann.group()
    sent = (await ann.send(conversation)).json["messageId"]
    for number in range(3):
        answer = await (react if number % 2 == 0 else unreact)(ann, sent, THUMB)
        assert answer.json["status"] == "sent"
    refused = await unreact(ann, sent, THUMB)
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert (await ann.send(conversation)).status == 201
    body = {"type": "reaction", "target": sent, "content": "", "metadata": {"emoji": HEART}}
    assert (await ann.send(conversation, **body)).code == "rate_limited"


async def test_who_may_not_see_a_message_cannot_react_to_it():
    ann, bob, eve = Client(), Client(), Client()
    conversation = await ann.group()
    early = (await ann.send(conversation)).json["messageId"]
    await ann.post(f"/conversations/{conversation}/members", {"userIds": [bob.user]})
    for stranger in (eve, bob):  # bob joined after it
        for answer in (
            await react(stranger, early, THUMB),
            await unreact(stranger, early, THUMB),
            await stranger.get(f"/messages/{early}/reactions"),
        ):
            assert (answer.status, answer.code) == (404, "not_found")
    body = {"type": "reaction", "target": early, "content": "", "metadata": {"emoji": THUMB}}
    refused = await bob.send(conversation, **body)
    assert (refused.status, refused.code) == (422, "invalid_target")
    mine = (await ann.send(conversation)).json["messageId"]
    await ann.delete(f"/conversations/{conversation}/members/{bob.user}")
    assert (await react(bob, mine, THUMB)).status == 404


async def test_a_dead_message_takes_no_reactions_and_shows_none():
    ann = Client()
    conversation = await ann.group()
    sent = (await ann.send(conversation, ttl=600)).json["messageId"]
    reaction = (await react(ann, sent, THUMB)).json
    assert reaction["expiresAt"] is not None
    (created,) = await database.run(lambda: list(Message.objects.filter(conversation=conversation, seq=1)))
    await database.run(
        lambda: Message.objects.filter(conversation=conversation, seq__gt=1).update(expires_at=created.sent_at)
    )
    for answer in (await react(ann, sent, HEART), await react(ann, reaction["messageId"], HEART)):
        assert (answer.status, answer.code) == (422, "invalid_target")
    assert (await ann.get(f"/messages/{sent}/reactions")).json == {"reactions": []}
    history = (await ann.get(f"/conversations/{conversation}/messages")).json["messages"]
    assert [one.get("reactions") for one in history] == [None, None, None]
    assert history[2]["metadata"] == {}
