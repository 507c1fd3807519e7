"""The members of a conversation: who they are, how far they read, and the changes of membership (docs/protocol.md
§7)."""

from uuid import UUID

import msgspec

from messaging.events import Actor, MemberReceipt, MemberView
from messaging.fanout import publish_entries
from messaging.presence.online import onlines
from messaging.store import members as store
from messaging.store.sharing import list_last_seen
from whispr.kernel.database import run
from whispr.kernel.errors import BadRequest
from whispr.kernel.limits import LIMITS


async def list_members(actor: Actor, conversation_id: UUID) -> list[MemberView]:
    """The current members, all of them (at most `LIMITS.members_per_conversation`), with `online` and `lastSeen` of
    those who share them with the actor. Raises NotFound for a non-member."""
    return await _shown(actor, await run(store.list_members, actor.user_id, conversation_id))


async def _shown(actor: Actor, members: list[MemberView]) -> list[MemberView]:
    """The members as the actor is shown them: who shares it, with `online` and `lastSeen`."""
    seen = await run(list_last_seen, actor.user_id, [member.user_id for member in members])
    online = await onlines.get().among(list(seen))
    return [
        msgspec.structs.replace(member, online=member.user_id in online, last_seen=seen[member.user_id])
        if member.user_id in seen
        else member
        for member in members
    ]


async def list_receipts(actor: Actor, conversation_id: UUID) -> list[MemberReceipt]:
    """How far each member received and read, as the caller may know it. Raises NotFound for a non-member."""
    return await run(store.list_receipts, actor.user_id, conversation_id)


async def members_add(actor: Actor, conversation_id: UUID, user_ids: list[UUID]) -> tuple[list[MemberView], bool]:
    """Add users to a group: its members as they are then, and whether anybody was added.

    Who is a member already is passed over. Raises BadRequest, NotFound, Forbidden as `store.members_add` does.
    """
    if len(user_ids) > LIMITS.members_per_conversation:
        raise BadRequest(f"A conversation has at most {LIMITS.members_per_conversation} members.")
    entries, members = await run(store.members_add, actor.user_id, conversation_id, user_ids)
    publish_entries(entries)
    return await _shown(actor, members), bool(entries)


async def member_remove(actor: Actor, conversation_id: UUID, member_id: UUID) -> None:
    """Remove a member, or leave. Raises NotFound, Forbidden as `store.member_remove` does."""
    publish_entries(await run(store.member_remove, actor.user_id, conversation_id, member_id))


async def member_update(actor: Actor, conversation_id: UUID, member_id: UUID, role: store.Role) -> MemberView:
    """Give a member another role. Raises NotFound, Forbidden as `store.member_update` does."""
    entries, member = await run(store.member_update, actor.user_id, conversation_id, member_id, role)
    publish_entries(entries)
    return (await _shown(actor, [member]))[0]
