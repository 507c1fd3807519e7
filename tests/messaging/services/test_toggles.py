"""Reactions in quick succession: at most one entry a window, an answer for each, and nothing overtaken that came later
(the reliability catalogue, row 58)."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from messaging.events import Actor, SendOutcome
from messaging.models import Conversation, Message, Reaction, SendKey
from messaging.requests import SendMessage
from messaging.services import toggles
from messaging.services.send import access_send, message_submit, outcome_of
from messaging.store.conversations import conversation_create
from messaging.store.log import Appended, entries_append
from tests.messaging.store.test_log import entry_of
from tests.messaging.store.test_targets import reaction_of, said
from trust.services import quota
from whispr.kernel import database
from whispr.kernel.errors import ClientRandomReused, WhisprError
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _open(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.WHISPR_SIGNATURES = "off"
    monkeypatch.setattr(quota, "LIMITS", replace(LIMITS, reactions_per_minute=0, sends_per_minute=0))


def _begin() -> tuple[UUID, UUID, UUID]:
    user = uuid4()
    conversation = conversation_create(user, "group", [user], b"{}", None).view.id
    return user, conversation, said(conversation, user)


def _state(conversation: UUID) -> tuple[list[tuple[int, str]], int]:
    rows = Message.objects.filter(conversation=conversation, seq__gt=2).order_by("seq")
    head = Conversation.objects.get(id=conversation).last_seq
    return [(row.seq, "-" if row.metadata.get("remove") else row.message_type[0]) for row in rows], head


class Reacting:
    """A user who reacts to a message: each call is queued at once, in the order of the calls."""

    def __init__(self, user: UUID, conversation: UUID, message: UUID) -> None:
        self.actor = Actor(user, uuid4())
        self.conversation = conversation
        self.message = message

    def toggle(self, number: int, remove: bool, emoji: str = "a") -> Awaitable[SendOutcome]:
        request = SendMessage(
            conversation_id=self.conversation,
            type="reaction",
            client_random=10**6 + number,
            metadata={"emoji": emoji, "remove": remove},
            target=self.message,
        )
        return asyncio.ensure_future(outcome_of(message_submit(access_send(self.actor, request))))


async def begin() -> Reacting:
    return Reacting(*await database.run(_begin))


async def test_a_thousand_toggles_are_a_few_entries_and_each_has_its_answer():
    ann = await begin()
    outcomes = await asyncio.gather(*[ann.toggle(n, n % 2 == 1) for n in range(1_000)])
    assert {one.status for one in outcomes} == {"sent", "duplicate"}
    entries, head = await database.run(_state, ann.conversation)
    # The first at once, the others at the end of the window: in a few batches, each of which writes one at most.
    assert len(entries) <= 1 + 1_000 // LIMITS.commit_batch_max + 1
    assert [seq for seq, _ in entries] == list(range(3, head + 1))
    assert not await database.run(Reaction.objects.exists)
    assert await database.run(SendKey.objects.filter(seq=0).count) == 1_000 - len(entries)
    # A resend has the first answer, whatever became of the reaction since.
    assert await ann.toggle(500, False) == outcomes[500]


async def test_the_last_state_is_what_stays():
    ann = await begin()
    outcomes = await asyncio.gather(*[ann.toggle(n, n % 2 == 1) for n in range(7)])
    assert [one.status for one in outcomes] == ["sent", *["duplicate"] * 6]  # on, off … on: as it was
    assert (await ann.toggle(8, True)).status == "sent"
    assert (await database.run(_state, ann.conversation))[0] == [(3, "r"), (4, "-")]


async def test_what_comes_after_finds_them_before_it():
    ann = await begin()
    first, second = ann.toggle(1, False), ann.toggle(2, True)
    send = SendMessage(conversation_id=ann.conversation, type="text", content="eA==", client_random=3 * 10**6)
    sent = message_submit(access_send(ann.actor, send))
    assert ((await first).seq, (await second).seq, (await sent).outcome.seq) in {(None, None, 3), (3, 4, 5)}
    assert await ann.toggle(2, True) == await second


async def test_windows_are_of_one_user_message_and_emoji():
    ann = await begin()
    other = Reacting(ann.actor.user_id, ann.conversation, await database.run(said, ann.conversation, ann.actor.user_id))
    outcomes = await asyncio.gather(ann.toggle(1, False), ann.toggle(2, False, "b"), other.toggle(3, False))
    assert [one.status for one in outcomes] == ["sent"] * 3


async def test_a_refusal_in_a_window_is_its_own():
    ann = await begin()
    await ann.toggle(1, False)
    work = [ann.toggle(2, True), ann.toggle(1, True), ann.toggle(2, True)]
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    assert isinstance(outcomes[1], ClientRandomReused)  # what is refused takes nothing from the one before
    assert [one.seq for one in outcomes if isinstance(one, SendOutcome)] == [4, 4]
    assert (await database.run(_state, ann.conversation))[0] == [(3, "r"), (4, "-")]


async def test_without_a_window_each_is_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(toggles, "LIMITS", replace(LIMITS, reaction_window_ms=0))
    ann = await begin()
    for number in range(4):
        assert (await ann.toggle(number, number % 2 == 1)).status == "sent"
    assert len((await database.run(_state, ann.conversation))[0]) == 4


def test_one_batch_decides_by_the_last_that_is_taken():
    user, conversation, message = _begin()
    items = [
        reaction_of(conversation, user, message, "a"),
        reaction_of(conversation, user, message, "a", remove=True),
        entry_of(conversation, user),
        reaction_of(conversation, user, message, "a"),
        reaction_of(conversation, uuid4(), message, "a", remove=True),  # a stranger overtakes nobody
    ]
    outcomes = entries_append(items)
    assert [type(one).__name__ for one in outcomes] == ["Appended"] * 4 + ["NotFound"]
    taken = [one.entry.seq if one.entry else None for one in outcomes if isinstance(one, Appended)]
    assert taken == [None, None, 3, 4]
    assert [one.emoji for one in Reaction.objects.all()] == ["a"]
    again = entries_append(items[:4])
    assert [one.outcome.seq for one in again if isinstance(one, Appended)] == [None, None, 3, 4]
    assert not any(isinstance(one, WhisprError) for one in again)
