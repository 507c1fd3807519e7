"""Reading back: a page of a conversation, one message (docs/protocol.md §2 `history`, §3)."""

from uuid import UUID

import msgspec

from messaging.events import Actor, MessageView
from messaging.requests import History
from messaging.services.recent import get_recent_page
from messaging.store.entries import get_entry, list_history
from whispr.kernel import database
from whispr.kernel.errors import BadRequest, DatabaseAway, NotFound
from whispr.kernel.limits import LIMITS
from whispr.kernel.overload import access_load


class HistoryPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Entries as they are now, in ascending seq; `has_more` says whether there are more in the direction that was asked
    for."""

    messages: list[MessageView]
    has_more: bool
    degraded: bool = False  # the database is away: what a cache has, which may not be the newest


async def get_history(actor: Actor, request: History) -> HistoryPage:
    """The newest entries (before `before`), or the oldest after `after`, that the actor may see; `limit` is cut to 1
    … 200, and the page ends early at `LIMITS.page_bytes` of content.

    While the database is away, it is what a cache has. Raises BadRequest with both bounds, NotFound for who never was a
    member, Overloaded.
    """
    access_load("reading")
    if request.before is not None and request.after is not None:
        raise BadRequest("before and after exclude each other.")
    limit = max(1, min(request.limit, LIMITS.page_max))
    try:
        page = await database.run(
            list_history,
            actor.user_id,
            request.conversation_id,
            request.before,
            request.after,
            limit,
            LIMITS.page_bytes,
        )
    except DatabaseAway:
        cached = await get_recent_page(actor, request, limit)
        if cached is None:
            raise
        return HistoryPage(*cached, degraded=True)
    if page is None:
        raise NotFound()
    return HistoryPage(*page)


async def get_message(actor: Actor, message_id: UUID) -> MessageView:
    """One entry as it is now. Raises NotFound where it is absent, not the actor's to see, or hidden by the actor."""
    entry = await database.run(get_entry, actor.user_id, message_id)
    if entry is None:
        raise NotFound()
    return entry
