"""Conversations: create, list, change, delete (docs/protocol.md §7 `conversations`)."""

from typing import Any, NamedTuple
from uuid import UUID

from messaging.events import Actor, ConversationView
from messaging.fanout import publish_entries
from messaging.requests import CreateConversation, encode_metadata
from messaging.store import conversations as store
from whispr.kernel.database import run
from whispr.kernel.errors import BadRequest
from whispr.kernel.limits import LIMITS


class ConversationPage(NamedTuple):
    """A page of the caller's conversations; `next` continues it, None at the end."""

    conversations: list[ConversationView]
    next: UUID | None


async def conversation_create(actor: Actor, request: CreateConversation) -> tuple[ConversationView, bool]:
    """Create a conversation, the caller among its members; the second value is False where it was there already.

    Raises BadRequest where the members do not fit the type, TooLarge over the settings' limit, and what
    `store.conversation_create` raises where the id is taken.
    """
    members = list(dict.fromkeys([actor.user_id, *request.members]))
    if request.type == "direct" and len(members) != 2:
        raise BadRequest("A direct conversation has two members.")
    if len(members) > LIMITS.members_per_conversation:
        raise BadRequest(f"A conversation has at most {LIMITS.members_per_conversation} members.")
    _check_settings(request.settings)
    settings = encode_metadata(request.settings, "settings", LIMITS.conversation_settings_bytes)
    created = await run(store.conversation_create, actor.user_id, request.type, members, settings, request.id)
    publish_entries(created.entries)
    return created.view, bool(created.entries)


async def get_conversation(actor: Actor, conversation_id: UUID) -> ConversationView:
    """A conversation of the caller. Raises NotFound for who is no member."""
    return await run(store.get_conversation, actor.user_id, conversation_id)


async def list_conversations(actor: Actor, limit: int, below: UUID | None = None) -> ConversationPage:
    """The caller's conversations, the greatest id first; `below` is the `next` of the page before."""
    page = await run(store.list_conversations, actor.user_id, limit + 1, below)
    more = len(page) > limit
    return ConversationPage(page[:limit], page[limit - 1].id if more else None)


async def conversation_update(actor: Actor, conversation_id: UUID, settings: dict[str, Any]) -> ConversationView:
    """Change settings key by key (null removes one) and tell the members by a `conversation_updated` entry.

    Raises NotFound, Forbidden, BadRequest, TooLarge as `store.conversation_update` does.
    """
    _check_settings(settings)
    encode_metadata(settings, "settings", LIMITS.conversation_settings_bytes)  # refused before any lock is taken
    view, entries = await run(store.conversation_update, actor.user_id, conversation_id, settings)
    publish_entries(entries)
    return view


async def conversation_delete(actor: Actor, conversation_id: UUID) -> None:
    """Delete a group of the caller: everybody is removed. Raises NotFound, Forbidden."""
    publish_entries(await run(store.conversation_delete, actor.user_id, conversation_id))


# Settings that the server itself acts on; the others are the clients' own. `readReceipts` false: nobody tells what they
# read here (true overrides nobody's own setting). `sharedHistory` true: who is added from then on sees what was before.
# `ttl`: the seconds after which every message expires that brings no ttl of its own.
_SWITCHES = ("readReceipts", "sharedHistory")


def _check_settings(settings: dict[str, Any]) -> None:
    for name in _SWITCHES:
        if not isinstance(settings.get(name), bool | None):
            raise BadRequest(f"settings.{name} must be true or false.")
    ttl = settings.get("ttl")
    if ttl is None:
        return
    if type(ttl) is not int or not LIMITS.ttl_min_seconds <= ttl <= LIMITS.ttl_max_seconds:
        raise BadRequest(f"settings.ttl must be {LIMITS.ttl_min_seconds} to {LIMITS.ttl_max_seconds} seconds.")
