"""Blocks: who wants nothing from whom (docs/protocol.md §7 `blocks`)."""

from http import HTTPStatus
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from messaging.api.base import ApiView, actor_of, answer, call, id_of, limit_of
from messaging.api.openapi import id_parameter, limit_parameter, operation
from messaging.api.shapes import BlockList
from messaging.services import blocks as service

TAG = "blocks"


class Blocks(ApiView):
    """`blocks`."""

    @operation(
        "blockList",
        "Whom the caller blocked",
        {200: BlockList},
        errors=(404,),
        query=[limit_parameter(), id_parameter("cursor", "`next` of the page before.")],
        tag=TAG,
    )
    def get(self, request: Request) -> Response:
        """By id, the greatest first."""
        limit = limit_of(request)
        found = call(service.list_blocks, actor_of(request), limit + 1, id_of(request, "cursor"))
        return answer(BlockList(found[:limit], found[limit - 1].user_id if len(found) > limit else None))


class Block(ApiView):
    """`blocks/{userId}`."""

    @operation("blockSet", "Block a user", {204: None}, errors=(400, 404), tag=TAG)
    def put(self, request: Request, user_id: UUID) -> Response:
        """What the user sends from now on in the direct conversation with the caller reaches the caller no more.

        The blocked user is not told: their sends are answered as ever. In groups messages are delivered.
        """
        call(service.block_set, actor_of(request), user_id)
        return answer(None, HTTPStatus.NO_CONTENT)

    @operation("blockRemove", "End a block", {204: None}, errors=(404,), tag=TAG)
    def delete(self, request: Request, user_id: UUID) -> Response:
        """What was sent meanwhile stays withheld; 204 as well where there was no block."""
        call(service.block_remove, actor_of(request), user_id)
        return answer(None, HTTPStatus.NO_CONTENT)
