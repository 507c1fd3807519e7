"""The development user service: answers from this system's own tables."""

from typing import Any
from uuid import UUID, uuid4

from delivery.events import PushCandidate
from integrations.development.modes import Behaviour
from integrations.local.users import LocalUsers
from integrations.proto.whispr.users.v1 import users_pb2, users_pb2_grpc

_VERDICTS = {
    "granted": users_pb2.VERDICT_GRANTED,
    "not_a_member": users_pb2.VERDICT_NOT_A_MEMBER,
    "not_allowed": users_pb2.VERDICT_NOT_ALLOWED,
}


class Users(users_pb2_grpc.UsersServicer):
    """Whoever is among the participants may send; who blocks the sender is no recipient.

    Tests say who else: senders in `not_allowed` may not send, users in `unwilling` want nothing from anybody, those in
    `willing` everything, whatever the tables say.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.not_allowed: set[UUID] = set()
        self.unwilling: set[UUID] = set()
        self.willing: set[UUID] = set()
        self._local = LocalUsers()

    async def ValidateMessagePermissions(
        self, request: users_pb2.ValidateMessagePermissionsRequest, context: Any
    ) -> users_pb2.ValidateMessagePermissionsResponse:
        """As the contract says."""
        if await self.behaviour.meet(context):
            return self._wrong_permission(request)
        if UUID(request.sender_id) in self.not_allowed:
            return users_pb2.ValidateMessagePermissionsResponse(verdict=users_pb2.VERDICT_NOT_ALLOWED)
        participants = [UUID(text) for text in request.participant_ids]
        found = await self._local.validate_message_permissions(
            UUID(request.sender_id), UUID(request.conversation_id), participants
        )
        recipients = (found.recipient_ids | self.willing.intersection(participants)) - self.unwilling
        return users_pb2.ValidateMessagePermissionsResponse(
            verdict=_VERDICTS[found.verdict], recipient_ids=map(str, recipients)
        )

    async def GetOfflineRecipients(
        self, request: users_pb2.GetOfflineRecipientsRequest, context: Any
    ) -> users_pb2.GetOfflineRecipientsResponse:
        """As the contract says, from the preferences that are kept here."""
        wrong = await self.behaviour.meet(context)
        candidates = [PushCandidate(UUID(one.user_id), UUID(one.conversation_id)) for one in request.candidates]
        answer = users_pb2.GetOfflineRecipientsResponse()
        if wrong:
            answer.recipients.add(user_id=str(uuid4()), conversation_id=str(uuid4()), wanted=True)
            return answer
        for one in await self._local.get_offline_recipients(candidates):
            answer.recipients.add(user_id=str(one.user_id), conversation_id=str(one.conversation_id), wanted=one.wanted)
        return answer

    def _wrong_permission(
        self, request: users_pb2.ValidateMessagePermissionsRequest
    ) -> users_pb2.ValidateMessagePermissionsResponse:
        granted = users_pb2.VERDICT_GRANTED
        others = [text for text in request.participant_ids if text != request.sender_id]
        recipients = (
            [str(uuid4())],  # somebody who was not asked about
            others * 2 or ["", ""],  # everybody twice
            ["no uuid"],
            [request.sender_id],
            [str(uuid4()) for _ in range(5_000)],
        )
        turn = self.behaviour.next_wrong(len(recipients) + 2)
        if turn < len(recipients):
            return users_pb2.ValidateMessagePermissionsResponse(verdict=granted, recipient_ids=recipients[turn])
        # No verdict; one that the contract does not have.
        verdict: Any = 0 if turn == len(recipients) else 99
        return users_pb2.ValidateMessagePermissionsResponse(verdict=verdict)
