"""Reactions: one of each emoji a user and message (docs/protocol.md §2 `react`, §3 `messages/{id}/reactions`)."""

import asyncio
import secrets
from uuid import UUID

from messaging.emoji import check_emoji
from messaging.events import Actor, ReactionView, SendOutcome
from messaging.requests import React, SendMessage
from messaging.services.permissions import access_permission
from messaging.services.send import access_quota, access_send, message_submit, outcome_of
from messaging.store.entries import get_place, list_reactions
from messaging.store.log import Appended
from whispr.kernel import database
from whispr.kernel.errors import NotFound
from whispr.kernel.limits import LIMITS


def new_client_random() -> int:
    """A key for a reaction that came without one: it is one of each emoji a user anyhow."""
    return secrets.randbelow(2**53)


async def reaction_submit(actor: Actor, request: React, origin: object | None = None) -> "asyncio.Future[Appended]":
    """Pass the gate and queue a reaction; the future is that of `message_submit`.

    It is the same as a send of type `reaction` with the metadata `{emoji, remove}` whose target is the message. Raises
    BadRequest for what is no emoji, NotFound for a message that the actor may not see, and what `access_send` does.
    """
    check_emoji(request.emoji)
    place = await database.run(get_place, actor.user_id, request.message_id)
    if place is None:
        raise NotFound()
    send = SendMessage(
        conversation_id=place[0],
        type="reaction",
        client_random=request.client_random,
        metadata={"emoji": request.emoji, "remove": request.remove},
        target=request.message_id,
        signature=request.signature,
    )
    entry = access_send(actor, send, origin=origin)
    quota = access_quota(actor, "reaction")
    if quota is not None:
        await quota
    return message_submit(await access_permission(entry))


async def message_react(actor: Actor, request: React) -> SendOutcome:
    """Add or remove a reaction. What changes nothing is answered `duplicate` with the message's id and no seq.

    Raises InvalidTarget for what is no live message, BadRequest over `LIMITS.reactions_per_user` or
    `LIMITS.reactions_per_message`, and what `reaction_submit` says.
    """
    return await outcome_of(await reaction_submit(actor, request))


async def list_message_reactions(actor: Actor, message_id: UUID, emoji: str | None = None) -> list[ReactionView]:
    """The reactions to a message: with their first users, or those of `emoji` alone with all of its users.

    Raises NotFound for a message that the actor may not see.
    """
    place = await database.run(get_place, actor.user_id, message_id)
    if place is None:
        raise NotFound()
    if not place[1]:
        return []
    shown = LIMITS.reaction_users_shown if emoji is None else LIMITS.members_per_conversation
    return (await database.run(list_reactions, actor.user_id, [message_id], shown, emoji)).get(message_id, [])
