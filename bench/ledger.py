"""What the server promised: every send that it answered with `sent`, every acknowledgement that it answered with ok.

The check at the end (bench/check.py) compares this with the database.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Promise(NamedTuple):
    """One send that was answered `sent`."""

    message_id: UUID
    conversation_id: UUID
    sender_id: UUID
    seq: int
    client_random: int
    digest: bytes  # SHA-256 of the ciphertext
    sent_at: datetime


class Place(NamedTuple):
    """A device in a conversation."""

    conversation_id: UUID
    user_id: UUID
    device_id: UUID


def digest_of(content: bytes) -> bytes:
    """The hash under which a content is compared."""
    return hashlib.sha256(content).digest()


@dataclass
class Ledger:
    """The promises of one workload."""

    promises: list[Promise] = field(default_factory=list)
    received: dict[Place, int] = field(default_factory=dict)  # up to which seq an acknowledgement was answered ok
    unanswered: set[tuple[UUID, int]] = field(default_factory=set)  # (sender, clientRandom): either outcome is right
    conversations: set[UUID] = field(default_factory=set)

    def receive(self, place: Place, up_to: int) -> None:
        """An acknowledgement was answered ok."""
        self.received[place] = max(self.received.get(place, 0), up_to)
