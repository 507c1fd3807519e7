"""What became of a message, for its sender (specification §4.1, docs/protocol.md §7 `messages/{id}/delivery`)."""

from uuid import UUID

from delivery.store.status import get_erasure, list_delivery
from messaging.events import Actor, DeliveryView, ErasureView
from whispr.kernel.database import run
from whispr.kernel.errors import NotFound


async def get_delivery(actor: Actor, message_id: UUID) -> tuple[list[DeliveryView], ErasureView | None]:
    """The status at each recipient of a message of the actor, and where it is deleted or expired, its erasure.

    Raises NotFound for anybody else's.
    """
    recipients = await run(list_delivery, actor.user_id, message_id)
    if recipients is None:
        raise NotFound
    return recipients, await run(get_erasure, message_id)
