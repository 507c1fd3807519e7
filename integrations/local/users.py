"""The user service's local answer: the table `blocks`."""

from uuid import UUID

from integrations.local.deadline import within
from integrations.users import SECONDS
from messaging.events import BlockedUser
from messaging.store import blocks as store
from whispr.kernel import database
from whispr.kernel.limits import LIMITS


class LocalUsers:
    """`UserService` from this system's own tables."""

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
