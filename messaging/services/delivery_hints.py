"""What became of a message, also while the database is away (specification §10.2 `delivery:{messageId}`,
docs/protocol.md §7 `messages/{id}/delivery`).

Whoever asked is answered first; then what they asked for is read once more, under stamps, and kept. Nothing of that is
on the way of a receipt: receipts only take stamps away, in the round that the other caches have anyway.
"""

import asyncio
import logging
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings

from delivery.services.status import get_delivery
from messaging.events import Actor, DeliveryView, ErasureView
from messaging.services.recent import list_known_members
from messaging.store import delivery_hints as store
from whispr.kernel import database
from whispr.kernel.errors import DatabaseAway, WhisprError
from whispr.kernel.loops import PerLoop
from whispr.kernel.redis import RedisAway, RedisLink

log = logging.getLogger(__name__)

REST_SECONDS = 0.2
BATCH = 64
WAITING_MAX = 1_024


class _Keeper:
    """What one event loop's answers leave behind."""

    def __init__(self) -> None:
        self.link = RedisLink("delivery")
        self._waiting: dict[tuple[UUID, UUID], None] = {}
        self._loop = asyncio.get_running_loop()
        self.keeping: asyncio.Task[None] | None = None

    def note(self, user_id: UUID, message_id: UUID) -> None:
        """A sender asked what became of a message. Beyond a bound it is not kept."""
        if len(self._waiting) < WAITING_MAX:
            self._waiting[user_id, message_id] = None
            if self.keeping is None or self.keeping.done():
                self.keeping = self._loop.create_task(self._keep())

    async def _keep(self) -> None:
        while self._waiting:
            await asyncio.sleep(REST_SECONDS)
            batch = list(self._waiting)[:BATCH]
            for one in batch:
                del self._waiting[one]
            try:
                await self._put(batch)
            except (WhisprError, RedisAway):
                continue  # kept when it is asked for again
            except Exception:
                log.exception("What became of %d messages was not kept", len(batch))

    async def _put(self, batch: list[tuple[UUID, UUID]]) -> None:
        places = await database.run(store.list_own_places, batch)
        batch = [one for one in batch if one[1] in places]
        if not batch:
            return
        ids = {user_id for user_id, _ in batch} | {places[message_id] for _, message_id in batch}
        stamps = await store.stamps_make(self.link, list(ids))
        hints: list[tuple[UUID, store.Hint]] = []
        for user_id, message_id in batch:
            hint = await database.run(store.read_hint, user_id, message_id)
            if hint is not None:
                hints.append((message_id, hint))
        if hints:
            await store.hints_put(self.link, hints, stamps)


_keepers: PerLoop[_Keeper] = PerLoop(_Keeper)


async def get_known_delivery(actor: Actor, message_id: UUID) -> tuple[list[DeliveryView], ErasureView | None, bool]:
    """The status at each recipient of a message of the actor, its erasure, and whether it is from the cache, because
    the database is away.

    Raises NotFound for anybody else's message, and DatabaseAway where nothing is known that still holds.
    """
    try:
        recipients, erasure = await get_delivery(actor, message_id)
    except DatabaseAway:
        hint = await _get_hint(actor, message_id)
        if hint is None:
            raise
        return hint.recipients, None, True
    if settings.WHISPR_CACHED_READS and erasure is None:
        _keepers.get().note(actor.user_id, message_id)
    return recipients, erasure, False


async def _get_hint(actor: Actor, message_id: UUID) -> store.Hint | None:
    """What is known, if nothing changed since, the actor sent it, and is known to be a member still."""
    if not settings.WHISPR_CACHED_READS:
        return None
    try:
        hint = await store.get_hint(_keepers.get().link, message_id)
    except RedisAway:
        return None
    if hint is None or hint.user_id != actor.user_id or hint.until <= datetime.now(UTC):
        return None
    members = await list_known_members([hint.conversation_id])
    return hint if actor.user_id in members.get(hint.conversation_id, ()) else None
