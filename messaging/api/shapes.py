"""The requests that only REST has, and the objects that its answers are wrapped in (docs/protocol.md §7)."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from messaging.devices import DeviceView
from messaging.events import (
    BlockedUser,
    ConversationView,
    DeliveryCounts,
    DeliveryView,
    ErasureView,
    MemberReceipt,
    MemberView,
    ReactionView,
)
from messaging.requests import ClientRandom, Request
from messaging.services.dev_login import DevPersonView
from whispr.kernel.limits import LIMITS


class AddMembers(Request, frozen=True):
    """`POST conversations/{id}/members`."""

    user_ids: Annotated[list[UUID], msgspec.Meta(min_length=1, max_length=LIMITS.members_per_conversation)]


class UpdateMember(Request, frozen=True):
    """`PATCH conversations/{id}/members/{userId}`."""

    role: Literal["owner", "admin", "member"]


class UpdateConversation(Request, frozen=True):
    """`PATCH conversations/{id}`: a key of `settings` replaces, null removes."""

    settings: dict[str, Any]


class AddReaction(Request, frozen=True):
    """`POST messages/{id}/reactions`; without `clientRandom` the server draws one, and cannot be signed for."""

    emoji: str
    client_random: ClientRandom | None = None
    signature: str | None = None


class DevLogin(Request, frozen=True):
    """`POST dev/tokens`; without `deviceId` it is a new device."""

    name: str
    device_id: UUID | None = None


class _Answer(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    pass


class Nothing(_Answer, frozen=True):
    """`{}`: done."""


class ConversationList(_Answer, frozen=True):
    """A page; with `next` there is another one, at `?cursor=<next>`."""

    conversations: list[ConversationView]
    next: UUID | None = None


class BlockList(_Answer, frozen=True):
    """A page; with `next` there is another one, at `?cursor=<next>`."""

    blocks: list[BlockedUser]
    next: UUID | None = None


class MemberList(_Answer, frozen=True):
    """All current members."""

    members: list[MemberView]


class ReceiptList(_Answer, frozen=True):
    """How far each current member received and read."""

    receipts: list[MemberReceipt]


class DeliveryList(_Answer, frozen=True):
    """What became of one message at each of its recipients."""

    message_id: UUID
    recipients: list[DeliveryView]
    counts: DeliveryCounts
    erasure: ErasureView | None = None  # of a message that was deleted for everyone or expired
    degraded: bool = False  # the database is away: what a cache has


class Deleted(_Answer, frozen=True):
    """The message that is deleted now, or was before."""

    message_id: UUID


class ReactionList(_Answer, frozen=True):
    """The reactions to one message, in the order in which they began."""

    reactions: list[ReactionView]


class DeviceList(_Answer, frozen=True):
    """The caller's devices."""

    devices: tuple[DeviceView, ...]


class PeopleList(_Answer, frozen=True):
    """The names that signed in on this development server."""

    people: tuple[DevPersonView, ...]
