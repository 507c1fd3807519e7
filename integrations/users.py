"""What the core asks of a user service: who wants nothing from whom (docs/protocol.md §7 `blocks`)."""

from typing import Protocol
from uuid import UUID

from messaging.events import BlockedUser

SECONDS = 5.0


class UserService(Protocol):
    """A user service. Whoever holds the blocks, those in the table `blocks` are in force (messaging/store/log.py)."""

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
