"""What the client hands out: frozen values with Python's names for the protocol's fields (docs/protocol.md §5)."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a conversation's log."""

    message_id: UUID
    conversation_id: UUID
    seq: int
    sender_id: UUID
    sender_device_id: UUID | None
    type: str
    content: bytes
    metadata: Mapping[str, Any]
    reply_to: UUID | None
    target: UUID | None
    media_id: str | None
    client_random: int | None
    sent_at: datetime
    edited_at: datetime | None
    expires_at: datetime | None
    signature: bytes | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Message":
        """From the payload of `new_message` or an entry of a page."""
        return cls(
            message_id=UUID(body["messageId"]),
            conversation_id=UUID(body["conversationId"]),
            seq=int(body["seq"]),
            sender_id=UUID(body["senderId"]),
            sender_device_id=_uuid(body.get("senderDeviceId")),
            type=str(body["type"]),
            content=base64.b64decode(body["content"]),
            metadata=body.get("metadata") or {},
            reply_to=_uuid(body.get("replyTo")),
            target=_uuid(body.get("target")),
            media_id=body.get("mediaId"),
            client_random=body.get("clientRandom"),
            sent_at=datetime.fromisoformat(body["sentAt"]),
            edited_at=_time(body.get("editedAt")),
            expires_at=_time(body.get("expiresAt")),
            signature=base64.b64decode(body["signature"]) if body.get("signature") else None,
            raw=body,
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """A send's outcome: the message is committed. `duplicate` where an earlier try of the same send had done it."""

    message_id: UUID
    conversation_id: UUID
    seq: int
    sent_at: datetime
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """A recipient has, or has read, everything of the conversation up to `up_to`."""

    conversation_id: UUID
    recipient_id: UUID
    status: str  # delivered or read
    message_ids: tuple[UUID, ...]
    up_to: int
    timestamp: datetime

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Receipt":
        """From `delivery_status_update` or `read_status_update`."""
        return cls(
            conversation_id=UUID(body["conversationId"]),
            recipient_id=UUID(body["recipientId"]),
            status=str(body["status"]),
            message_ids=tuple(UUID(one) for one in body["messageIds"]),
            up_to=int(body["upTo"]),
            timestamp=datetime.fromisoformat(body["timestamp"]),
        )


@dataclass(frozen=True, slots=True)
class Event:
    """Anything else that the server pushed: its name and payload as they came."""

    name: str
    payload: Mapping[str, Any]


def _uuid(value: Any) -> UUID | None:
    return None if value is None else UUID(value)


def _time(value: Any) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
