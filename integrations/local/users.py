"""The user service's local answer: the tables `members`, `blocks` and `push_preferences`."""

from collections.abc import Sequence
from uuid import UUID

from delivery.events import PushCandidate, PushPreference
from delivery.store.push_preferences import list_push_preferences
from integrations.local.deadline import within
from integrations.users import SECONDS
from messaging.events import BlockedUser, SendPermission
from messaging.store import blocks as store
from messaging.store.permissions import list_unwilling
from whispr.kernel import database
from whispr.kernel.limits import LIMITS


class LocalUsers:
    """`UserService` from this system's own tables."""

    async def validate_message_permissions(
        self, sender_id: UUID, conversation_id: UUID, participant_ids: Sequence[UUID], *, seconds: float = SECONDS
    ) -> SendPermission:
        """As `UserService` says. Sends do not ask it: the log decides the same under the conversation's lock."""
        if sender_id not in participant_ids:
            return SendPermission("not_a_member")
        unwilling = await within(seconds, database.run(list_unwilling, sender_id, participant_ids))
        return SendPermission("granted", frozenset(participant_ids) - {sender_id} - unwilling)

    async def list_blocks(
        self, user_id: UUID, limit: int, below: UUID | None = None, *, seconds: float = SECONDS
    ) -> list[BlockedUser]:
        """As `UserService` says."""
        return await within(seconds, database.run(store.list_blocks, user_id, limit, below))

    async def block_set(self, user_id: UUID, blocked_id: UUID, *, seconds: float = SECONDS) -> bool:
        """As `UserService` says."""
        return await within(seconds, database.run(store.block_set, user_id, blocked_id, LIMITS.blocks_per_user))

    async def block_remove(self, user_id: UUID, blocked_id: UUID, *, seconds: float = SECONDS) -> bool:
        """As `UserService` says."""
        return await within(seconds, database.run(store.block_remove, user_id, blocked_id))

    async def get_offline_recipients(
        self, candidates: Sequence[PushCandidate], *, seconds: float = SECONDS
    ) -> list[PushPreference]:
        """As `UserService` says."""
        return await within(seconds, database.run(list_push_preferences, candidates))
