"""The requests that only REST has, and the objects that its answers are wrapped in (PROTOCOL.md §3)."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from messaging.devices import DeviceView
from messaging.events import ConversationView, DeliveryView, MemberReceipt, MemberView
from messaging.requests import Request
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


class DeviceList(_Answer, frozen=True):
    """The caller's devices."""

    devices: tuple[DeviceView, ...]


class PeopleList(_Answer, frozen=True):
    """The names that signed in on this development server."""

    people: tuple[DevPersonView, ...]
