"""Media: the encrypted bytes that messages carry, in the built-in store (docs/protocol.md §7 `media`)."""

from http import HTTPStatus
from typing import cast
from uuid import UUID

from django.http import StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from integrations.local.blobs import Incoming
from messaging.api.base import ApiView, actor_of, answer, call
from messaging.api.openapi import operation
from messaging.api.uploads import SCOPE_KEY
from messaging.events import MediaMetadata
from messaging.services import media as service
from whispr.kernel.errors import TemporaryUnavailable

TAG = "media"
OCTETS = "application/octet-stream"


class MediaList(ApiView):
    """`media`."""

    @operation("mediaCreate", "Store a medium", {201: MediaMetadata}, body=bytes, tag=TAG)
    def post(self, request: Request) -> Response:
        """The body is the encrypted bytes as they are, at most 25 MiB by default. A medium that no message carries
        within 24 hours is removed."""
        incoming = getattr(request._request, "scope", {}).get(SCOPE_KEY)
        if incoming is None:
            raise TemporaryUnavailable("This server takes no media.")
        return answer(call(service.media_store, actor_of(request), cast(Incoming, incoming)), HTTPStatus.CREATED)


class Medium(ApiView):
    """`media/{id}`."""

    @operation("mediaGet", "The bytes of a medium", {200: bytes}, errors=(404,), tag=TAG)
    def get(self, request: Request, media_id: UUID) -> Response:
        """For its owner, and for the members of a conversation who may see a message that carries it."""
        found, pieces = call(service.get_media, actor_of(request), media_id)
        headers = {
            "Content-Length": str(found.size),
            # What is in it is unknown and somebody else's: no browser is to show it as a page of ours.
            "Content-Disposition": "attachment",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        }
        return cast(Response, StreamingHttpResponse(pieces, content_type=OCTETS, headers=headers))
