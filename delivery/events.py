"""The frozen values of pushes that cross layers: what the notification service is asked, and what it says of each."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

PushKind = Literal["message", "clear"]
# Of one push: what a client fetches first when the notification is opened. The count says how many there are in all.
PUSH_MESSAGE_IDS_MAX = 20


class PushDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device to push to. The token stays out of every repr, so that no log can have it."""

    device_id: UUID
    platform: str
    token: str

    def __repr__(self) -> str:
        return f"PushDevice({self.device_id}, {self.platform!r})"


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """What one user is to be told of one conversation; there is no word in it of whom or what it is about.

    `message`: `count` messages wait, of which `message_ids` are the newest at most PUSH_MESSAGE_IDS_MAX, in the order
    of the log. `clear`: they were read on another device; what is shown for this conversation is taken away. `badge` is
    the number of unread messages of all conversations. `devices` may be empty: a service may know devices of its own.
    `key` names this push for ever: a service that took it once does not show it again. A later push for the same
    (user, conversation) replaces what an earlier one shows. `expires_at`: then nothing of it is left to read.
    """

    key: str
    kind: PushKind
    user_id: UUID
    conversation_id: UUID
    message_ids: tuple[UUID, ...] = ()
    count: int = 0
    badge: int = 0
    devices: tuple[PushDevice, ...] = ()
    expires_at: datetime | None = None

    @property
    def preview(self) -> str:
        """Always empty: the server has no content to show, and tells no name (docs/protocol.md "Pushes")."""
        return ""


class PushOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one push. `accepted` although some tokens are dead: those are in `invalid_devices`.

    `reason` is the service's code of a refusal, at most 64 characters, empty where it accepted.
    """

    key: str
    accepted: bool
    invalid_devices: tuple[UUID, ...] = ()
    reason: str = ""


class PushCandidate(msgspec.Struct, frozen=True):
    """A recipient without an open socket, who has not acknowledged what a conversation holds for them."""

    user_id: UUID
    conversation_id: UUID


class PushPreference(msgspec.Struct, frozen=True):
    """Whether an offline recipient wants a push for a conversation now."""

    user_id: UUID
    conversation_id: UUID
    wanted: bool
