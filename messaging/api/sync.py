"""Catch-up for clients without a socket (docs/protocol.md §7 `sync`)."""

from rest_framework.request import Request
from rest_framework.response import Response

from messaging.api.base import ApiView, actor_of, answer, body_of, call
from messaging.api.openapi import operation
from messaging.requests import Sync
from messaging.services.sync import SyncPage, get_sync


class SyncView(ApiView):
    """`sync`."""

    @operation("sync", "What the device lacks", {200: SyncPage}, body=Sync, body_optional=True, tag="sync")
    def post(self, request: Request) -> Response:
        """Everything after the cursors, or after what the device acknowledged; again until `complete`."""
        return answer(call(get_sync, actor_of(request), body_of(request, Sync, optional=True)))
