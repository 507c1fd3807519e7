"""The local answers keep what the interfaces promise: coded errors, deadlines, and nothing half done."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from django.db import connection, transaction

import integrations
from integrations.local.media import LocalMedia
from integrations.local.users import LocalUsers
from messaging.models import Block, Media
from messaging.store.media import media_insert
from whispr.kernel import database
from whispr.kernel.errors import InvalidMedia, TemporaryUnavailable
from whispr.kernel.ids import new_id

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def media(tmp_path) -> integrations.MediaService:
    return integrations.media_service(tmp_path / "media")


def locked(table: str, held: threading.Event, release: threading.Event) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        held.set()
        assert release.wait(10)


async def while_locked(table: str, work) -> None:
    """`work()` while somebody else holds the table."""
    held, release = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as threads:
        holding = threads.submit(database.call, locked, table, held, release)
        try:
            assert await asyncio.to_thread(held.wait, 10)
            await work()
        finally:
            release.set()
            await asyncio.to_thread(holding.result, 10)


def test_each_service_is_one_object_that_is_its_interface(media, tmp_path):
    assert isinstance(media, LocalMedia)
    assert integrations.media_service(tmp_path / "media") is media
    assert isinstance(integrations.user_service(), LocalUsers)


async def test_a_medium_is_its_owners_alone_to_send(media):
    ann, media_id = uuid4(), new_id()
    await database.run(media_insert, media_id, ann, 3, b"h" * 32)
    known = await media.validate_media_access(ann, str(media_id))
    assert (known.media_id, known.size, known.sha256) == (str(media_id), 3, b"h" * 32)
    for owner, name in ((uuid4(), str(media_id)), (ann, str(uuid4())), (ann, "x"), (ann, f" {media_id}")):
        with pytest.raises(InvalidMedia):
            await media.validate_media_access(owner, name)


async def test_a_link_may_be_told_again_and_an_unknown_medium_is_invalid(media):
    media_id = new_id()
    await database.run(media_insert, media_id, uuid4(), 3, b"h" * 32)
    for _ in range(2):
        await media.link_media_to_message(str(media_id), uuid4(), uuid4())
    assert (await Media.objects.aget()).linked_at is not None
    for unknown in (str(uuid4()), "x"):
        with pytest.raises(InvalidMedia):
            await media.link_media_to_message(unknown, uuid4(), uuid4())
        await media.unlink_media(unknown, uuid4())


async def test_no_answer_within_the_deadline_is_temporary(media):
    ann, media_id = uuid4(), new_id()
    await database.run(media_insert, media_id, ann, 3, b"h" * 32)

    async def ask() -> None:
        with pytest.raises(TemporaryUnavailable):
            await media.validate_media_access(ann, str(media_id), seconds=0.1)

    await while_locked("media", ask)
    assert (await media.validate_media_access(ann, str(media_id))).size == 3


async def test_blocks_have_a_deadline_too():
    users, ann, bob = integrations.user_service(), uuid4(), uuid4()

    async def ask() -> None:
        with pytest.raises(TemporaryUnavailable):
            await users.block_set(ann, bob, seconds=0.1)

    await while_locked("blocks", ask)
    assert await users.block_set(uuid4(), bob) is True
    assert await Block.objects.filter(blocked_id=bob).aexists()
