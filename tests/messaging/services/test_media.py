"""The life of a medium: kept for its message, told of until the media service knows, removed with the last message."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from django.db.models import F
from django.db.models.functions import Now

from integrations.local.blobs import place_of
from messaging.events import Actor
from messaging.models import Device, Media, MediaLink, ScheduledMessage
from messaging.personal import ScheduleMessage
from messaging.requests import CreateConversation, DeleteMessage, SendMessage
from messaging.services import conversations, deletions, media, scheduled
from messaging.services.send import message_send
from messaging.store.media import MEDIA_LEASE_SECONDS
from whispr.kernel.errors import BadRequest, InvalidMedia

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _settings(settings, tmp_path):
    settings.WHISPR_SIGNATURES = "off"
    settings.WHISPR_MEDIA_DIR = tmp_path / "media"


def actor() -> Actor:
    return Actor(uuid4(), uuid4())


async def stored(owner: Actor, data: bytes = b"encrypted") -> UUID:
    incoming = media.upload_begin()
    await incoming.write(data)
    return UUID((await media.media_store(owner, incoming)).media_id)


async def conversation_of(*members: Actor) -> UUID:
    request = CreateConversation(type="group", members=[member.user_id for member in members])
    return (await conversations.conversation_create(members[0], request))[0].id


async def sent(owner: Actor, conversation_id: UUID, media_id: UUID, random: int = 1):
    request = SendMessage(
        conversation_id=conversation_id, type="media", content="YQ==", client_random=random, media_id=str(media_id)
    )
    return await message_send(owner, request)


async def age_media() -> None:
    back = timedelta(seconds=MEDIA_LEASE_SECONDS + 1)
    await Media.objects.aupdate(checked_at=F("checked_at") - back)


async def settled(condition) -> None:
    for _ in range(200):
        if await condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the links were not settled")


def there(media_id: UUID, settings) -> bool:
    return place_of(settings.WHISPR_MEDIA_DIR, media_id).exists()


async def test_nothing_at_all_is_no_medium():
    incoming = media.upload_begin()
    with pytest.raises(BadRequest):
        await media.media_store(actor(), incoming)


async def test_a_send_links_its_medium_by_itself():
    ann = actor()
    await sent(ann, await conversation_of(ann), await stored(ann))
    await settled(MediaLink.objects.filter(linked_at__isnull=False).aexists)


async def test_a_link_that_is_not_taken_waits_and_is_told_again():
    ann = actor()
    media_id = await stored(ann)
    row = await Media.objects.aget()
    outcome = await sent(ann, await conversation_of(ann), media_id)
    await settled(MediaLink.objects.filter(linked_at__isnull=False).aexists)
    await MediaLink.objects.aupdate(linked_at=None, next_try_at=Now())
    await Media.objects.all().adelete()  # the store does not know it: the message stays, the link waits
    assert await media.media_links_settle() == 0
    link = await MediaLink.objects.aget()
    assert (link.message_id, link.linked_at, link.attempts) == (outcome.message_id, None, 1)
    assert await media.media_links_settle() == 0  # not due yet
    await row.asave(force_insert=True)
    await MediaLink.objects.aupdate(next_try_at=Now())
    assert await media.media_links_settle() == 1
    assert (await MediaLink.objects.aget()).linked_at is not None


async def test_the_medium_goes_with_its_last_message(settings):
    ann = actor()
    conversation_id, media_id = await conversation_of(ann), await stored(ann)
    messages = [(await sent(ann, conversation_id, media_id, random)).message_id for random in (1, 2)]
    await settled(lambda: _count(linked=2))
    await age_media()
    for number, message_id in enumerate(messages):
        await deletions.message_delete(ann, DeleteMessage(message_id=message_id, for_everyone=True))
        await media.media_links_settle()
        assert there(media_id, settings) is (number == 0)
    assert await Media.objects.acount() == await MediaLink.objects.acount() == 0
    with pytest.raises(InvalidMedia):
        await sent(ann, conversation_id, media_id, 3)


async def test_a_medium_that_was_just_sent_again_is_removed_a_little_later(settings):
    ann = actor()
    conversation_id, media_id = await conversation_of(ann), await stored(ann)
    message_id = (await sent(ann, conversation_id, media_id)).message_id
    await settled(lambda: _count(linked=1))
    await deletions.message_delete(ann, DeleteMessage(message_id=message_id, for_everyone=True))
    assert await media.media_links_settle() == 0  # a send asked for it within the last seconds
    assert there(media_id, settings)
    await age_media()
    await MediaLink.objects.aupdate(next_try_at=Now())
    assert await media.media_links_settle() == 1
    assert not there(media_id, settings)


async def test_the_sweep_takes_what_nobody_sent(settings):
    ann = actor()
    old, fresh = await stored(ann), await stored(ann)
    day = timedelta(seconds=media.GRACE_SECONDS + 60)
    await Media.objects.filter(id=old).aupdate(created_at=F("created_at") - day, checked_at=F("checked_at") - day)
    assert await media.media_sweep() == 1
    assert (there(old, settings), there(fresh, settings)) == (False, True)


async def _count(*, linked: int) -> bool:
    return await MediaLink.objects.filter(linked_at__isnull=False).acount() == linked


async def test_a_scheduled_message_keeps_its_medium_until_its_time():
    ann = actor()
    await Device.objects.acreate(id=ann.device_id, user_id=ann.user_id)
    conversation_id, media_id = await conversation_of(ann), await stored(ann)
    at = datetime.now(UTC) + timedelta(days=40)
    request = ScheduleMessage(
        conversation_id=conversation_id,
        type="media",
        content="YQ==",
        client_random=9,
        media_id=str(media_id),
        scheduled_for=at,
    )
    view, created = await scheduled.scheduled_create(ann, request)
    assert created
    assert (await Media.objects.aget()).checked_at > at
    wrong = msgspec.structs.replace(request, media_id=str(uuid4()), client_random=10)
    with pytest.raises(InvalidMedia):
        await scheduled.scheduled_create(ann, wrong)
    await ScheduledMessage.objects.aupdate(scheduled_for=Now())
    await scheduled.scheduled_send_due()
    assert (await scheduled.get_scheduled(ann, view.id)).state == "sent"
    await settled(lambda: _count(linked=1))
