"""System messages of other services: appended, published, never in the server's own name."""

import io
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command

from messaging.models import Message
from messaging.services.system import RESERVED, system_message_post
from messaging.store.conversations import conversation_create
from whispr.kernel import database
from whispr.kernel.errors import BadRequest, NotFound, TooLarge

pytestmark = pytest.mark.django_db(transaction=True)


def group() -> UUID:
    user = uuid4()
    return conversation_create(user, "group", [user], b"{}", None).view.id


async def test_an_entry_is_appended():
    conversation = await database.run(group)
    user = uuid4()
    entry = await system_message_post(conversation, "call_ended", {"seconds": 12}, user)
    assert (entry.seq, entry.type, entry.sender_id, entry.content) == (2, "system", user, b"")
    row = await database.run(lambda: Message.objects.get(id=entry.message_id))
    assert (row.seq, row.metadata) == (2, {"event": "call_ended", "seconds": 12})


@pytest.mark.parametrize("event", [*sorted(RESERVED), "", "Call", "1call", "a" * 65, "a b", "a\n", "é"])
async def test_the_servers_own_events_and_bad_names_are_refused(event: str):
    conversation = await database.run(group)
    with pytest.raises(BadRequest):
        await system_message_post(conversation, event)
    assert await database.run(Message.objects.filter(conversation=conversation).count) == 1


async def test_bad_details_and_unknown_conversations_are_refused():
    conversation = await database.run(group)
    for details in ({"event": "member_removed"}, {"a": "\x00"}, {"a": 2**60}):
        with pytest.raises(BadRequest):
            await system_message_post(conversation, "call_ended", details)
    with pytest.raises(TooLarge):
        await system_message_post(conversation, "call_ended", {"a": "x" * 5_000})
    with pytest.raises(NotFound):
        await system_message_post(uuid4(), "call_ended")
    assert await database.run(Message.objects.filter(conversation=conversation).count) == 1


def test_the_command_posts_and_says_what():
    conversation = group()
    out = io.StringIO()
    call_command(
        "post_system_message", str(conversation), "--event", "call_ended", "--details", '{"seconds": 3}', stdout=out
    )
    message_id, seq = out.getvalue().split()
    row = Message.objects.get(id=message_id)
    assert (row.seq, int(seq), row.metadata) == (2, 2, {"event": "call_ended", "seconds": 3})
    for arguments in (
        ["--event", "member_removed"],
        ["--event", "x", "--details", "["],
        ["--event", "x", "--details", "1"],
    ):
        with pytest.raises(CommandError):
            call_command("post_system_message", str(conversation), *arguments)
