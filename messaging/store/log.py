"""The log of a conversation: the one place where entries are written (docs/architecture.md "The way of a message").

`entries_append` takes a batch from many senders and conversations and makes it durable in one transaction. seq comes
from `conversations.last_seq` under the row's lock, so that neither a duplicate, a rollback nor a failed item leaves a
gap.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
import psycopg

from messaging.events import Entry, EntryType, MediaMetadata, SendOutcome, WithheldEntry
from messaging.store.locked import LockedConversation
from messaging.store.log_statements import FACTS, LINK_MEDIA, LOCK, UNCHANGED, WITHHOLD, WRITE
from messaging.store.push_outbox import pushable
from messaging.store.staleness import add_changes
from messaging.store.targets import MESSAGES, Targets
from messaging.store.toggles import find_overtaken
from whispr.kernel import database
from whispr.kernel.batch import BUSY, Busy
from whispr.kernel.errors import (
    ClientRandomReused,
    Forbidden,
    InvalidMedia,
    InvalidTarget,
    NotFound,
    StaleMembership,
    WhisprError,
)
from whispr.kernel.failpoints import hit
from whispr.kernel.limits import LIMITS


class NewEntry(msgspec.Struct, frozen=True):
    """An entry that passed its gate and waits to be appended. `metadata` is compact JSON."""

    message_id: UUID
    conversation_id: UUID
    sender_id: UUID
    sender_device_id: UUID
    type: EntryType
    content: bytes
    metadata: bytes
    client_random: int
    fingerprint: bytes
    reply_to: UUID | None = None
    target: UUID | None = None
    media_id: str | None = None
    media: MediaMetadata | None = None  # what the media service said of media_id; None where it refused
    signature: bytes | None = None
    ttl: int | None = None  # seconds from sent_at, or, with `from_reading`, from the first recipient's reading
    from_reading: bool = False
    base_id: UUID | None = None  # of an edit: what it was made from, the message's id or that of its latest edit
    emoji: str | None = None  # of a reaction
    remove: bool = False
    members_version: int | None = None
    draft_before: datetime | None = None  # the sender's draft, if this device wrote it before then, became this message
    refusal: Literal["not_a_member", "not_allowed"] | None = None  # what the user service says of the sender
    origin: object | None = None  # the socket that sends, which learns seq from its reply


class Appended(msgspec.Struct, frozen=True):
    """What became of a NewEntry: the answer, and the entry where it is a new one."""

    outcome: SendOutcome
    entry: Entry | None
    origin: object | None
    draft_revision: int | None = None  # of the sender's draft, which became this message and is gone


def entries_append(items: Sequence[NewEntry], patient: bool = True) -> list[Appended | Exception | Busy]:
    """Append a batch, in order, in one transaction; each item gets its own outcome (docs/protocol.md §8.1-4.3).

    Outcomes: Appended (new or duplicate), NotFound (no such conversation for this sender), ClientRandomReused,
    StaleMembership, InvalidTarget, InvalidMedia, or BUSY where another transaction holds the conversation and `patient`
    is false. Raises what PostgreSQL raises; then nothing of the batch was written, unless the connection broke during
    the commit.
    """
    ids = sorted({item.conversation_id for item in items})
    asked = [_Asked(item.conversation_id, item.sender_id, item.client_random, item.reply_to) for item in items]
    with database.pipelined() as raw:
        cursor, facts, write = psycopg.Cursor(raw), psycopg.Cursor(raw), psycopg.Cursor(raw)
        cursor.execute(LOCK if patient else LOCK + " SKIP LOCKED", (ids,), prepare=True, binary=True)
        facts.execute(FACTS, (msgspec.json.encode(asked).decode(),), prepare=True, binary=True)
        locked = {row[0]: LockedConversation(*row) for row in cursor.fetchall()}
        about = facts.fetchall()
        hit("send.after_lock")
        skipped = set() if patient or len(locked) == len(ids) else _existing(cursor, ids) - locked.keys()
        targets = Targets(cursor, items)
        batch = _Batch(locked, skipped, targets)
        overtaken: set[int] = set()
        if sum(item.emoji is not None for item in items) > 1:
            overtaken = find_overtaken(items, [batch.is_fresh(*one) for one in zip(items, about, strict=True)])
        outcomes = [
            batch.place(item, row, place in overtaken)
            for place, (item, row) in enumerate(zip(items, about, strict=True))
        ]
        add_changes(cursor, items, outcomes)
        # What few messages need has statements of its own, so that a plain text does not pay for it.
        hit("send.before_write")
        if batch.fresh:
            to_push = pushable(entry for _, entry in batch.fresh)
            write.execute(WRITE, (batch.rows(), batch.touched(), *to_push), prepare=True, binary=True)
        targets.write(cursor)
        if batch.unchanged:
            cursor.execute(UNCHANGED, tuple(map(list, zip(*batch.unchanged, strict=True))))
        if batch.withheld:
            cursor.execute(WITHHOLD, (batch.withheld,))
        if batch.media:
            cursor.execute(LINK_MEDIA, tuple(map(list, zip(*batch.media, strict=True))))
        hit("send.before_commit")
    hit("send.after_commit")
    cleared = dict(write.fetchall()) if batch.fresh else {}
    return [_with_draft(outcome, cleared) for outcome in outcomes] if cleared else outcomes


def _existing(cursor: psycopg.Cursor[Any], ids: list[UUID]) -> set[UUID]:
    cursor.execute("SELECT id FROM conversations WHERE id = ANY(%b::uuid[])", (ids,), binary=True)
    return {row[0] for row in cursor.fetchall()}


def _with_draft(outcome: Appended | Exception | Busy, cleared: dict[UUID, int]) -> Appended | Exception | Busy:
    if isinstance(outcome, Appended) and outcome.entry is not None and outcome.entry.message_id in cleared:
        return msgspec.structs.replace(outcome, draft_revision=cleared[outcome.entry.message_id])
    return outcome


class _Asked(msgspec.Struct):
    """A row of FACTS' question."""

    conversation_id: UUID
    sender_id: UUID
    client_random: int
    reply_to: UUID | None


class _Row(msgspec.Struct):
    """A row of WRITE. msgspec writes bytes in base64, and omits nothing."""

    id: UUID
    conversation_id: UUID
    seq: int
    sender_id: UUID
    sender_device_id: UUID | None
    message_type: str
    content: bytes
    metadata: msgspec.Raw
    client_random: int | None
    reply_to_id: UUID | None
    target_id: UUID | None
    media_id: str | None
    signature: bytes | None
    sent_at: datetime
    expires_at: datetime | None
    fingerprint: bytes
    with_statuses: bool
    draft_before: datetime | None
    ttl_after_read: int | None
    chain_hash: bytes | None


class _Batch:
    """The decisions of one batch: which items are new, and their places in their logs."""

    def __init__(self, locked: dict[UUID, LockedConversation], skipped: set[UUID], targets: Targets) -> None:
        self.locked = locked
        self.targets = targets
        self.unchanged: list[tuple[UUID, UUID, int, bytes, UUID]] = []  # the keys of reactions that change nothing
        self.skipped = skipped
        self.fresh: list[tuple[NewEntry, Entry]] = []
        self.links: list[bytes | None] = []  # the hashes of `fresh`
        self.seen: dict[tuple[UUID, int], tuple[bytes, SendOutcome]] = {}
        self.withheld: list[UUID] = []  # of `fresh`, what a block keeps from the other one
        self.media: list[tuple[str, UUID, UUID]] = []  # of `fresh`: (media, message, conversation)

    def is_fresh(self, item: NewEntry, facts: tuple[Any, ...]) -> bool:
        """Whether nothing but its target can keep an item from becoming an entry; `facts` is its row of FACTS."""
        conversation = self.locked.get(item.conversation_id)
        return facts[4] is None and self._refusal(item, conversation, facts[1], facts[-1]) is None

    def place(self, item: NewEntry, facts: tuple[Any, ...], overtaken: bool) -> Appended | Exception | Busy:
        """Decide one item; `facts` is its row of FACTS; `overtaken`, a later one of the batch decides for it."""
        now, is_member, own_ttl, withheld, *before, target_ok = facts
        conversation = self.locked.get(item.conversation_id)
        if conversation is None and item.conversation_id in self.skipped:
            return BUSY
        key = (item.sender_id, item.client_random)
        earlier = self.seen.get(key)
        if earlier is None and before[0] is not None:
            args = (before[0], before[1], before[2], before[3], before[4])
            earlier = (bytes(before[5]), SendOutcome("duplicate", *args) if before[2] else _unchanged(item))
        if earlier is not None:
            if earlier[0] != item.fingerprint:
                return ClientRandomReused()
            outcome = earlier[1]
            if item.media is not None:
                outcome = msgspec.structs.replace(outcome, media_metadata=item.media)
            return Appended(outcome, None, item.origin)
        refusal = self._refusal(item, conversation, is_member, target_ok)
        if refusal is not None:
            return refusal
        assert conversation is not None
        if item.target is not None:
            verdict = self.targets.decide(item, now)
            if isinstance(verdict, WhisprError):
                return verdict
            if verdict == "unchanged" or overtaken:
                self.unchanged.append((item.message_id, *key, item.fingerprint, item.conversation_id))
                self.seen[key] = (item.fingerprint, _unchanged(item))
                return Appended(_unchanged(item), None, item.origin)
        entry = self._entry_of(item, conversation, now, conversation.ttl if own_ttl is None else own_ttl or None)
        if withheld or (item.target is not None and self.targets.is_withheld(item.target)):
            entry = WithheldEntry.of(entry)
            self.withheld.append(entry.message_id)
        if entry.media_id is not None:
            self.media.append((entry.media_id, entry.message_id, entry.conversation_id))
        self.fresh.append((item, entry))
        self.links.append(conversation.link(entry))
        args = (entry.message_id, entry.conversation_id, entry.seq, entry.sent_at, entry.expires_at)
        self.seen[key] = (item.fingerprint, SendOutcome("duplicate", *args))
        return Appended(SendOutcome("sent", *args, item.media), entry, item.origin)

    def _entry_of(self, item: NewEntry, conversation: LockedConversation, now: datetime, timer: int | None) -> Entry:
        """The entry at the next place, expiring by its own ttl, the conversation's timer, or with its target."""
        ttl = timer if item.ttl is None and item.type in MESSAGES else item.ttl
        entry = _entry_of(item, *conversation.next_place(now), ttl)
        if item.target is not None:
            self.targets.apply(item, entry.sent_at)
            entry = msgspec.structs.replace(entry, expires_at=self.targets.expires_at(item))
        return entry

    @staticmethod
    def _refusal(
        item: NewEntry, conversation: LockedConversation | None, is_member: bool, target_ok: bool
    ) -> WhisprError | None:
        if conversation is None or not is_member or item.refusal == "not_a_member":
            return NotFound()
        if item.refusal is not None:
            return Forbidden("The user service does not allow it.")
        if item.members_version is not None and item.members_version != conversation.members_version:
            return StaleMembership(details={"membersVersion": conversation.members_version})
        if not target_ok:
            return InvalidTarget()
        if item.media_id is not None and item.media is None:
            return InvalidMedia()
        return None

    def rows(self) -> str:
        """The rows of WRITE, as JSON: one parameter, where the driver would write twenty arrays."""
        return msgspec.json.encode(
            [self._row(item, entry, link) for (item, entry), link in zip(self.fresh, self.links, strict=True)]
        ).decode()

    def touched(self) -> list[UUID]:
        """The conversations that got entries."""
        return sorted({entry.conversation_id for _, entry in self.fresh})

    def _row(self, item: NewEntry, entry: Entry, link: bytes | None) -> "_Row":
        # What changes a message has no recipients to account for: the message has.
        few = self.locked[entry.conversation_id].member_count - 1 <= LIMITS.status_rows_max
        return _Row(
            id=entry.message_id,
            conversation_id=entry.conversation_id,
            seq=entry.seq,
            sender_id=entry.sender_id,
            sender_device_id=entry.sender_device_id,
            message_type=entry.type,
            content=entry.content,
            metadata=entry.metadata,
            client_random=entry.client_random,
            reply_to_id=entry.reply_to,
            target_id=entry.target,
            media_id=entry.media_id,
            signature=entry.signature,
            sent_at=entry.sent_at,
            expires_at=entry.expires_at,
            fingerprint=item.fingerprint,
            with_statuses=item.target is None and few,
            draft_before=item.draft_before,
            ttl_after_read=entry.ttl_after_read,
            chain_hash=link,
        )


def _unchanged(item: NewEntry) -> SendOutcome:
    """The answer to a reaction that changes nothing: it names the message, and no seq, for there is no entry."""
    return SendOutcome("duplicate", item.target or item.message_id, item.conversation_id)


def _entry_of(item: NewEntry, seq: int, sent_at: datetime, ttl: int | None) -> Entry:
    lifetime = LIMITS.unread_ttl_seconds if item.from_reading else ttl
    return Entry(
        message_id=item.message_id,
        conversation_id=item.conversation_id,
        seq=seq,
        sender_id=item.sender_id,
        sender_device_id=item.sender_device_id,
        type=item.type,
        content=item.content,
        metadata=msgspec.Raw(item.metadata),
        reply_to=item.reply_to,
        target=item.target,
        media_id=item.media_id,
        client_random=item.client_random,
        sent_at=sent_at,
        edited_at=None,
        expires_at=None if lifetime is None else sent_at + timedelta(seconds=lifetime),
        signature=item.signature,
        ttl_after_read=item.ttl if item.from_reading else None,
    )
