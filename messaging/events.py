"""The frozen values that cross layers: who asks, what a log entry is, what a send or an acknowledgement led to.

Their JSON form (msgspec, camelCase) is the wire form of PROTOCOL.md §2 "Server → client".
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

EntryType = Literal["text", "media", "system", "ephemeral", "edit", "reaction"]
NOBODY = UUID(int=0)  # the sender of a system entry that no user caused


class Actor(msgspec.Struct, frozen=True):
    """Who a request comes from: proven by the token, on both transports (PROTOCOL.md §1).

    `public_key` is the device's registered Ed25519 key, 32 bytes, or None.
    """

    user_id: UUID
    device_id: UUID
    public_key: bytes | None = None


class Entry(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of a conversation's log, as `new_message` and history carry it (PROTOCOL.md §2).

    `metadata` is JSON text as bytes in `msgspec.Raw`, so that it is never parsed on its way to a client.
    """

    message_id: UUID
    conversation_id: UUID
    seq: int
    sender_id: UUID
    sender_device_id: UUID | None
    type: EntryType
    content: bytes
    metadata: msgspec.Raw
    reply_to: UUID | None
    target: UUID | None
    media_id: str | None
    client_random: int | None
    sent_at: datetime
    edited_at: datetime | None
    expires_at: datetime | None
    signature: bytes | None


class SendOutcome(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The answer to a send: `sent` and `duplicate` mean committed, `pending` means queued (PROTOCOL.md §2)."""

    status: Literal["sent", "duplicate", "pending"]
    message_id: UUID
    conversation_id: UUID
    seq: int | None = None
    sent_at: datetime | None = None
    expires_at: datetime | None = None


class Receipt(msgspec.Struct, frozen=True, rename="camel"):
    """`delivery_status_update` and `read_status_update` (PROTOCOL.md §2): cumulative up to `up_to`."""

    conversation_id: UUID
    recipient_id: UUID
    status: Literal["delivered", "read"]
    message_ids: tuple[UUID, ...]
    up_to: int
    timestamp: datetime


class ConversationView(msgspec.Struct, frozen=True, rename="camel"):
    """A conversation as one of its members sees it (PROTOCOL.md §3 `conversations`)."""

    id: UUID
    type: Literal["direct", "group"]
    last_seq: int
    last_sent_at: datetime | None
    unread: int
    members_version: int
    member_count: int
    role: Literal["owner", "admin", "member"]
    joined_seq: int
    left_seq: int | None
    delivered_seq: int
    read_seq: int
    settings: dict[str, Any]
    created_at: datetime
    created_by: UUID
    peer_id: UUID | None  # the other one of a direct conversation


class MemberView(msgspec.Struct, frozen=True, rename="camel"):
    """A member as the other members see them (PROTOCOL.md §3 `conversations/{id}/members`)."""

    user_id: UUID
    role: Literal["owner", "admin", "member"]
    joined_seq: int
    joined_at: datetime


class MemberReceipt(msgspec.Struct, frozen=True, rename="camel"):
    """How far a member received and read, as the asking member may know it (PROTOCOL.md §3 `…/receipts`)."""

    user_id: UUID
    delivered_seq: int
    read_seq: int


class DeliveryView(msgspec.Struct, frozen=True, rename="camel"):
    """One recipient's status of one message, for its sender (PROTOCOL.md §3 `messages/{id}/delivery`).

    `status` may be ahead of the times: where only watermarks are kept (large groups) the times are unknown.
    """

    user_id: UUID
    status: Literal["sent", "delivered", "read"]
    delivered_at: datetime | None
    read_at: datetime | None
