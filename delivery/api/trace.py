"""The way of a message (docs/protocol.md §7 `messages/{id}/trace`)."""

from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from delivery.services.trace import TraceView, get_trace
from messaging.api.base import ApiView, actor_of, answer, call
from messaging.api.openapi import operation


class MessageTrace(ApiView):
    """`messages/{id}/trace`."""

    @operation("messageTrace", "The way of a message", {200: TraceView}, errors=(404,), tag="receipts")
    def get(self, request: Request, message_id: UUID) -> Response:
        """Its steps in the order of time, without content, for its sender: accepted, committed, acknowledged, read.

        For the messages whose steps are kept (`WHISPR_TRACE`) also published, pushed and retried, with the processes.
        """
        return answer(call(get_trace, actor_of(request), message_id))
