"""Blocks: who wants nothing from whom (docs/protocol.md §7 `blocks`).

What a block does is decided where it matters: the log withholds what a blocked user sends (messaging/store/log.py),
receipts are not told (delivery/store/receipts.py), presence and typing are not shown (messaging/store/sharing.py).
Whatever the blocked one asks is answered as it would be without the block.
"""

from uuid import UUID

from integrations import user_service
from messaging.events import Actor, BlockedUser
from messaging.fanout import publish_user_event
from whispr.kernel.errors import BadRequest


async def list_blocks(actor: Actor, limit: int, below: UUID | None = None) -> list[BlockedUser]:
    """Whom the actor blocked, the greatest id first, those with an id less than `below`.

    Raises TemporaryUnavailable.
    """
    return await user_service().list_blocks(actor.user_id, limit, below)


async def block_set(actor: Actor, user_id: UUID) -> bool:
    """Block a user; True where this began it. Nothing tells whether there is a user of that id.

    Nothing that is committed after this returns reaches the actor from that user in their direct conversation. Raises
    BadRequest for the actor's own id and over `LIMITS.blocks_per_user`, TemporaryUnavailable.
    """
    if user_id == actor.user_id:
        raise BadRequest("Nobody blocks themselves.")
    began = await user_service().block_set(actor.user_id, user_id)
    _publish(actor.user_id, user_id)
    return began


async def block_remove(actor: Actor, user_id: UUID) -> bool:
    """End a block; True where there was one. What was withheld stays so. Raises TemporaryUnavailable."""
    ended = await user_service().block_remove(actor.user_id, user_id)
    _publish(actor.user_id, user_id)
    return ended


def _publish(user_id: UUID, other_id: UUID) -> None:
    """Tell both users' sockets, everywhere, to look again at what they may show of the other."""
    for one in (user_id, other_id):
        publish_user_event(one, "blocks", {})
