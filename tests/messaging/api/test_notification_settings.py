"""What a user chooses about pushes: all, one conversation, for a while (docs/protocol.md §7 `settings`)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from delivery.events import PushCandidate
from delivery.store.push_preferences import list_push_preferences
from messaging.services import devices
from tests.messaging.api.client import Client
from whispr.kernel import database
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db(transaction=True)


async def group(ann: Client) -> str:
    answer = await ann.post("/conversations", {"type": "group", "members": []})
    return answer.json["id"]


async def choose(ann: Client, **notifications: object):
    return await ann.patch("/settings", {"notifications": notifications})


async def wants(ann: Client, conversation_id: str) -> bool:
    candidate = PushCandidate(ann.user, UUID(conversation_id))
    (answer,) = await database.run(list_push_preferences, [candidate])
    assert (answer.user_id, answer.conversation_id) == (ann.user, UUID(conversation_id))
    return answer.wanted


def in_hours(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


async def test_pushes_are_on_for_all_conversations_until_somebody_chooses():
    ann = Client()
    chat = await group(ann)
    assert (await ann.get("/settings")).json == {"readReceipts": True, "shareLastSeen": True}
    assert await wants(ann, chat)


async def test_a_choice_for_all_and_back():
    ann = Client()
    chat = await group(ann)
    answer = await choose(ann, enabled=False)
    assert answer.json["notifications"] == {"enabled": False, "mutedUntil": None, "conversations": {}}
    assert not await wants(ann, chat)
    answer = await choose(ann, enabled=True)
    assert "notifications" not in answer.json
    assert await wants(ann, chat)


async def test_one_conversation_is_muted_for_a_while_and_the_others_are_not():
    ann = Client()
    chat, other = await group(ann), await group(ann)
    until = in_hours(8)
    answer = await choose(ann, conversations={chat: {"mutedUntil": until}})
    assert answer.json["notifications"]["conversations"] == {chat: {"mutedUntil": until}}
    assert (await wants(ann, chat), await wants(ann, other)) == (False, True)
    await choose(ann, mutedUntil=in_hours(1))
    assert (await wants(ann, chat), await wants(ann, other)) == (False, False)
    await choose(ann, enabled=True, conversations={chat: {}})
    assert (await wants(ann, chat), await wants(ann, other)) == (True, True)


async def test_a_mute_that_is_over_is_neither_in_force_nor_shown():
    ann = Client()
    chat = await group(ann)
    for over in (in_hours(-1), "0001-01-01T00:00:00+23:59"):
        answer = await choose(ann, conversations={chat: {"mutedUntil": over}})
        assert "notifications" not in answer.json
    assert await wants(ann, chat)


async def test_only_ones_own_conversations_have_a_choice():
    ann, eve = Client(), Client()
    chat = await group(eve)
    for foreign in (chat, str(uuid4())):
        answer = await choose(ann, enabled=False, conversations={foreign: {"enabled": False}})
        assert (answer.status, answer.code) == (404, "not_found")
    assert "notifications" not in (await ann.get("/settings")).json


@pytest.mark.parametrize(
    "chosen",
    [
        {"enabled": "no"},
        {"mutedUntil": "tomorrow"},
        {"mutedUntil": "2030-01-01T00:00:00"},
        {"mutedUntil": "9999-12-31T23:59:59-23:59"},
        {"conversations": {"x": {}}},
        {"conversations": []},
        {"conversations": {str(uuid4()): {"enabled": 1}}},
    ],
)
async def test_what_is_no_choice_is_refused(chosen):
    ann = Client()
    assert (await choose(ann, **chosen)).code == "bad_request"
    assert "notifications" not in (await ann.get("/settings")).json


async def test_there_are_only_so_many_conversations_of_their_own(monkeypatch):
    monkeypatch.setattr(devices, "LIMITS", replace(LIMITS, push_conversations=1))
    ann = Client()
    first, second = await group(ann), await group(ann)
    assert (await choose(ann, conversations={first: {"enabled": False}})).status == 200
    assert (await choose(ann, conversations={second: {"enabled": False}})).code == "bad_request"
    assert await wants(ann, second)
