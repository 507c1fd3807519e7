"""Messages: send, read one, edit it, delete it (docs/protocol.md §7 `messages`)."""

import re
from http import HTTPStatus
from uuid import UUID

import msgspec
from rest_framework.request import Request
from rest_framework.response import Response

from messaging.api.base import ApiView, actor_of, answer, body_of, call, flag_of
from messaging.api.openapi import flag_parameter, if_match_parameter, operation
from messaging.api.shapes import Deleted
from messaging.events import MessageView, SendOutcome
from messaging.requests import DeleteMessage, EditMessage, SendMessage
from messaging.services.deletions import message_delete
from messaging.services.edits import message_edit
from messaging.services.history import get_message
from messaging.services.send import message_send
from whispr.kernel.errors import BadRequest

_STATUSES = {"sent": HTTPStatus.CREATED, "duplicate": HTTPStatus.OK, "pending": HTTPStatus.ACCEPTED}
TAG = "messages"
_ETAG = re.compile(r'"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"', re.ASCII)


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

    @operation("messageGet", "One entry as it is now", {200: MessageView}, errors=(404,), tag=TAG)
    def get(self, request: Request, message_id: UUID) -> Response:
        """With the content of its latest edit, and its reactions; content that expired or was deleted is empty.

        Its `ETag` is the id of the latest edit, or of the message: what `If-Match` of an edit says.
        """
        view = call(get_message, actor_of(request), message_id)
        return answer(view, ETag=_etag(view.message_id if view.edit is None else view.edit.message_id))

    @operation(
        "messageEdit",
        "Edit a message",
        {200: SendOutcome, 202: SendOutcome},
        body=EditMessage,
        errors=(404, 409, 422),
        headers=[if_match_parameter()],
        tag=TAG,
    )
    def put(self, request: Request, message_id: UUID) -> Response:
        """The socket's `edit_message`: an entry of its own, whose id is the message's new `ETag`."""
        edit = body_of(request, EditMessage)
        base = _if_match(request.headers.get("If-Match"))
        edit = msgspec.structs.replace(edit, message_id=message_id, base_id=edit.base_id if base is None else base)
        outcome = call(message_edit, actor_of(request), edit)
        status = HTTPStatus.ACCEPTED if outcome.status == "pending" else HTTPStatus.OK
        return answer(outcome, status, ETag=_etag(outcome.message_id))

    @operation(
        "messageDelete",
        "Delete a message",
        {200: Deleted},
        errors=(404, 422),
        query=[flag_parameter("for_everyone", "The author alone; without it the message is hidden from the caller.")],
        tag=TAG,
    )
    def delete(self, request: Request, message_id: UUID) -> Response:
        """The socket's `delete_message`; deleting again is no error."""
        for_everyone = flag_of(request, "for_everyone")
        call(message_delete, actor_of(request), DeleteMessage(message_id=message_id, for_everyone=for_everyone))
        return answer(Deleted(message_id))


def _etag(id_: UUID) -> str:
    return f'"{id_}"'


def _if_match(text: str | None) -> UUID | None:
    """What an edit was made from; None where the header leaves it open (RFC 9110 §13.1.1: one strong tag, or `*`).

    Raises BadRequest for anything else: to take it for absent would overwrite what the client meant to keep.
    """
    if text is None or text.strip() == "*":
        return None
    found = _ETAG.fullmatch(text.strip())
    if found is None:
        raise BadRequest("If-Match must be the ETag of the message.")
    return UUID(found[1])
