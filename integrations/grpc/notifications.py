"""The notification service over gRPC (`proto/whispr/notifications/v1`)."""

from collections.abc import Sequence
from datetime import UTC
from typing import Any
from uuid import UUID

from delivery.events import Push, PushOutcome
from integrations.grpc.client import Method, Nonsense, Refused, ServiceClient, Unanswered, uuid_of
from integrations.notifications import PUSHES_MAX, SECONDS
from integrations.proto.whispr.notifications.v1 import notifications_pb2, notifications_pb2_grpc
from whispr.kernel.errors import BadRequest, Timeout
from whispr.kernel.loops import PerLoop
from whispr.kernel.remote_service import RemoteService

SERVICE = notifications_pb2.DESCRIPTOR.services_by_name["Notifications"].full_name
REASON_MAX = 64
_KINDS = {"message": notifications_pb2.KIND_MESSAGE, "clear": notifications_pb2.KIND_CLEAR}


class GrpcNotifications:
    """`NotificationService` of another process."""

    def __init__(self, remote: RemoteService) -> None:
        self.clients = PerLoop(lambda: ServiceClient("notification_service", remote, SERVICE))

    async def send_push_notifications(self, pushes: Sequence[Push], *, seconds: float = SECONDS) -> list[PushOutcome]:
        """As `NotificationService` says."""
        if len(pushes) > PUSHES_MAX:
            raise BadRequest(f"At most {PUSHES_MAX} pushes at once.")
        request = notifications_pb2.SendPushNotificationsRequest(pushes=map(_push, pushes))
        try:
            return await self.clients.get().call(
                "SendPushNotifications", _send, request, lambda answer: _outcomes(answer, pushes), seconds
            )
        except Unanswered as unanswered:  # it may have taken them
            raise Timeout("The notification service did not answer.", retry_after=unanswered.retry_after) from None
        except Refused as refusal:
            raise BadRequest(f"The notification service refuses: {refusal.status.name}.") from None


def _send(channel: Any) -> Method:
    return notifications_pb2_grpc.NotificationsStub(channel).SendPushNotifications  # type: ignore[no-any-return,no-untyped-call]


def _push(push: Push) -> notifications_pb2.Push:
    message = notifications_pb2.Push(
        key=push.key,
        kind=_KINDS[push.kind],
        user_id=str(push.user_id),
        conversation_id=str(push.conversation_id),
        message_ids=map(str, push.message_ids),
        count=push.count,
        badge=push.badge,
        devices=[
            notifications_pb2.Device(device_id=str(one.device_id), platform=one.platform, token=one.token)
            for one in push.devices
        ],
    )
    if push.expires_at is not None:
        message.expires_at.FromDatetime(push.expires_at.astimezone(UTC))
    return message


def _outcomes(answer: notifications_pb2.SendPushNotificationsResponse, pushes: Sequence[Push]) -> list[PushOutcome]:
    if len(answer.outcomes) != len(pushes):
        raise Nonsense("not one outcome for each push")
    return [_outcome(outcome, push) for outcome, push in zip(answer.outcomes, pushes, strict=True)]


def _outcome(outcome: notifications_pb2.Outcome, push: Push) -> PushOutcome:
    if outcome.key != push.key:
        raise Nonsense("the outcome of another push")
    invalid: tuple[UUID, ...] = tuple(map(uuid_of, outcome.invalid_device_ids))
    if not {one.device_id for one in push.devices}.issuperset(invalid) or len(set(invalid)) != len(invalid):
        raise Nonsense("a device that was not named")
    if len(outcome.reason) > REASON_MAX or not outcome.reason.isprintable():
        raise Nonsense("a reason that is no code")
    return PushOutcome(key=push.key, accepted=outcome.accepted, invalid_devices=invalid, reason=outcome.reason)
