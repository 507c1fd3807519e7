"""Which reactions of a batch are overtaken by later ones of the same user, message and emoji.

They write nothing and are answered so, as one that adds what is there already (docs/protocol.md "Edits, reactions,
deletions"): the last one alone is compared with what is stored. It is decided before any seq is given, so that the log
has no gap; the key of each is kept as that of every reaction that changed nothing, so that a resend has one answer.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from messaging.store.log import NewEntry


def find_overtaken(items: "Sequence[NewEntry]", fresh: Sequence[bool]) -> set[int]:
    """The places of the reactions that a later one of the batch overtakes.

    `fresh` says of each item whether it will be decided by its own: its key is new, its sender a member, and so on.
    What is refused, or answered as before, overtakes nothing.
    """
    overtaken: set[int] = set()
    last: dict[tuple[UUID, UUID, UUID | None, str], int] = {}
    keys: set[tuple[UUID, int]] = set()
    for place, item in enumerate(items):
        key = (item.sender_id, item.client_random)
        again = key in keys
        keys.add(key)
        if item.emoji is None or again or not fresh[place]:
            continue
        toggle = (item.conversation_id, item.sender_id, item.target, item.emoji)
        if toggle in last:
            overtaken.add(last[toggle])
        last[toggle] = place
    return overtaken
