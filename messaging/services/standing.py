"""Where a device stands: what a join and a synchronisation begin with (docs/protocol.md §3)."""

from uuid import UUID

import msgspec

from messaging.devices import UserSettingsView
from messaging.events import Actor
from messaging.store.deletions import list_hidden
from messaging.store.devices import device_expiry_take, find_user_settings
from messaging.store.entries import Standing, get_epoch, list_heads, list_standings
from whispr.kernel import database
from whispr.kernel.limits import LIMITS


class Standings(msgspec.Struct, frozen=True):
    """The log's epoch, and how the device stands in each conversation."""

    epoch: str
    conversations: list[Standing]
    device_expired: bool = False  # away for more than LIMITS.device_retention_days: it begins anew, told once
    hidden: list[UUID] = []  # messages that the user deleted for themselves, the last LIMITS.hidden_shown
    settings: UserSettingsView | None = None  # for the inbox, where the user ever set any


def _read(actor: Actor, conversation_id: UUID | None) -> Standings:
    expired = device_expiry_take(actor.device_id)
    standings = list_standings(actor.user_id, actor.device_id, LIMITS.conversations_per_join, conversation_id)
    hidden = [row[1] for row in list_hidden(actor.user_id, conversation_id, LIMITS.hidden_shown)]
    settings = find_user_settings(actor.user_id) if conversation_id is None else None
    return Standings(get_epoch(), standings, expired, hidden, settings)


async def get_standings(actor: Actor, conversation_id: UUID | None = None) -> Standings:
    """The actor's device in all conversations of its user, left ones among them, or in one."""
    return await database.run(_read, actor, conversation_id)


async def get_head(conversation_id: UUID) -> int:
    """The last seq of a conversation; 0 where there is none."""
    return (await database.run(list_heads, [conversation_id])).get(conversation_id, 0)
