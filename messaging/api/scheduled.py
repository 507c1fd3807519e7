"""Scheduled messages of the caller (docs/protocol.md §7 `messages/scheduled`)."""

from http import HTTPStatus
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from messaging.api.base import ApiView, actor_of, answer, body_of, call, id_of, limit_of
from messaging.api.openapi import id_parameter, limit_parameter, operation
from messaging.personal import ScheduledList, ScheduledView, ScheduleMessage, UpdateScheduled
from messaging.requests import SendMessage
from messaging.services import scheduled as service

TAG = "scheduled"


class ScheduledMessages(ApiView):
    """`messages/scheduled`."""

    @operation(
        "scheduledList",
        "What waits to be sent",
        {200: ScheduledList},
        query=[limit_parameter(), id_parameter("cursor", "`next` of the page before.")],
        tag=TAG,
    )
    def get(self, request: Request) -> Response:
        """What waits, what must be encrypted again, what failed (`reason` says why); the earliest time first.

        Sent ones are not in the list; each is still found by its id.
        """
        return answer(call(service.list_scheduled, actor_of(request), limit_of(request), id_of(request, "cursor")))

    @operation(
        "scheduledCreate",
        "Schedule a message",
        {201: ScheduledView, 200: ScheduledView},
        body=ScheduleMessage,
        errors=(404, 409, 422),
        tag=TAG,
    )
    def post(self, request: Request) -> Response:
        """The body of a send and `scheduledFor`, at most a year ahead; sent within 5 seconds of that time.

        Membership is checked again then. Where members or devices came or went meanwhile, it is held as
        `needs_reencrypt`. The same send under the same clientRandom again is a 200 with what is there.
        """
        view, created = call(service.scheduled_create, actor_of(request), body_of(request, ScheduleMessage))
        return answer(view, HTTPStatus.CREATED if created else HTTPStatus.OK)


class ScheduledMessage(ApiView):
    """`messages/scheduled/{id}`."""

    @operation("scheduledGet", "One scheduled message", {200: ScheduledView}, errors=(404,), tag=TAG)
    def get(self, request: Request, scheduled_id: UUID) -> Response:
        """In any state; a sent one names its message and no longer holds its content."""
        return answer(call(service.get_scheduled, actor_of(request), scheduled_id))

    @operation(
        "scheduledUpdate",
        "Change a scheduled message",
        {200: ScheduledView},
        body=UpdateScheduled,
        errors=(404, 409, 422),
        tag=TAG,
    )
    def put(self, request: Request, scheduled_id: UUID) -> Response:
        """Another time (`scheduledFor` alone), another content (a whole send, as in POST), or both.

        409 where it was sent or failed.
        """
        change = body_of(request, UpdateScheduled)
        send = None if change.content is None else body_of(request, SendMessage)
        return answer(call(service.scheduled_update, actor_of(request), scheduled_id, change, send))

    @operation("scheduledCancel", "Cancel a scheduled message", {204: None}, errors=(404, 409), tag=TAG)
    def delete(self, request: Request, scheduled_id: UUID) -> Response:
        """Once answered, it is never sent; 409 where it was. A failed one is put away."""
        call(service.scheduled_cancel, actor_of(request), scheduled_id)
        return answer(None, HTTPStatus.NO_CONTENT)
