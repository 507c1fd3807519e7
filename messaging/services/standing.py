"""Where a device stands: what a join and a synchronisation begin with (PROTOCOL.md §2 "Topics")."""

from uuid import UUID

import msgspec

from messaging.events import Actor
from messaging.store.entries import Standing, get_epoch, list_heads, list_standings
from whispr.kernel import database
from whispr.kernel.limits import LIMITS


class Standings(msgspec.Struct, frozen=True):
    """The log's epoch, and how the device stands in each conversation."""

    epoch: str
    conversations: list[Standing]


def _read(actor: Actor, conversation_id: UUID | None) -> Standings:
    standings = list_standings(actor.user_id, actor.device_id, LIMITS.conversations_per_join, conversation_id)
    return Standings(get_epoch(), standings)


async def get_standings(actor: Actor, conversation_id: UUID | None = None) -> Standings:
    """The actor's device in all conversations of its user, left ones among them, or in one."""
    return await database.run(_read, actor, conversation_id)


async def get_head(conversation_id: UUID) -> int:
    """The last seq of a conversation; 0 where there is none."""
    return (await database.run(list_heads, [conversation_id])).get(conversation_id, 0)
