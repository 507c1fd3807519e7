"""What the fan-out carries: the five kinds of news, their one encoding for all sockets, and their form on the bus."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from messaging.events import BlankEntry, Entry, WithheldEntry
from messaging.phoenix import Version, join_envelope, push_tail

_NO_UUID = b""


class EncodedEntry:
    """A log entry with its wire forms, each made at most once and shared by all sockets."""

    __slots__ = (
        "_binary",
        "_blank",
        "_tail_v1",
        "_tail_v2",
        "conversation_id",
        "is_blank",
        "message_id",
        "payload",
        "seq",
        "type",
        "withheld_by",
    )

    def __init__(
        self, conversation_id: UUID, seq: int, type: str, payload: bytes, withheld_by: UUID | None = None
    ) -> None:
        self.conversation_id = conversation_id
        self.seq = seq
        self.type = type
        self.payload = payload  # the JSON of `new_message`
        self.withheld_by = withheld_by  # the sender, where nobody else may see it
        self.is_blank = False  # stands for a withheld entry
        self.message_id: UUID | None = None  # where this process read or wrote the entry itself
        self._blank: EncodedEntry | None = None
        self._tail_v1: str | None = None
        self._tail_v2: str | None = None
        self._binary: bytes | None = None

    @classmethod
    def of(cls, entry: Entry) -> "EncodedEntry":
        """The encoded form of an entry, as it is now."""
        withheld_by = entry.sender_id if isinstance(entry, WithheldEntry) else None
        encoded = cls(entry.conversation_id, entry.seq, entry.type, msgspec.json.encode(entry), withheld_by)
        encoded.is_blank = isinstance(entry, BlankEntry)
        encoded.message_id = entry.message_id
        return encoded

    def blank(self) -> "EncodedEntry":
        """What all but its sender get of a withheld entry (BlankEntry)."""
        if self._blank is None:
            self._blank = EncodedEntry.of(BlankEntry.of(msgspec.json.decode(self.payload, type=Entry)))
        return self._blank

    def tail(self, version: Version) -> str:
        """The end of a text frame, to which a socket prepends its head."""
        if version is Version.V2:
            if self._tail_v2 is None:
                self._tail_v2 = push_tail(version, "new_message", self.payload)
            return self._tail_v2
        if self._tail_v1 is None:
            self._tail_v1 = push_tail(version, "new_message", self.payload)
        return self._tail_v1

    def envelope(self) -> bytes:
        """The payload of a binary push: `[u32 header length][JSON header without content][ciphertext]`."""
        if self._binary is None:
            entry = msgspec.json.decode(self.payload, type=Entry)
            header = msgspec.json.decode(self.payload, type=dict[str, msgspec.Raw])
            del header["content"]
            self._binary = join_envelope(msgspec.json.encode(header), entry.content)
        return self._binary

    def metadata(self) -> dict[str, Any]:
        """The entry's metadata, parsed: for system entries, which say who came and went."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.decode(self.payload, type=Entry).metadata)
        return found


class UserPush(msgspec.Struct, frozen=True):
    """An event for all devices of one user."""

    user_id: UUID
    event: str
    payload: bytes
    conversation_id: UUID | None
    origin: object | None = None


class ConversationPush(msgspec.Struct, frozen=True):
    """A passing event for the live subscribers of a conversation, except those of the user `by`."""

    conversation_id: UUID
    event: str
    payload: bytes
    by: UUID


class UserChange(msgspec.Struct, frozen=True):
    """A change of a user that processes must act on: `revoked`, `settings`, `device_key`."""

    user_id: UUID
    kind: str
    payload: bytes


class PresenceChange(msgspec.Struct, frozen=True):
    """Sockets that came to or left a conversation; `payload` is their members of the presence store, one after the
    other."""

    conversation_id: UUID
    joined: bool
    payload: bytes


News = EncodedEntry | UserPush | ConversationPush | UserChange | PresenceChange


def pack(news: Sequence[News]) -> list[list[Any]]:
    """The form on the bus: plain lists, which the channel layer packs with msgpack."""
    return [_pack_one(one) for one in news]


def _pack_one(one: News) -> list[Any]:
    match one:
        case EncodedEntry():
            if one.withheld_by is not None:
                # A kind of its own: a process that does not know of it leaves it out, and does not pass it on.
                return ["w", one.conversation_id.bytes, one.seq, one.type, one.payload, one.withheld_by.bytes]
            return ["e", one.conversation_id.bytes, one.seq, one.type, one.payload]
        case UserPush():
            conversation = _NO_UUID if one.conversation_id is None else one.conversation_id.bytes
            return ["u", one.user_id.bytes, one.event, one.payload, conversation]
        case ConversationPush():
            return ["c", one.conversation_id.bytes, one.event, one.payload, one.by.bytes]
        case UserChange():
            return ["x", one.user_id.bytes, one.kind, one.payload]
        case PresenceChange():
            return ["p", one.conversation_id.bytes, one.joined, one.payload]


def unpack(packed: Sequence[Sequence[Any]]) -> list[News]:
    """The news of a bus message. Kinds that this version does not know are left out (a newer process sent them)."""
    news: list[News] = []
    for kind, *rest in packed:
        if kind == "e":
            news.append(EncodedEntry(UUID(bytes=rest[0]), rest[1], rest[2], rest[3]))
        elif kind == "w":
            news.append(EncodedEntry(UUID(bytes=rest[0]), rest[1], rest[2], rest[3], UUID(bytes=rest[4])))
        elif kind == "u":
            conversation = UUID(bytes=rest[3]) if rest[3] else None
            news.append(UserPush(UUID(bytes=rest[0]), rest[1], rest[2], conversation))
        elif kind == "c":
            news.append(ConversationPush(UUID(bytes=rest[0]), rest[1], rest[2], UUID(bytes=rest[3])))
        elif kind == "x":
            news.append(UserChange(UUID(bytes=rest[0]), rest[1], rest[2]))
        elif kind == "p":
            news.append(PresenceChange(UUID(bytes=rest[0]), rest[1], rest[2]))
    return news
