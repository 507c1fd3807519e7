"""What the core asks of a user service: who may send, who wants nothing from whom, who wants a push (specification
§9.1, §9.3; docs/protocol.md §7 `blocks`).
"""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from delivery.events import PushCandidate, PushPreference
from messaging.events import BlockedUser, SendPermission
from whispr.kernel.limits import LIMITS

SECONDS = LIMITS.service_ms / 1000
VALIDATE_SECONDS = LIMITS.service_send_ms / 1000


class UserService(Protocol):
    """A user service. Whoever holds the blocks, those in the table `blocks` are in force (messaging/store/log.py)."""

    async def validate_message_permissions(
        self,
        sender_id: UUID,
        conversation_id: UUID,
        participant_ids: Sequence[UUID],
        *,
        seconds: float = VALIDATE_SECONDS,
    ) -> SendPermission:
        """Whether the user may send to the conversation, and who of its members, as they are known here, wants it.

        `participant_ids` has the sender too; it is empty where no such conversation of the sender is known. A block is
        told by a recipient who is not named, never by a refusal. Raises TemporaryUnavailable without an answer within
        `seconds`.
        """

    async def list_blocks(
        self, user_id: UUID, limit: int, below: UUID | None = None, *, seconds: float = SECONDS
    ) -> list[BlockedUser]:
        """Whom `user_id` blocked, the greatest id first, those with an id less than `below`, at most `limit`.

        Raises TemporaryUnavailable without an answer within `seconds`.
        """

    async def block_set(self, user_id: UUID, blocked_id: UUID, *, seconds: float = SECONDS) -> bool:
        """Block a user, whether or not there is one of that id; True where this began it.

        When it returns, nothing that `blocked_id` sends in their direct conversation, and that is not committed yet,
        reaches `user_id`. Raises BadRequest over the number of blocks, TemporaryUnavailable without an answer within
        `seconds`.
        """

    async def block_remove(self, user_id: UUID, blocked_id: UUID, *, seconds: float = SECONDS) -> bool:
        """End a block: what is sent from now on is delivered again. True where there was one.

        Raises TemporaryUnavailable without an answer within `seconds`.
        """

    async def get_offline_recipients(
        self, candidates: Sequence[PushCandidate], *, seconds: float = SECONDS
    ) -> list[PushPreference]:
        """Whether each of at most 1,000 users, who are offline as far as is known here, wants a push for a conversation
        now (specification §9.3). Who is not named in the answer wants none; who was not asked about is ignored.

        Raises TemporaryUnavailable without an answer within `seconds`.
        """
