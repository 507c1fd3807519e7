"""A conversation whose row is held: who changes its members, its settings or its log does it under this lock.

So that everything that happens to a conversation has one order, and its log no gap.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.core.signals import setting_changed
from django.db.backends.utils import CursorWrapper
from django.dispatch import receiver

from messaging.chain import GENESIS, entry_link
from messaging.events import Entry
from whispr.kernel.ids import new_id

TICK = timedelta(microseconds=1)  # PostgreSQL's resolution: sent_at increases by at least this


@dataclass(slots=True)
class LockedConversation:
    """A conversation whose row this transaction holds; the fields follow what is appended under the lock."""

    id: UUID
    type: str
    last_seq: int
    last_sent_at: datetime | None
    members_version: int
    member_count: int
    first_id: UUID | None = None  # the two users of a direct conversation, where entries are appended
    second_id: UUID | None = None
    ttl: int | None = None  # the conversation's timer in seconds, where entries are appended
    head_hash: bytes | None = None  # of the last entry, where the hash chain is on
    settings: dict[str, Any] = field(default_factory=dict)  # not read where only entries are appended
    deleted_at: datetime | None = None

    def peer_of(self, user_id: UUID) -> UUID | None:
        """The other one of a direct conversation; None in a group."""
        return self.second_id if self.first_id == user_id else self.first_id

    def next_place(self, now: datetime) -> tuple[int, datetime]:
        """The next seq and its sent_at: strictly after the one before, whatever the clock does (docs/protocol.md
        §8.3)."""
        self.last_seq += 1
        if self.last_sent_at is not None and now <= self.last_sent_at:
            now = self.last_sent_at + TICK
        self.last_sent_at = now
        return self.last_seq, now

    def link(self, entry: Entry) -> bytes | None:
        """The hash of the entry just placed, which the next one goes on from; None where the chain is off."""
        self.head_hash = entry_link(bytes(self.head_hash or GENESIS), entry) if is_chained() else None
        return self.head_hash


@cache
def is_chained() -> bool:
    """WHISPR_HASH_CHAIN, read once."""
    return bool(settings.WHISPR_HASH_CHAIN)


@receiver(setting_changed)
def _forget_chained(**_: object) -> None:
    is_chained.cache_clear()


def conversation_lock(cursor: CursorWrapper, conversation_id: UUID) -> LockedConversation | None:
    """Lock a conversation for a change of its members, its settings or its log; None where there is none.

    Everything that decides who is a member happens under this lock, so that it is ordered with the sends.
    """
    cursor.execute(
        "SELECT id, type, last_seq, last_sent_at, members_version, member_count, head_hash, settings, deleted_at"
        " FROM conversations WHERE id = %s FOR NO KEY UPDATE",
        [conversation_id],
    )
    row = cursor.fetchone()
    if row is None:
        return None
    id_, type_, last_seq, last_sent_at, members_version, member_count, head_hash, chosen, deleted_at = row
    return LockedConversation(
        id_,
        type_,
        last_seq,
        last_sent_at,
        members_version,
        member_count,
        head_hash=head_hash,
        settings=msgspec.json.decode(chosen),
        deleted_at=deleted_at,
    )


def append_system(
    cursor: CursorWrapper, locked: LockedConversation, *, by: UUID, event: str, details: dict[str, Any]
) -> Entry:
    """Append a system entry (docs/protocol.md §2: empty content, `metadata.event`) to a conversation locked by this
    transaction."""
    cursor.execute("SELECT clock_timestamp()")
    seq, sent_at = locked.next_place(cursor.fetchone()[0])
    metadata = msgspec.json.encode({"event": event, **details})
    message_id = new_id()
    entry = Entry(
        message_id=message_id,
        conversation_id=locked.id,
        seq=seq,
        sender_id=by,
        sender_device_id=None,
        type="system",
        content=b"",
        metadata=msgspec.Raw(metadata),
        reply_to=None,
        target=None,
        media_id=None,
        client_random=None,
        sent_at=sent_at,
        edited_at=None,
        expires_at=None,
        signature=None,
    )
    link = locked.link(entry)
    cursor.execute(
        "INSERT INTO messages (id, conversation_id, seq, sender_id, message_type, content, metadata, sent_at,"
        " chain_hash, is_deleted, delete_for_everyone)"
        " VALUES (%s, %s, %s, %s, 'system', '', %s::jsonb, %s, %s, false, false)",
        [message_id, locked.id, seq, by, metadata.decode(), sent_at, link],
    )
    cursor.execute(
        "UPDATE conversations SET last_seq = %s, last_sent_at = %s, head_hash = %s WHERE id = %s",
        [seq, sent_at, link, locked.id],
    )
    return entry
