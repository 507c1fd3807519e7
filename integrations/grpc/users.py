"""The user service over gRPC (`proto/whispr/users/v1`)."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from delivery.events import PushCandidate, PushPreference
from integrations.grpc.client import Method, Nonsense, Refused, ServiceClient, Status, uuid_of
from integrations.proto.whispr.users.v1 import users_pb2, users_pb2_grpc
from integrations.users import SECONDS, VALIDATE_SECONDS
from messaging.events import BlockedUser, SendPermission
from whispr.kernel.errors import NotFound, TemporaryUnavailable
from whispr.kernel.loops import PerLoop
from whispr.kernel.remote_service import RemoteService

SERVICE = users_pb2.DESCRIPTOR.services_by_name["Users"].full_name
_REFUSALS = {Status.NOT_FOUND: "not_a_member", Status.PERMISSION_DENIED: "not_allowed"}


class GrpcUsers:
    """`UserService` of another process."""

    def __init__(self, remote: RemoteService) -> None:
        self.clients = PerLoop(lambda: ServiceClient("user_service", remote, SERVICE))

    async def validate_message_permissions(
        self,
        sender_id: UUID,
        conversation_id: UUID,
        participant_ids: Sequence[UUID],
        *,
        seconds: float = VALIDATE_SECONDS,
    ) -> SendPermission:
        """As `UserService` says."""
        request = users_pb2.ValidateMessagePermissionsRequest(
            sender_id=str(sender_id), conversation_id=str(conversation_id), participant_ids=map(str, participant_ids)
        )
        asked = frozenset(participant_ids) - {sender_id}
        try:
            return await self.clients.get().call(
                "ValidateMessagePermissions", _validate, request, lambda answer: _permission(answer, asked), seconds
            )
        except Refused as refusal:
            verdict = _REFUSALS.get(refusal.status)
            if verdict is None:
                raise TemporaryUnavailable("The user service refuses the question.", retry_after=5.0) from None
            return SendPermission(verdict)  # type: ignore[arg-type]  # one of the literals

    async def get_offline_recipients(
        self, candidates: Sequence[PushCandidate], *, seconds: float = SECONDS
    ) -> list[PushPreference]:
        """As `UserService` says."""
        request = users_pb2.GetOfflineRecipientsRequest()
        for candidate in candidates:
            request.candidates.add(user_id=str(candidate.user_id), conversation_id=str(candidate.conversation_id))
        asked = {(one.user_id, one.conversation_id) for one in candidates}
        try:
            return await self.clients.get().call(
                "GetOfflineRecipients", _offline, request, lambda answer: _preferences(answer, asked), seconds
            )
        except Refused:
            raise TemporaryUnavailable("The user service refuses the question.", retry_after=5.0) from None

    async def list_blocks(
        self, user_id: UUID, limit: int, below: UUID | None = None, *, seconds: float = SECONDS
    ) -> list[BlockedUser]:
        """Raises NotFound: the user service's own clients have an API of its own for that."""
        raise NotFound()

    async def block_set(self, user_id: UUID, blocked_id: UUID, *, seconds: float = SECONDS) -> bool:
        """Raises NotFound, as `list_blocks`."""
        raise NotFound()

    async def block_remove(self, user_id: UUID, blocked_id: UUID, *, seconds: float = SECONDS) -> bool:
        """Raises NotFound, as `list_blocks`."""
        raise NotFound()


def _validate(channel: Any) -> Method:
    return users_pb2_grpc.UsersStub(channel).ValidateMessagePermissions  # type: ignore[no-any-return,no-untyped-call]


def _offline(channel: Any) -> Method:
    return users_pb2_grpc.UsersStub(channel).GetOfflineRecipients  # type: ignore[no-any-return,no-untyped-call]


def _permission(answer: users_pb2.ValidateMessagePermissionsResponse, asked: frozenset[UUID]) -> SendPermission:
    if answer.verdict == users_pb2.VERDICT_NOT_A_MEMBER:
        return SendPermission("not_a_member")
    if answer.verdict == users_pb2.VERDICT_NOT_ALLOWED:
        return SendPermission("not_allowed")
    if answer.verdict != users_pb2.VERDICT_GRANTED:
        raise Nonsense("a verdict that is none")
    if len(answer.recipient_ids) > len(asked):
        raise Nonsense("more recipients than participants")
    recipients = frozenset(map(uuid_of, answer.recipient_ids))
    if len(recipients) != len(answer.recipient_ids):
        raise Nonsense("a recipient twice")
    if not recipients <= asked:
        raise Nonsense("a recipient who was not asked about")
    return SendPermission("granted", recipients)


def _preferences(answer: users_pb2.GetOfflineRecipientsResponse, asked: set[tuple[UUID, UUID]]) -> list[PushPreference]:
    if len(answer.recipients) > len(asked):
        raise Nonsense("more recipients than candidates")
    found = [
        PushPreference(uuid_of(one.user_id), uuid_of(one.conversation_id), one.wanted) for one in answer.recipients
    ]
    places = {(one.user_id, one.conversation_id) for one in found}
    if len(places) != len(found):
        raise Nonsense("a recipient twice")
    if not places <= asked:
        raise Nonsense("a recipient who was not asked about")
    return found
