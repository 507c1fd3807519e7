"""What the core asks of a media service (specification §9.2): is it the sender's, and: this message carries it.

Every method has a deadline of its own and raises coded errors only, so that a caller treats all answers alike.
"""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from messaging.events import MediaMetadata
from whispr.kernel.limits import LIMITS

# A send waits for this answer (docs/architecture.md: 300 ms on the send path); what follows the commit may take longer.
VALIDATE_SECONDS = LIMITS.service_send_ms / 1000
LINK_SECONDS = LIMITS.service_ms / 1000


class MediaService(Protocol):
    """A media service. `media_id` is its own name for a medium, opaque here."""

    async def validate_media_access(
        self,
        owner_id: UUID,
        media_id: str,
        *,
        keep_until: datetime | None = None,
        seconds: float = VALIDATE_SECONDS,
    ) -> MediaMetadata:
        """The medium, if it is there and `owner_id` may send it: now, or where it is to be kept for that, `keep_until`.

        Raises InvalidMedia where it is not; TemporaryUnavailable without an answer within `seconds`.
        """

    async def link_media_to_message(
        self, media_id: str, message_id: UUID, conversation_id: UUID, *, seconds: float = LINK_SECONDS
    ) -> None:
        """Tell that a committed message carries the medium, so that it is kept. Telling it again changes nothing.

        Raises InvalidMedia where the medium is gone for good; TemporaryUnavailable without an answer within `seconds`.
        """

    async def unlink_media(self, media_id: str, message_id: UUID, *, seconds: float = LINK_SECONDS) -> None:
        """Tell that the message is no more, so that the medium is kept for it no longer. Unknown ones are ignored.

        Raises TemporaryUnavailable without an answer within `seconds`.
        """
