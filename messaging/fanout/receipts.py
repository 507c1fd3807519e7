"""Receipts that were overtaken (docs/protocol.md §8.5: a receipt never goes back).

Each process tells the others of what it recorded, and the bus keeps the order of one process only. What waited in a
Redis that hung comes seconds after what came another way, and says less: it is not passed on.
"""

from uuid import UUID

import msgspec

from messaging.fanout.news import UserPush

EVENTS = ("delivery_status_update", "read_status_update")
# Of how many (user, conversation, recipient, status) it is known what was told; some 200 bytes each.
KEPT_MAX = 32_768


class _Place(msgspec.Struct, rename="camel"):
    recipient_id: str
    up_to: int


_decoder = msgspec.json.Decoder(_Place)


class ReceiptOrder:
    """What one process passed on of late."""

    def __init__(self, kept_max: int = KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._told: dict[tuple[UUID, UUID | None, str, str], int] = {}

    def is_late(self, push: UserPush) -> bool:
        """Whether more than this was told before. Any other push is never late."""
        if push.event not in EVENTS:
            return False
        place = _decoder.decode(push.payload)
        key = (push.user_id, push.conversation_id, place.recipient_id, push.event)
        told = self._told.pop(key, 0)
        self._told[key] = max(told, place.up_to)  # the last to be forgotten
        if len(self._told) > self._kept_max:
            del self._told[next(iter(self._told))]
        return place.up_to < told
