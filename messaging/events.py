"""The frozen values that cross layers: who asks, what a log entry is, what a send or an acknowledgement led to.

Their JSON form (msgspec, camelCase) is the wire form of docs/protocol.md §5.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

EntryType = Literal["text", "media", "system", "ephemeral", "edit", "reaction"]
NOBODY = UUID(int=0)  # the sender of a system entry that no user caused
WITHHELD_METADATA = msgspec.Raw(b'{"event":"withheld"}')


class Actor(msgspec.Struct, frozen=True):
    """Who a request comes from: proven by the token, on both transports (docs/protocol.md §1).

    `public_key` is the device's registered Ed25519 key, 32 bytes, or None.
    """

    user_id: UUID
    device_id: UUID
    public_key: bytes | None = None


class Entry(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One entry of a conversation's log, as `new_message` and history carry it (docs/protocol.md §2).

    `metadata` is JSON text as bytes in `msgspec.Raw`, so that it is never parsed on its way to a client. As the log
    has it, `edited_at` is None: the edits are entries of their own. `ttl_after_read` (seconds) is there only while an
    ephemeral whose time runs from its reading is unread; `expires_at` is then the end of its wait.
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
    ttl_after_read: int | None = None


class EditReference(msgspec.Struct, frozen=True, rename="camel"):
    """The edit that a message's current content is of: what its signature was made with, and its ETag."""

    message_id: UUID
    seq: int
    sender_device_id: UUID | None
    client_random: int | None


class ReactionView(msgspec.Struct, frozen=True, rename="camel"):
    """One emoji under a message: how many users, the first of them, and whether the asking user is among all."""

    emoji: str
    count: int
    user_ids: tuple[UUID, ...]
    mine: bool


class MessageView(Entry, frozen=True):
    """An entry as it is now, as history and `GET messages/{id}` show it: content, metadata and signature of the latest
    edit, and the reactions. Nothing is left of what expired or was deleted but its place.
    """

    edit: EditReference | None = None
    reactions: tuple[ReactionView, ...] = ()


class WithheldEntry(Entry, frozen=True):
    """An entry that only its sender sees: the other one of the direct conversation blocked the sender.

    The type is the mark, so that no wire form ever tells of it; whoever else reads its seq gets a BlankEntry.
    """

    @classmethod
    def of(cls, entry: Entry) -> "WithheldEntry":
        """The same entry, withheld."""
        return cls(*(getattr(entry, name) for name in Entry.__struct_fields__))


class BlankEntry(Entry, frozen=True):
    """What stands at the seq of a withheld entry for whom it is withheld from: nothing of it but its place and time."""

    @classmethod
    def of(cls, entry: Entry) -> "BlankEntry":
        """The blank at the place of `entry`: a system entry of nobody, so that the reader's seq has no hole."""
        return cls(
            message_id=entry.message_id,
            conversation_id=entry.conversation_id,
            seq=entry.seq,
            sender_id=NOBODY,
            sender_device_id=None,
            type="system",
            content=b"",
            metadata=WITHHELD_METADATA,
            reply_to=None,
            target=None,
            media_id=None,
            client_random=None,
            sent_at=entry.sent_at,
            edited_at=None,
            expires_at=None,
            signature=None,
        )


class MediaMetadata(msgspec.Struct, frozen=True, rename="camel"):
    """What the media service says of a medium: its size in bytes and the SHA-256 of its (encrypted) bytes."""

    media_id: str
    size: int
    sha256: bytes
    created_at: datetime


class BlockedUser(msgspec.Struct, frozen=True, rename="camel"):
    """A user whom the asking user wants nothing from (docs/protocol.md §7 `blocks`)."""

    user_id: UUID
    blocked_at: datetime


class SendPermission(msgspec.Struct, frozen=True):
    """What the user service says of a sender in a conversation (specification §9.1).

    `recipient_ids`, where it is granted: the participants that were named, but for the sender, who want what they send.
    """

    verdict: Literal["granted", "not_a_member", "not_allowed"]
    recipient_ids: frozenset[UUID] = frozenset()


class SendOutcome(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The answer to a send: `sent` and `duplicate` mean committed, `pending` means queued (docs/protocol.md §2)."""

    status: Literal["sent", "duplicate", "pending"]
    message_id: UUID
    conversation_id: UUID
    seq: int | None = None
    sent_at: datetime | None = None
    expires_at: datetime | None = None
    media_metadata: MediaMetadata | None = None  # of type media (specification §9.2)


class Receipt(msgspec.Struct, frozen=True, rename="camel"):
    """`delivery_status_update` and `read_status_update` (docs/protocol.md §2): cumulative up to `up_to`."""

    conversation_id: UUID
    recipient_id: UUID
    status: Literal["delivered", "read"]
    message_ids: tuple[UUID, ...]
    up_to: int
    timestamp: datetime


class ConversationView(msgspec.Struct, frozen=True, rename="camel"):
    """A conversation as one of its members sees it (docs/protocol.md §7 `conversations`)."""

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


class MemberView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A member as the other members see them (docs/protocol.md §7 `conversations/{id}/members`).

    `online` and `last_seen` are there of who shares them with the asking user.
    """

    user_id: UUID
    role: Literal["owner", "admin", "member"]
    joined_seq: int
    joined_at: datetime
    online: bool | None = None
    last_seen: datetime | None = None


class MemberReceipt(msgspec.Struct, frozen=True, rename="camel"):
    """How far a member received and read, as the asking member may know it (docs/protocol.md §7 `…/receipts`)."""

    user_id: UUID
    delivered_seq: int
    read_seq: int


class ErasureView(msgspec.Struct, frozen=True, rename="camel"):
    """Of how many of the recipients' devices that had a message it is known to be erased.

    A device had it that had acknowledged its place before it was taken away, and erased it with the acknowledgement of
    the entry that says so.
    """

    reached: int
    erased: int


class DeliveryView(msgspec.Struct, frozen=True, rename="camel"):
    """One recipient's status of one message, for its sender (docs/protocol.md §7 `messages/{id}/delivery`).

    `status` may be ahead of the times: where only watermarks are kept (large groups) the times are unknown.
    """

    user_id: UUID
    status: Literal["pending", "delivered", "read", "expired"]
    delivered_at: datetime | None
    read_at: datetime | None


class DeliveryCounts(msgspec.Struct, frozen=True):
    """How many recipients a message has, how many it reached, how many of these are known to have read it, and at how
    many it expired first.

    What a group's sender shows; above `LIMITS.status_rows_max` recipients no update is pushed for each, and this is
    asked instead.
    """

    recipients: int
    delivered: int
    read: int
    expired: int

    @classmethod
    def of(cls, recipients: list[DeliveryView]) -> "DeliveryCounts":
        """The counts of a list."""
        statuses = [one.status for one in recipients]
        reached, read = statuses.count("delivered") + statuses.count("read"), statuses.count("read")
        return cls(len(statuses), reached, read, statuses.count("expired"))
