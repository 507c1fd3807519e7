"""Edits: the author's new content of a message, an entry of its own (docs/protocol.md §2 `edit_message`, §3 `PUT`)."""

import asyncio

import msgspec

from messaging.events import Actor, SendOutcome
from messaging.requests import UNNAMED, EditMessage, SendMessage
from messaging.services.permissions import access_permission
from messaging.services.send import access_quota, access_send, message_submit, outcome_of
from messaging.store.entries import get_place
from messaging.store.log import Appended
from whispr.kernel import database
from whispr.kernel.errors import BadRequest, NotFound


async def edit_submit(
    actor: Actor, request: EditMessage, content: bytes | None = None, origin: object | None = None
) -> "asyncio.Future[Appended]":
    """Pass the gate and queue an edit; the future is that of `message_submit`.

    It is the same as a send of type `edit` whose target is the message. `content` is the ciphertext where it came
    beside the request. Raises NotFound for a message that the actor may not see, and what `access_send`,
    `access_quota` do.
    """
    if request.message_id == UNNAMED:
        raise BadRequest("messageId is missing.")
    place = await database.run(get_place, actor.user_id, request.message_id)
    if place is None:
        raise NotFound()
    send = SendMessage(
        conversation_id=place[0],
        type="edit",
        content=request.content,
        client_random=request.client_random,
        metadata=request.metadata,
        target=request.message_id,
        signature=request.signature,
    )
    entry = access_send(actor, send, content, origin)
    quota = access_quota(actor, "edit")
    if quota is not None:
        await quota
    entry = await access_permission(entry)
    return message_submit(msgspec.structs.replace(entry, base_id=request.base_id))


async def message_edit(actor: Actor, request: EditMessage) -> SendOutcome:
    """Edit a message; the answer is that of a send.

    Raises Forbidden for another's message, EditConflict for one that is deleted, expired, past
    `LIMITS.edit_window_seconds`, edited `LIMITS.edits_per_message` times or no longer at `base_id`; InvalidTarget for
    what is no message; and what `edit_submit` says.
    """
    return await outcome_of(await edit_submit(actor, request))
