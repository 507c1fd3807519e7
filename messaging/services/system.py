"""System messages that other services post into a conversation (specification §8; `manage.py post_system_message`)."""

import re
from typing import Any
from uuid import UUID

from messaging.events import NOBODY, Entry
from messaging.fanout import publish_entries
from messaging.requests import encode_metadata
from messaging.store import system as store
from whispr.kernel.database import run
from whispr.kernel.errors import BadRequest

_EVENT = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
# What clients and the server itself act on: nobody but the server says it.
RESERVED = frozenset(
    {
        "message_deleted",
        "message_expired",
        "member_added",
        "member_removed",
        "conversation_created",
        "conversation_updated",
        "withheld",
    }
)


async def system_message_post(
    conversation_id: UUID, event: str, details: dict[str, Any] | None = None, by: UUID = NOBODY
) -> Entry:
    """Append a system entry `{event, …details}` on behalf of another service, `by` a user or nobody, and publish it.

    Raises BadRequest for an event that is no name (`[a-z][a-z0-9_]*`, 64 characters) or is the server's own, or for
    details over the limits of metadata; NotFound where there is no such conversation.
    """
    if _EVENT.fullmatch(event) is None or event in RESERVED:
        raise BadRequest("event must be a lower-case name that is not one of the server's own.")
    if details is not None and "event" in details:
        raise BadRequest("details must not hold an event of their own.")
    encode_metadata({"event": event, **(details or {})})
    entry = await run(store.system_entry_append, conversation_id, by, event, details or {})
    publish_entries([entry])
    return entry
