"""Conversations and members under concurrency, and what is passed on after the commit."""

import asyncio
from uuid import UUID, uuid4

import msgspec
import pytest

from messaging import fanout
from messaging.events import Actor
from messaging.models import Conversation, Member, Message
from messaging.requests import CreateConversation, SendMessage
from messaging.services import conversations, members
from messaging.services.send import message_send
from whispr.kernel import database
from whispr.kernel.errors import BadRequest, Forbidden, NotFound, WhisprError

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _unsigned(settings):
    settings.WHISPR_SIGNATURES = "off"


def actor() -> Actor:
    return Actor(uuid4(), uuid4())


async def group_of(creator: Actor, *others: Actor) -> UUID:
    request = CreateConversation(type="group", members=[other.user_id for other in others])
    view, created = await conversations.conversation_create(creator, request)
    assert created
    return view.id


async def test_one_direct_conversation_however_many_create_it_at_once():
    ann, bob = actor(), actor()
    results = await asyncio.gather(
        *(
            conversations.conversation_create(one, CreateConversation(type="direct", members=[other.user_id]))
            for _ in range(10)
            for one, other in ((ann, bob), (bob, ann))
        )
    )
    assert len({view.id for view, _ in results}) == 1
    assert [created for _, created in results].count(True) == 1
    assert await database.run(Conversation.objects.count) == 1
    assert await database.run(Message.objects.count) == 1
    assert await database.run(Member.objects.count) == 2


async def test_members_added_at_once_are_added_once_and_the_log_has_no_gap():
    ann, new = actor(), [uuid4() for _ in range(5)]
    group = await group_of(ann)
    results = await asyncio.gather(*(members.members_add(ann, group, [user]) for user in new * 3))
    assert [added for _, added in results].count(True) == len(new)
    view = await conversations.get_conversation(ann, group)
    assert (view.last_seq, view.members_version, view.member_count) == (6, 6, 6)
    seqs = await database.run(lambda: list(Message.objects.order_by("seq").values_list("seq", flat=True)))
    assert seqs == [1, 2, 3, 4, 5, 6]
    joined = await database.run(lambda: sorted(Member.objects.values_list("joined_seq", flat=True)))
    assert joined == seqs


async def test_nothing_is_sent_after_the_removal():
    ann, bob = actor(), actor()
    group = await group_of(ann, bob)
    randoms = iter(range(10_000))
    refusals: list[str] = []

    async def send_until_refused() -> None:
        while True:
            request = SendMessage(conversation_id=group, type="text", content="eA==", client_random=next(randoms))
            try:
                await message_send(bob, request)
            except WhisprError as error:
                refusals.append(error.code)
                return

    senders = [asyncio.create_task(send_until_refused()) for _ in range(4)]
    while (await conversations.get_conversation(ann, group)).last_seq < 20:
        await asyncio.sleep(0)
    await members.member_remove(ann, group, bob.user_id)
    await asyncio.wait_for(asyncio.gather(*senders), 30)
    assert set(refusals) == {"not_found"}
    left = await database.run(lambda: Member.objects.get(user_id=bob.user_id).left_seq)
    assert left is not None
    own = await database.run(
        lambda: list(Message.objects.filter(conversation=group).order_by("seq").values_list("seq", "sender_id"))
    )
    assert [seq for seq, _ in own] == list(range(1, left + 1))
    assert own[-1] == (left, ann.user_id)


async def test_every_change_is_passed_on_after_its_commit(monkeypatch):
    passed: list[tuple[int, str]] = []
    publish = fanout.publish_entries

    def spy(entries) -> None:
        passed.extend((entry.seq, msgspec.json.decode(entry.metadata)["event"]) for entry in entries)
        publish(entries)

    monkeypatch.setattr(conversations, "publish_entries", spy)
    monkeypatch.setattr(members, "publish_entries", spy)
    ann, bob = actor(), actor()
    group = await group_of(ann)
    await members.members_add(ann, group, [bob.user_id])
    await members.members_add(ann, group, [bob.user_id])  # changes nothing
    await members.member_update(ann, group, bob.user_id, "owner")
    await conversations.conversation_update(ann, group, {"a": 1})
    await conversations.conversation_update(ann, group, {"a": 1})  # changes nothing
    with pytest.raises(Forbidden):
        await conversations.conversation_delete(ann, group)
    await members.member_remove(ann, group, ann.user_id)
    await conversations.conversation_delete(bob, group)
    assert passed == [
        (1, "conversation_created"),
        (2, "member_added"),
        (3, "conversation_updated"),
        (4, "conversation_updated"),
        (5, "member_removed"),
        (6, "member_removed"),
    ]


async def test_the_shape_of_a_conversation():
    ann = actor()
    for others in ([], [ann.user_id], [uuid4(), uuid4()]):
        with pytest.raises(BadRequest):
            await conversations.conversation_create(ann, CreateConversation(type="direct", members=others))
    many = [uuid4() for _ in range(1_000)]
    with pytest.raises(BadRequest):
        await conversations.conversation_create(ann, CreateConversation(type="group", members=many))
    view, _ = await conversations.conversation_create(ann, CreateConversation(type="group", members=many[1:]))
    assert view.member_count == 1_000
    with pytest.raises(NotFound):
        await members.list_members(actor(), view.id)
    assert len(await members.list_members(ann, view.id)) == 1_000


async def test_pages_of_conversations():
    ann = actor()
    groups = sorted([await group_of(ann) for _ in range(4)], reverse=True)
    page = await conversations.list_conversations(ann, 2)
    assert ([view.id for view in page.conversations], page.next) == (groups[:2], groups[1])
    page = await conversations.list_conversations(ann, 2, page.next)
    assert ([view.id for view in page.conversations], page.next) == (groups[2:], None)
