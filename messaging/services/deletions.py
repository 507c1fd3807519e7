"""Deletions: for everyone by the author, or for oneself on all own devices (docs/protocol.md §2 `delete_message`)."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from messaging.events import Actor
from messaging.fanout import publish_entries, publish_user_push
from messaging.requests import DeleteMessage
from messaging.services.recent import recent_forget
from messaging.store import deletions as store
from trust.services.quota import quota_take_async
from whispr.kernel.database import run
from whispr.kernel.overload import access_load

# Ids in one `personal_update`: 500 are 20 KiB.
HIDDEN_PER_PUSH = 500


async def message_delete(actor: Actor, request: DeleteMessage, origin: object | None = None) -> None:
    """Delete a message; doing it again is no error.

    For everyone: it is a tombstone at its seq when this returns, and a `message_deleted` entry tells of it. For
    oneself: the user's other sockets get a `personal_update` of kind `hidden`; `origin` is the socket that asked.
    Raises RateLimited, NotFound for a message that the actor may not see, InvalidTarget for what is no message,
    Forbidden for another's message where it is for everyone.
    """
    access_load("changing")
    await quota_take_async(actor.user_id, "delete")
    if request.for_everyone:
        publish_entries(await run(store.message_delete, actor.user_id, request.message_id))
        return
    conversation_id = await run(store.message_hide, actor.user_id, request.message_id)
    if conversation_id is not None:
        recent_forget(conversation_id)
        (payload,) = hidden_payloads([request.message_id])
        publish_user_push(actor.user_id, "personal_update", payload, conversation_id=conversation_id, origin=origin)


def hidden_payloads(message_ids: Sequence[UUID]) -> Iterable[bytes]:
    """The payloads of `personal_update` that name hidden messages."""
    for start in range(0, len(message_ids), HIDDEN_PER_PUSH):
        yield msgspec.json.encode({"kind": "hidden", "messageIds": message_ids[start : start + HIDDEN_PER_PUSH]})
