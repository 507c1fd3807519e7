"""Typing signs: passed on to whoever is there, never stored (docs/protocol.md §2 `typing`).

A sign ends by itself when it is not renewed, when its author sends, and when the socket that gave it is gone. The same
state told again soon is not passed on: a flood of signs costs the others nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from uuid import UUID

import msgspec

from messaging.fanout import publish_conversation_push
from messaging.store.sharing import is_typing_passed_on
from whispr.kernel import database
from whispr.kernel.loops import PerLoop

# Clients renew a sign every 3 to 5 s while somebody types.
LIFETIME_SECONDS = 6.0
REPEAT_SECONDS = 2.0
Place = tuple[UUID, UUID]  # (conversation, user)


@dataclass(slots=True)
class _Sign:
    active: bool
    told_at: float
    origin: Hashable
    end: asyncio.TimerHandle
    passed_on: bool  # False where a block keeps it from the other one


class TypingSigns:
    """The signs that this process's sockets gave; at most 6 s old each, so their number is bounded by their rate."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._signs: dict[Place, _Sign] = {}
        self._of_origin: defaultdict[Hashable, set[Place]] = defaultdict(set)

    def is_known(self, place: Place) -> bool:
        """Whether there is a sign, which may be passed on or not: nothing need be asked to change it."""
        return place in self._signs

    def set(self, place: Place, active: bool, origin: Hashable, passed_on: bool | None = None) -> None:
        """Set a sign from the socket `origin`, and tell the others where that is news to them.

        `passed_on` says of a new sign whether it is told at all.
        """
        now = self._loop.time()
        known = self._drop(place)
        told_at = now
        if known is not None:
            passed_on = known.passed_on
            if known.active == active and now - known.told_at < REPEAT_SECONDS:
                told_at = known.told_at
        lasts = LIFETIME_SECONDS if active else REPEAT_SECONDS
        end = self._loop.call_later(lasts, self._ended, place)
        self._signs[place] = sign = _Sign(active, told_at, origin, end, bool(passed_on))
        self._of_origin[origin].add(place)
        if told_at == now:
            self._tell(place, sign)

    def end(self, place: Place) -> None:
        """The user sent what was being written."""
        sign = self._signs.get(place)
        if sign is not None and sign.active:
            self.set(place, False, sign.origin)

    def end_of(self, origin: Hashable) -> None:
        """The socket is gone."""
        for place in tuple(self._of_origin.get(origin, ())):
            self._ended(place)

    def _ended(self, place: Place) -> None:
        sign = self._drop(place)
        if sign is not None and sign.active:
            sign.active = False
            self._tell(place, sign)

    def _drop(self, place: Place) -> _Sign | None:
        sign = self._signs.pop(place, None)
        if sign is not None:
            sign.end.cancel()
            places = self._of_origin[sign.origin]
            places.discard(place)
            if not places:
                del self._of_origin[sign.origin]
        return sign

    @staticmethod
    def _tell(place: Place, sign: _Sign) -> None:
        if sign.passed_on:
            conversation_id, user_id = place
            payload = {"conversationId": conversation_id, "userId": user_id, "active": sign.active}
            publish_conversation_push(conversation_id, "typing", msgspec.json.encode(payload), by=user_id)


_typing: PerLoop[TypingSigns] = PerLoop(TypingSigns)


def typing_renew(user_id: UUID, conversation_id: UUID, active: bool, origin: Hashable) -> bool:
    """`typing_set()` without a wait, where the sign is known here; False where it is a new one."""
    signs = _typing.get()
    if not signs.is_known((conversation_id, user_id)):
        return False
    signs.set((conversation_id, user_id), active, origin)
    return True


async def typing_set(user_id: UUID, conversation_id: UUID, active: bool, origin: Hashable) -> None:
    """Tell who is there that a member types, or no longer does; the caller knows that the user is a member.

    Nobody is told in a direct conversation in which one blocked the other: the answer does not show it. Raises what
    the database says when it is away.
    """
    passed_on = await database.run(is_typing_passed_on, conversation_id)
    _typing.get().set((conversation_id, user_id), active, origin, passed_on)


def typing_end(user_id: UUID, conversation_id: UUID) -> None:
    """The user's message is there: the sign for it ends. On the event loop; does nothing without a sign."""
    signs = _typing.peek()
    if signs is not None:
        signs.end((conversation_id, user_id))


def typing_end_of(origin: Hashable) -> None:
    """The socket is gone: so are its signs."""
    signs = _typing.peek()
    if signs is not None:
        signs.end_of(origin)
