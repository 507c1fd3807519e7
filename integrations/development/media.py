"""The development media service: answers from memory.

A medium is there as soon as somebody asks for it, and is theirs from then on; one whose name begins with `missing`
never is.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from integrations.development.modes import Behaviour
from integrations.proto.whispr.media.v1 import media_pb2, media_pb2_grpc

Validated = media_pb2.ValidateMediaAccessResponse
Linked = media_pb2.LinkMediaToMessageResponse
MISSING = "missing"
SIZE = 1024
# Development: whoever asks for more media than this begins anew.
MEDIA_MAX = 100_000


@dataclass(slots=True)
class Medium:
    """Whose it is, since when, and which messages carry it."""

    owner_id: str
    created_at: datetime
    messages: set[str] = field(default_factory=set)


class Media(media_pb2_grpc.MediaServicer):
    """Media in memory."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.media: dict[str, Medium] = {}

    async def ValidateMediaAccess(self, request: media_pb2.ValidateMediaAccessRequest, context: Any) -> Validated:
        """As the contract says."""
        wrong = await self.behaviour.meet(context)
        if len(self.media) >= MEDIA_MAX:
            self.media.clear()
        if request.media_id.startswith(MISSING):
            return Validated(verdict=Validated.VERDICT_NOT_FOUND)
        medium = self.media.setdefault(request.media_id, Medium(request.owner_id, datetime.now(UTC)))
        if medium.owner_id != request.owner_id:
            return Validated(verdict=Validated.VERDICT_NOT_FOUND)
        answer = Validated(verdict=Validated.VERDICT_GRANTED)
        answer.media.media_id = request.media_id
        answer.media.size = SIZE
        answer.media.sha256 = hashlib.sha256(request.media_id.encode()).digest()
        answer.media.created_at.FromDatetime(medium.created_at)
        if wrong:
            self._spoil(answer)
        return answer

    def _spoil(self, answer: Validated) -> None:
        spoilt: dict[int, Any] = {
            0: ("media_id", "another"),
            1: ("size", -1),
            2: ("size", 2**60),
            3: ("sha256", b"short"),
            4: ("size", 0),
        }
        turn = self.behaviour.next_wrong(len(spoilt) + 3)
        if turn in spoilt:
            setattr(answer.media, *spoilt[turn])
        elif turn == len(spoilt):
            answer.media.ClearField("created_at")
        elif turn == len(spoilt) + 1:
            answer.media.created_at.seconds = 2**60
        else:
            answer.verdict = Validated.VERDICT_UNSPECIFIED

    async def LinkMediaToMessage(self, request: media_pb2.LinkMediaToMessageRequest, context: Any) -> Linked:
        """As the contract says."""
        if await self.behaviour.meet(context):
            return Linked()
        medium = self.media.get(request.media_id)
        if medium is None:
            return Linked(verdict=Linked.VERDICT_GONE)
        medium.messages.add(request.message_id)
        return Linked(verdict=Linked.VERDICT_LINKED)

    async def UnlinkMediaFromMessage(
        self, request: media_pb2.UnlinkMediaFromMessageRequest, context: Any
    ) -> media_pb2.UnlinkMediaFromMessageResponse:
        """As the contract says. A medium that no message carries any more is gone."""
        await self.behaviour.meet(context)
        medium = self.media.get(request.media_id)
        if medium is not None:
            medium.messages.discard(request.message_id)
            if not medium.messages:
                del self.media[request.media_id]
        return media_pb2.UnlinkMediaFromMessageResponse()
