"""The media service over gRPC (`proto/whispr/media/v1`)."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from integrations.grpc.client import Method, Nonsense, Refused, ServiceClient, Status
from integrations.media import LINK_SECONDS, VALIDATE_SECONDS
from integrations.proto.whispr.media.v1 import media_pb2, media_pb2_grpc
from messaging.events import MediaMetadata
from whispr.kernel.errors import InvalidMedia, TemporaryUnavailable
from whispr.kernel.loops import PerLoop
from whispr.kernel.remote_service import RemoteService

T = TypeVar("T")
SERVICE = media_pb2.DESCRIPTOR.services_by_name["Media"].full_name
# What JavaScript can count to: sizes go to clients as JSON numbers.
SIZE_MAX = 2**53 - 1
HASH_BYTES = 32


class GrpcMedia:
    """`MediaService` of another process."""

    def __init__(self, remote: RemoteService) -> None:
        self.clients = PerLoop(lambda: ServiceClient("media_service", remote, SERVICE))

    async def validate_media_access(
        self,
        owner_id: UUID,
        media_id: str,
        *,
        keep_until: datetime | None = None,
        seconds: float = VALIDATE_SECONDS,
    ) -> MediaMetadata:
        """As `MediaService` says."""
        request = media_pb2.ValidateMediaAccessRequest(owner_id=str(owner_id), media_id=media_id)
        if keep_until is not None:
            request.keep_until.FromDatetime(keep_until.astimezone(UTC))
        found = await self._call(
            "ValidateMediaAccess", _validate, request, lambda answer: _metadata(answer, media_id), seconds
        )
        if found is None:
            raise InvalidMedia()
        return found

    async def link_media_to_message(
        self, media_id: str, message_id: UUID, conversation_id: UUID, *, seconds: float = LINK_SECONDS
    ) -> None:
        """As `MediaService` says."""
        request = media_pb2.LinkMediaToMessageRequest(
            media_id=media_id, message_id=str(message_id), conversation_id=str(conversation_id)
        )
        if not await self._call("LinkMediaToMessage", _link, request, _linked, seconds):
            raise InvalidMedia()

    async def unlink_media(self, media_id: str, message_id: UUID, *, seconds: float = LINK_SECONDS) -> None:
        """As `MediaService` says."""
        request = media_pb2.UnlinkMediaFromMessageRequest(media_id=media_id, message_id=str(message_id))
        await self._call("UnlinkMediaFromMessage", _unlink, request, lambda answer: True, seconds)

    async def _call(
        self, method: str, stub: Any, request: object, read: Callable[[Any], T], seconds: float
    ) -> T | None:
        """What `read` makes of the answer; None where the service says that there is no such thing."""
        try:
            return await self.clients.get().call(method, stub, request, read, seconds)
        except Refused as refusal:
            if refusal.status in (Status.NOT_FOUND, Status.PERMISSION_DENIED):
                return None
            raise TemporaryUnavailable("The media service refuses the question.", retry_after=5.0) from None


def _validate(channel: Any) -> Method:
    return media_pb2_grpc.MediaStub(channel).ValidateMediaAccess  # type: ignore[no-any-return,no-untyped-call]


def _link(channel: Any) -> Method:
    return media_pb2_grpc.MediaStub(channel).LinkMediaToMessage  # type: ignore[no-any-return,no-untyped-call]


def _unlink(channel: Any) -> Method:
    return media_pb2_grpc.MediaStub(channel).UnlinkMediaFromMessage  # type: ignore[no-any-return,no-untyped-call]


def _metadata(answer: media_pb2.ValidateMediaAccessResponse, media_id: str) -> MediaMetadata | None:
    if answer.verdict == media_pb2.ValidateMediaAccessResponse.VERDICT_NOT_FOUND:
        return None
    if answer.verdict != media_pb2.ValidateMediaAccessResponse.VERDICT_GRANTED:
        raise Nonsense("a verdict that is none")
    media = answer.media
    if media.media_id != media_id:
        raise Nonsense("another medium than the one that was asked for")
    if not 0 < media.size <= SIZE_MAX:
        raise Nonsense("a size that no medium has")
    if len(media.sha256) != HASH_BYTES:
        raise Nonsense("a hash that is none")
    if not media.HasField("created_at"):
        raise Nonsense("no time")
    try:
        created_at = media.created_at.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise Nonsense("a time that is none") from None
    return MediaMetadata(media.media_id, media.size, media.sha256, created_at)


def _linked(answer: media_pb2.LinkMediaToMessageResponse) -> bool:
    if answer.verdict == media_pb2.LinkMediaToMessageResponse.VERDICT_LINKED:
        return True
    if answer.verdict == media_pb2.LinkMediaToMessageResponse.VERDICT_GONE:
        return False
    raise Nonsense("a verdict that is none")
