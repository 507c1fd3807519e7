"""Media: taken in and given out by the built-in store, asked for before a send, linked after it (specification §9.2).

The bytes are the client's ciphertext: nobody here can say what they are.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import BinaryIO, Literal
from uuid import UUID

import msgspec
from django.conf import settings

from delivery.services.dead_letters import dead_letter_kind, failure_of
from integrations import BlobStore, MediaService, blob_store, media_service
from integrations.local.blobs import Incoming, pieces_of
from messaging.events import Actor, MediaMetadata
from messaging.store import media as store
from messaging.store.log import NewEntry
from whispr.kernel import database
from whispr.kernel.errors import BadRequest, InvalidMedia, NotFound, Overloaded, WhisprError
from whispr.kernel.failpoints import hit
from whispr.kernel.ids import new_id
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop
from whispr.kernel.stopping import is_stopping

log = logging.getLogger(__name__)

# Links that are told to the media service at once, and for how long one run goes on: a worker's task has 90 s.
LINKS_AT_ONCE = 16
SETTLE_SECONDS = 25.0
# Media that nobody sent are kept for so long: a client may upload first, and send when it has a network again.
GRACE_SECONDS = 24 * 3600.0
# Half-received bytes of a process that ended are removed after so long, which no upload takes.
INCOMING_SECONDS = 3600.0
SWEEP_BATCH = 100


def get_blobs() -> BlobStore:
    """The built-in store, where the settings say."""
    return blob_store(settings.WHISPR_MEDIA_DIR)


def get_media_service() -> MediaService:
    """The media service that the settings name: the built-in one."""
    return media_service(settings.WHISPR_MEDIA_DIR)


def _access_store() -> None:
    """Raises NotFound where a media service has the media: what its clients ask of it is its own matter."""
    if settings.WHISPR_MEDIA_SERVICE:
        raise NotFound()


def upload_begin() -> Incoming:
    """Begin to take in a medium; the caller ends it with `media_store` or with its `abort()`.

    Raises NotFound where a media service is set.
    """
    _access_store()
    return get_blobs().receive(new_id(), LIMITS.media_bytes)


async def media_store(actor: Actor, incoming: Incoming) -> MediaMetadata:
    """Keep a medium whose bytes are all there, as the actor's (docs/protocol.md §7 `media`).

    Raises BadRequest for nothing at all, RateLimited over what a user may store, TemporaryUnavailable, Timeout.
    """
    if not incoming.size:
        raise BadRequest("A medium must not be empty.")
    await incoming.finish()
    # The row first: bytes without a row would stay for ever, a row without bytes is removed with those never sent.
    created_at = await database.run(
        store.media_insert, incoming.media_id, actor.user_id, incoming.size, incoming.sha256
    )
    await incoming.keep()
    return MediaMetadata(str(incoming.media_id), incoming.size, incoming.sha256, created_at)


class _Downloads:
    """The media that one event loop is giving out."""

    def __init__(self) -> None:
        self.running = 0


_downloads: PerLoop[_Downloads] = PerLoop(_Downloads)


async def get_media(actor: Actor, media_id: UUID) -> tuple[MediaMetadata, AsyncIterator[bytes]]:
    """A medium that the actor may fetch, and its bytes, piece by piece (docs/protocol.md §7 `media/{id}`).

    Raises NotFound, also where a media service is set; Overloaded. The bytes end after
    `LIMITS.media_transfer_seconds`, complete or not.
    """
    _access_store()
    found = await database.run(store.get_media, actor.user_id, media_id)
    if found is None:
        raise NotFound()
    if _downloads.get().running >= LIMITS.media_transfers_max:
        raise Overloaded("Too many media are being fetched.")
    file = await get_blobs().open(media_id)
    if file is None:
        raise NotFound()
    return found, _pieces(file)


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    downloads = _downloads.get()
    downloads.running += 1
    deadline = asyncio.get_running_loop().time() + LIMITS.media_transfer_seconds
    try:
        async for piece in pieces_of(file):
            yield piece
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError("A medium was fetched too slowly.")
    finally:
        downloads.running -= 1
        file.close()


async def access_media(entry: NewEntry, keep_until: datetime | None = None) -> NewEntry:
    """An entry of type media with what the media service says of its medium; any other as it is.

    `keep_until` is when the entry will be sent, where that is later: the medium waits for it.

    Where the service refuses, the entry goes on without: the log answers it with `invalid_media`, unless it is the
    resend of a message that was sent while the medium was there (docs/protocol.md §8.2). Raises TemporaryUnavailable.
    """
    if entry.media_id is None:
        return entry
    try:
        known = await get_media_service().validate_media_access(entry.sender_id, entry.media_id, keep_until=keep_until)
    except InvalidMedia:
        return entry
    return msgspec.structs.replace(entry, media=known)


async def media_links_settle() -> int:
    """Tell the media service of the links that are due, made and removed; of how many it took.

    What it does not take is tried again, later each time. Many processes may run this at once; each link is one's.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_SECONDS
    settled = 0
    while loop.time() < deadline:
        links = await database.run(store.media_links_claim, LINKS_AT_ONCE)
        hit("media_links.after_claim")
        taken = await asyncio.gather(*map(_settle, links))
        settled += taken.count("settled")
        if len(links) < LINKS_AT_ONCE or "away" in taken or is_stopping():
            break
    return settled


async def _settle(link: store.ClaimedLink) -> Literal["settled", "away", "refused"]:
    service = get_media_service()
    try:
        if link.removed:
            await service.unlink_media(link.media_id, link.message_id)
        else:
            await service.link_media_to_message(link.media_id, link.message_id, link.conversation_id)
    except Exception as error:  # a refusal, or a fault that is this link's alone
        return await _put_off(link, error)
    hit("media_links.after_effect")
    await database.run(store.media_link_settle, link)
    return "settled"


async def _put_off(link: store.ClaimedLink, error: Exception) -> Literal["away", "refused"]:
    code, detail = failure_of(error)
    away = isinstance(error, WhisprError) and error.status >= 500
    if not away and link.attempts >= LIMITS.tries_max:
        await database.run(store.media_link_give_up, link, code, detail)
        log.error("The link of message %s is a dead letter: %s %s", link.message_id, code, detail)
    else:
        seconds = await database.run(store.media_link_retry, link, away=away)
        log.info("The link of message %s waits %.0f s: %s %s", link.message_id, seconds, code, detail)
    return "away" if away else "refused"


async def _requeue(keys: Sequence[str]) -> list[str]:
    return [str(id_) for id_ in await database.run(store.media_links_requeue, [int(key) for key in keys])]


dead_letter_kind(store.MEDIA_LINK, requeue=_requeue)


class _Settler:
    """Settles the links of this event loop's own sends at once; what fails is the beat's."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._again = False

    def wake(self) -> None:
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._again:
                self._again = False
                await media_links_settle()
        except WhisprError:
            pass  # the database is away: the rows are there when it is back
        except Exception:
            log.exception("Links of media were not told; the next run of the schedule does it")


_settlers: PerLoop[_Settler] = PerLoop(_Settler)


def media_links_soon() -> None:
    """A message with a medium was committed, or its content taken away: tell the media service, without waiting."""
    _settlers.get().wake()


async def media_sweep() -> int:
    """Remove media that were never sent within GRACE_SECONDS, and what was left half received; how many media."""
    blobs = get_blobs()
    await blobs.sweep_incoming(INCOMING_SECONDS)
    removed = 0
    while True:
        count = await database.run(store.media_remove_unused, blobs.remove, SWEEP_BATCH, GRACE_SECONDS)
        removed += count
        if count < SWEEP_BATCH:
            return removed
