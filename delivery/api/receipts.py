"""Acknowledgements, and what became of a message (docs/protocol.md §7 `acks`, `messages/{id}/read`,
`messages/{id}/delivery`)."""

from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from delivery.services.receipts import receipts_record
from messaging.api.base import ApiView, actor_of, answer, body_of, call
from messaging.api.openapi import operation
from messaging.api.shapes import DeliveryList, Nothing
from messaging.events import Actor, DeliveryCounts
from messaging.requests import Acks
from messaging.services.delivery_hints import get_known_delivery
from messaging.services.history import get_message

TAG = "receipts"


class AckView(ApiView):
    """`acks`."""

    @operation("ack", "Acknowledge entries", {200: Nothing}, body=Acks, errors=(404,), tag=TAG)
    def post(self, request: Request) -> Response:
        """The socket's `message_received`, or with `status` `read` its `message_read`, in the same three forms."""
        acks = body_of(request, Acks)
        call(receipts_record, actor_of(request), acks, read=acks.status == "read")
        return answer(Nothing())


class MessageRead(ApiView):
    """`messages/{id}/read`."""

    @operation("messageRead", "Tell that a message was read", {200: Nothing}, errors=(404,), tag=TAG)
    def post(self, request: Request, message_id: UUID) -> Response:
        """Everything of its conversation up to it is read then."""
        call(_message_read, actor_of(request), message_id)
        return answer(Nothing())


async def _message_read(actor: Actor, message_id: UUID) -> None:
    entry = await get_message(actor, message_id)  # NotFound for a message that the caller may not see
    await receipts_record(actor, Acks(conversation_id=entry.conversation_id, up_to=entry.seq), read=True)


class MessageDelivery(ApiView):
    """`messages/{id}/delivery`."""

    @operation("messageDelivery", "What became of a message", {200: DeliveryList}, errors=(404,), tag=TAG)
    def get(self, request: Request, message_id: UUID) -> Response:
        """Its status at each recipient, for its sender; of one that is deleted for everyone or expired also `erasure`:
        how many of the recipients' devices it had reached, and how many of these acknowledged that it is gone.
        While the database is away, it is what a cache has, with `degraded: true`."""
        recipients, erasure, degraded = call(get_known_delivery, actor_of(request), message_id)
        return answer(DeliveryList(message_id, recipients, DeliveryCounts.of(recipients), erasure, degraded))
