"""Who may see who is there (docs/protocol.md §2 `presence_state`, specification §11)."""

from uuid import UUID

from messaging.events import Actor
from messaging.store import sharing
from whispr.kernel import database


async def is_presence_shared(actor: Actor, conversation_id: UUID) -> bool:
    """Whether the actor is shown as present in the conversation and is shown who else is.

    Not with `shareLastSeen` off, and not in a direct conversation in which one blocked the other.
    """
    return await database.run(sharing.is_presence_shared, actor.user_id, conversation_id)
