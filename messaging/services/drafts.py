"""Drafts: save, read, delete, and tell the user's other devices (docs/protocol.md §7 `messages/drafts`)."""

from uuid import UUID

import msgspec

from messaging.events import Actor
from messaging.fanout import publish_user_push
from messaging.personal import DraftList, DraftView, SaveDraft
from messaging.requests import decode_base64
from messaging.store import drafts as store
from trust.services.quota import quota_take_async
from whispr.kernel import database
from whispr.kernel.limits import LIMITS


async def draft_save(actor: Actor, conversation_id: UUID, request: SaveDraft) -> tuple[DraftView, bool]:
    """Save the actor's draft of a conversation: as it is then, and whether it is new.

    Raises TooLarge over `LIMITS.content_bytes`, BadRequest for what is no base64, RateLimited (drafts share the rate of
    acknowledgements), and what `store.draft_save` says.
    """
    await quota_take_async(actor.user_id, "ack")
    content = decode_base64(request.content, "content", LIMITS.content_bytes)
    view, created = await database.run(store.draft_save, actor, conversation_id, content, request.revision)
    publish_draft(actor, conversation_id, view.revision, view.content)
    return view, created


async def draft_delete(actor: Actor, conversation_id: UUID, revision: int | None) -> None:
    """Delete the actor's draft of a conversation. Raises NotFound, EditConflict."""
    gone = await database.run(store.draft_delete, actor.user_id, conversation_id, revision)
    publish_draft(actor, conversation_id, gone, None)


async def get_draft(actor: Actor, conversation_id: UUID) -> DraftView:
    """The actor's draft of a conversation. Raises NotFound."""
    return await database.run(store.get_draft, actor.user_id, conversation_id)


async def list_drafts(actor: Actor, after: UUID | None = None) -> DraftList:
    """Drafts of the actor, the latest changed first: all, or as many as `LIMITS.page_bytes` take; `after` is the `next`
    of the page before."""
    page, more = await database.run(store.list_drafts, actor.user_id, LIMITS.page_bytes, after)
    return DraftList(page, page[-1].conversation_id if more else None)


def publish_draft(actor: Actor, conversation_id: UUID, revision: int, content: bytes | None) -> None:
    """Tell the user's devices what the draft is now: `content` null where it is gone. `deviceId` says who did it."""
    body = {
        "kind": "draft",
        "conversationId": conversation_id,
        "revision": revision,
        "content": content,
        "deviceId": actor.device_id,
    }
    publish_user_push(actor.user_id, "personal_update", msgspec.json.encode(body), conversation_id=conversation_id)
