"""Devices on the wire: requests of `devices` and `settings`, and the frozen values of the answers (docs/protocol.md
§7)."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from messaging.requests import Request
from whispr.kernel.limits import LIMITS

Name = Annotated[str, msgspec.Meta(max_length=LIMITS.name_bytes)]
Platform = Annotated[str, msgspec.Meta(max_length=32)]
PushToken = Annotated[str, msgspec.Meta(max_length=512)]


class RegisterDevice(Request, frozen=True):
    """`POST devices`: keys are base64 of 32 bytes. Without `id` it is the device of the token."""

    public_key: str
    id: UUID | None = None
    encryption_key: str | None = None
    name: Name | None = None
    platform: Platform | None = None
    push_token: PushToken | None = None


class UpdateDevice(Request, frozen=True):
    """`PATCH devices/{id}`: what is absent stays as it is."""

    name: Name | None = None
    platform: Platform | None = None
    push_token: PushToken | None = None
    public_key: str | None = None
    encryption_key: str | None = None


class NotificationChoice(Request, frozen=True, omit_defaults=True):
    """Whether the user wants pushes: at all, and none until a moment. What is absent is the default."""

    enabled: bool = True
    muted_until: datetime | None = None


class UpdateNotifications(Request, frozen=True):
    """The user's choice for all conversations, where `enabled` or `mutedUntil` is there, and for single ones.

    Each choice that is there replaces what was chosen before, `{}` with the default.
    """

    enabled: bool | None = None
    muted_until: datetime | None = None
    conversations: dict[UUID, NotificationChoice] = {}


class UpdateSettings(Request, frozen=True):
    """`PATCH settings`: what is absent stays as it is."""

    read_receipts: bool | None = None
    share_last_seen: bool | None = None
    notifications: UpdateNotifications | None = None


class DeviceView(msgspec.Struct, frozen=True, rename="camel"):
    """A device as its own user sees it. The push token is never shown, only whether there is one."""

    id: UUID
    user_id: UUID
    name: str
    platform: str
    public_key: bytes | None
    encryption_key: bytes | None
    has_push_token: bool
    created_at: datetime
    last_seen_at: datetime
    revoked_at: datetime | None
    current: bool = False  # the device that asks


class PeerDevice(msgspec.Struct, frozen=True, rename="camel"):
    """A device as the other members see it: whom to encrypt for, and nothing more."""

    id: UUID
    user_id: UUID
    public_key: bytes | None
    encryption_key: bytes | None


class ConversationDevices(msgspec.Struct, frozen=True, rename="camel"):
    """`GET conversations/{id}/devices`: the live members' live devices, as of `members_version`."""

    members_version: int
    devices: tuple[PeerDevice, ...]


class NotificationSettings(msgspec.Struct, frozen=True, rename="camel"):
    """What the user chose about pushes, for all conversations and for single ones; mutes that are over are left out."""

    enabled: bool = True
    muted_until: datetime | None = None
    conversations: dict[UUID, NotificationChoice] = {}


class UserSettingsView(msgspec.Struct, frozen=True, rename="camel"):
    """`GET settings`."""

    read_receipts: bool = True  # off: nobody learns what the user read, and the user learns of nobody
    share_last_seen: bool = True  # off: nobody sees when the user was there, and the user sees it of nobody
    notifications: NotificationSettings | msgspec.UnsetType = msgspec.UNSET  # absent: pushes for all conversations


class DeviceState(msgspec.Struct, frozen=True):
    """What a live socket must know of its device: whose it is, its key, and whether it was revoked."""

    user_id: UUID
    public_key: bytes | None
    revoked: bool


class DeviceChange(msgspec.Struct, frozen=True):
    """New values of a device's columns; None leaves one as it is."""

    name: str | None = None
    platform: str | None = None
    push_token: str | None = None
    public_key: bytes | None = None
    encryption_key: bytes | None = None
