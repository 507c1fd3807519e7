"""The media service's local answer: rows in `media`, encrypted bytes on this machine's disk (blobs.py).

The links are the rows of `media_links`, which the message's own transactions write and delete; so a medium is kept
exactly as long as a message carries it.
"""

from datetime import datetime
from uuid import UUID

from integrations.local.blobs import BlobStore
from integrations.local.deadline import within
from integrations.media import LINK_SECONDS
from messaging.events import MediaMetadata
from messaging.store import media as store
from whispr.kernel import database
from whispr.kernel.errors import InvalidMedia, TemporaryUnavailable

# The send waits for the same database anyway: a deadline of its own only tells its being slow from its being away.
LOCAL_SECONDS = 4.0


class LocalMedia:
    """`MediaService` from this system's own table and disk."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    async def validate_media_access(
        self,
        owner_id: UUID,
        media_id: str,
        *,
        keep_until: datetime | None = None,
        seconds: float = LOCAL_SECONDS,
    ) -> MediaMetadata:
        """As `MediaService` says; the medium is kept for the send that asks (store.MEDIA_LEASE_SECONDS)."""
        known = store.parse_media_id(media_id)
        if known is None:
            raise InvalidMedia()
        found = await within(seconds, database.run(store.media_check, owner_id, known, keep_until))
        if found is None:
            raise InvalidMedia()
        return found

    async def link_media_to_message(
        self, media_id: str, message_id: UUID, conversation_id: UUID, *, seconds: float = LINK_SECONDS
    ) -> None:
        """As `MediaService` says."""
        known = store.parse_media_id(media_id)
        if known is None or not await within(seconds, database.run(store.media_link, known)):
            raise InvalidMedia()

    async def unlink_media(self, media_id: str, message_id: UUID, *, seconds: float = LINK_SECONDS) -> None:
        """As `MediaService` says: at once, where no other message carries it."""
        known = store.parse_media_id(media_id)
        if known is None:
            return
        removed = await within(seconds, database.run(store.media_remove_unused, self._blobs.remove, 1, 0.0, known))
        if not removed and await within(seconds, database.run(store.is_media_leased, known)):
            raise TemporaryUnavailable("A send asks for this medium.", retry_after=float(store.MEDIA_LEASE_SECONDS))
