"""System messages that other services post into a conversation (specification §8): `manage.py post_system_message`,
and gRPC (messaging/grpc_server.py)."""

import hashlib
import re
from typing import Any
from uuid import UUID

import msgspec

from messaging.events import NOBODY, Entry, SendOutcome
from messaging.fanout import publish_entries
from messaging.requests import encode_metadata
from messaging.store import system as store
from whispr.kernel.database import run
from whispr.kernel.errors import BadRequest, ClientRandomReused

KEY_CHARS_MAX = 128
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
    _check(event, details or {})
    entry = await run(store.system_entry_append, conversation_id, by, event, details or {})
    publish_entries([entry])
    return entry


async def system_message_post_once(
    key: str, conversation_id: UUID, event: str, details: dict[str, Any] | None = None, by: UUID = NOBODY
) -> SendOutcome:
    """As `system_message_post`, but once for all calls with the same `key`: `sent`, then `duplicate` with the same ids.

    `key` is 1 to 128 characters, kept for `LIMITS.dedup_retention`. Raises ClientRandomReused where it came with
    anything else before, in another conversation too; BadRequest for a key of no or too many characters.
    """
    if not 0 < len(key) <= KEY_CHARS_MAX:
        raise BadRequest(f"The key of a call is 1 to {KEY_CHARS_MAX} characters.")
    _check(event, details or {})
    said = msgspec.json.encode([conversation_id, by, event, details or {}], order="deterministic")
    # 64 bits: of ten million keys in one retention, two are the same with odds of 1 to 370,000, and then one call is
    # refused, not lost.
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big", signed=True)
    fingerprint = hashlib.sha256(said).digest()
    try:
        outcome, entry = await run(
            store.system_entry_append_once, number, fingerprint, conversation_id, by, event, details or {}
        )
    except ClientRandomReused:
        raise ClientRandomReused("This key named another call before; choose a new one.") from None
    if entry is not None:
        publish_entries([entry])
    return outcome


def _check(event: str, details: dict[str, Any]) -> None:
    if _EVENT.fullmatch(event) is None or event in RESERVED:
        raise BadRequest("event must be a lower-case name that is not one of the server's own.")
    if "event" in details:
        raise BadRequest("details must not hold an event of their own.")
    encode_metadata({"event": event, **details})
