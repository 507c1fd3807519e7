"""Reactions to a message (docs/protocol.md §7 `messages/{id}/reactions`)."""

import re
from http import HTTPStatus
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from messaging.api.base import ApiView, actor_of, answer, body_of, call
from messaging.api.messages import TAG
from messaging.api.openapi import operation, text_parameter
from messaging.api.shapes import AddReaction, ReactionList
from messaging.events import SendOutcome
from messaging.requests import React
from messaging.services.reactions import list_message_reactions, message_react, new_client_random
from whispr.kernel.errors import BadRequest

_STATUSES = {"sent": HTTPStatus.CREATED, "duplicate": HTTPStatus.OK, "pending": HTTPStatus.ACCEPTED}
_CLIENT_RANDOM = re.compile(r"[0-9]{1,16}", re.ASCII)


class Reactions(ApiView):
    """`messages/{id}/reactions`."""

    @operation(
        "reactionList",
        "The reactions to a message",
        {200: ReactionList},
        query=[text_parameter("emoji", "This one alone, with all of its users.")],
        errors=(404,),
        tag=TAG,
    )
    def get(self, request: Request, message_id: UUID) -> Response:
        """Each emoji with its count, its first users, and whether the caller is among all of them."""
        emoji = request.query_params.get("emoji")
        if emoji is not None and "\x00" in emoji:
            raise BadRequest("emoji must not hold NUL.")
        return answer(ReactionList(call(list_message_reactions, actor_of(request), message_id, emoji)))

    @operation(
        "reactionAdd",
        "React to a message",
        {201: SendOutcome, 200: SendOutcome, 202: SendOutcome},
        body=AddReaction,
        errors=(404, 409, 422),
        tag=TAG,
    )
    def post(self, request: Request, message_id: UUID) -> Response:
        """The socket's `react`: 200 and no `seq` where the reaction is there already."""
        body = body_of(request, AddReaction)
        return self._react(request, message_id, body.emoji, body.client_random, body.signature, remove=False)

    @operation(
        "reactionRemove",
        "Take a reaction back",
        {200: SendOutcome, 202: SendOutcome},
        query=[
            text_parameter("emoji", "The reaction.", required=True),
            text_parameter("clientRandom", "As in a send; without it the server draws one."),
            text_parameter("signature", "As in a send, over the metadata `{emoji, remove: true}`."),
        ],
        errors=(404, 409, 422),
        tag=TAG,
    )
    def delete(self, request: Request, message_id: UUID) -> Response:
        """The socket's `react` with `remove`; without `seq` where it was not there."""
        query = request.query_params
        emoji, text = query.get("emoji"), query.get("clientRandom")
        if emoji is None:
            raise BadRequest("emoji is missing.")
        if text is not None and (_CLIENT_RANDOM.fullmatch(text) is None or int(text) >= 2**53):
            raise BadRequest("clientRandom must be an integer, 0 to 2^53 − 1.")
        client_random = None if text is None else int(text)
        response = self._react(request, message_id, emoji, client_random, query.get("signature"), remove=True)
        if response.status_code == HTTPStatus.CREATED:
            response.status_code = HTTPStatus.OK
        return response

    @staticmethod
    def _react(
        request: Request,
        message_id: UUID,
        emoji: str,
        client_random: int | None,
        signature: str | None,
        *,
        remove: bool,
    ) -> Response:
        reaction = React(
            message_id=message_id,
            emoji=emoji,
            remove=remove,
            client_random=new_client_random() if client_random is None else client_random,
            signature=signature,
        )
        outcome = call(message_react, actor_of(request), reaction)
        return answer(outcome, _STATUSES[outcome.status])
