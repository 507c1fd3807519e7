"""Messages: send, read one, tell that one read it (PROTOCOL.md §3 `messages`)."""

from http import HTTPStatus
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from messaging.api.base import ApiView, actor_of, answer, body_of, call
from messaging.api.openapi import operation
from messaging.events import Entry, SendOutcome
from messaging.requests import SendMessage
from messaging.services.history import get_message
from messaging.services.send import message_send

_STATUSES = {"sent": HTTPStatus.CREATED, "duplicate": HTTPStatus.OK, "pending": HTTPStatus.ACCEPTED}
TAG = "messages"


class Messages(ApiView):
    """`messages`."""

    @operation(
        "messageSend",
        "Send a message",
        {201: SendOutcome, 200: SendOutcome, 202: SendOutcome},
        body=SendMessage,
        errors=(404, 409, 422),
        tag=TAG,
    )
    def post(self, request: Request) -> Response:
        """The socket's `send_message`: 201 once it is committed, 200 for a duplicate, 202 while the database is
        away."""
        outcome = call(message_send, actor_of(request), body_of(request, SendMessage))
        return answer(outcome, _STATUSES[outcome.status])


class Message(ApiView):
    """`messages/{id}`."""

    @operation("messageGet", "One entry of a log", {200: Entry}, errors=(404,), tag=TAG)
    def get(self, request: Request, message_id: UUID) -> Response:
        """The entry, where the caller may see it; content that expired or was deleted is empty."""
        return answer(call(get_message, actor_of(request), message_id))
