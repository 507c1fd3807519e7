"""What edits and reactions are decided by, and what they change beside the log (docs/protocol.md §4).

All of it happens in the transaction that appends their entries, under the conversation's lock: so an edit knows whether
the message was deleted, and a reaction whether it is there already. Several items of one batch may have one target;
each is decided by what the ones before it leave behind.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import psycopg

from whispr.kernel.errors import BadRequest, EditConflict, Forbidden, InvalidTarget, WhisprError
from whispr.kernel.limits import LIMITS

if TYPE_CHECKING:
    from messaging.store.log import NewEntry

MESSAGES = frozenset({"text", "media", "ephemeral"})  # the types that can be edited, reacted to, deleted
Verdict = WhisprError | Literal["append", "unchanged"]

# The row is locked: a reading that shortens its life (delivery/store/receipts.py) comes wholly before or after.
_TARGETS = """
SELECT t.id, t.conversation_id, t.sender_id, t.message_type, t.is_deleted, t.sent_at, t.expires_at, t.edit_id,
       (SELECT count(*) FROM messages e WHERE e.target_id = t.id AND e.message_type = 'edit'), t.withheld
FROM messages t WHERE t.id = ANY(%b::uuid[]) ORDER BY t.id FOR NO KEY UPDATE OF t"""

_SEEN = """
SELECT t.id, i.sender_id FROM unnest(%b::uuid[], %b::uuid[]) AS i(target_id, sender_id)
JOIN messages t ON t.id = i.target_id AND (NOT t.withheld OR t.sender_id = i.sender_id)
JOIN members m ON m.conversation_id = t.conversation_id AND m.user_id = i.sender_id
WHERE t.seq >= m.joined_seq OR EXISTS (
    SELECT 1 FROM member_spans s WHERE s.conversation_id = t.conversation_id
    AND s.user_id = i.sender_id AND t.seq BETWEEN s.from_seq AND s.to_seq)"""

_EDITED = """
UPDATE messages m SET edit_id = f.edit_id, edited_at = f.edited_at
FROM unnest(%b::uuid[], %b::uuid[], %b::timestamptz[]) AS f(id, edit_id, edited_at) WHERE m.id = f.id"""

# The original is a version too: of the edits, the latest `edit_versions` - 1 keep their content.
_OLD_VERSIONS = """
UPDATE messages e SET content = ''::bytea, metadata = '{}', signature = NULL, is_deleted = true
FROM (SELECT id, row_number() OVER (PARTITION BY target_id ORDER BY seq DESC) AS age FROM messages
      WHERE target_id = ANY(%b::uuid[]) AND message_type = 'edit') v
WHERE e.id = v.id AND v.age >= %b AND NOT e.is_deleted"""

_REACTED = """
INSERT INTO reactions (message_id, user_id, emoji, reacted_at)
SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::timestamptz[]) ON CONFLICT DO NOTHING"""

_UNREACTED = """
DELETE FROM reactions r USING unnest(%b::uuid[], %b::uuid[], %b::text[]) AS f(message_id, user_id, emoji)
WHERE r.message_id = f.message_id AND r.user_id = f.user_id AND r.emoji = f.emoji"""


@dataclass(slots=True)
class _Target:
    """A message that edits and reactions of a batch are for; the fields follow what is decided."""

    id: UUID
    conversation_id: UUID
    sender_id: UUID
    type: str
    is_deleted: bool
    sent_at: datetime
    expires_at: datetime | None
    edit_id: UUID | None
    edits: int
    withheld: bool
    emoji: Counter[str] = field(default_factory=Counter)  # how many users reacted with each

    def is_gone(self, now: datetime) -> bool:
        return self.is_deleted or (self.expires_at is not None and self.expires_at <= now)


class Targets:
    """The targets of one batch."""

    def __init__(self, cursor: psycopg.Cursor[Any], items: "Sequence[NewEntry]") -> None:
        aimed = [item for item in items if item.target is not None]
        self._targets: dict[UUID, _Target] = {}
        self._seen: set[tuple[UUID, UUID]] = set()  # (message, user) where the user may see the message
        self._mine: set[tuple[UUID, UUID, str]] = set()  # (message, user, emoji) of the users who react now
        self._edited: dict[UUID, tuple[UUID, datetime]] = {}
        self._reacted: dict[tuple[UUID, UUID, str], datetime | None] = {}  # when; None: no longer
        if not aimed:
            return
        ids = sorted({item.target for item in aimed if item.target is not None})
        cursor.execute(_TARGETS, (ids,), prepare=True, binary=True)
        self._targets = {row[0]: _Target(*row) for row in cursor}
        pairs = ([item.target for item in aimed], [item.sender_id for item in aimed])
        cursor.execute(_SEEN, pairs, prepare=True, binary=True)
        self._seen = {(row[0], row[1]) for row in cursor}
        if any(item.type == "reaction" for item in aimed):
            self._read_reactions(cursor, ids, list({item.sender_id for item in aimed}))

    def _read_reactions(self, cursor: psycopg.Cursor[Any], ids: list[UUID], users: list[UUID]) -> None:
        sql = "SELECT message_id, emoji, count(*) FROM reactions WHERE message_id = ANY(%b::uuid[]) GROUP BY 1, 2"
        cursor.execute(sql, (ids,), prepare=True, binary=True)
        for message_id, emoji, count in cursor:
            self._targets[message_id].emoji[emoji] = count
        sql = (
            "SELECT message_id, user_id, emoji FROM reactions WHERE message_id = ANY(%b::uuid[]) AND user_id = ANY(%b)"
        )
        cursor.execute(sql, (ids, users), prepare=True, binary=True)
        self._mine = {(row[0], row[1], row[2]) for row in cursor}

    def decide(self, item: "NewEntry", now: datetime) -> Verdict:
        """Whether an edit or a reaction is appended, changes nothing, or is refused (with which error)."""
        target = self._targets.get(item.target) if item.target is not None else None
        if (
            target is None
            or target.conversation_id != item.conversation_id
            or target.type not in MESSAGES
            or (target.id, item.sender_id) not in self._seen
        ):
            return InvalidTarget()
        return self._decide_edit(item, target, now) if item.type == "edit" else self._decide_reaction(item, target, now)

    @staticmethod
    def _decide_edit(item: "NewEntry", target: _Target, now: datetime) -> Verdict:
        if target.sender_id != item.sender_id:
            return Forbidden("Only its author edits a message.")
        if target.is_gone(now):
            return EditConflict()
        if now - target.sent_at > timedelta(seconds=LIMITS.edit_window_seconds):
            return EditConflict("The time in which this message can be edited is over.")
        if target.edits >= LIMITS.edits_per_message:
            return EditConflict(f"A message can be edited {LIMITS.edits_per_message} times.")
        current = target.edit_id or target.id
        if item.base_id is not None and item.base_id != current:
            return EditConflict("The message was edited meanwhile.", details={"current": str(current)})
        return "append"

    def _decide_reaction(self, item: "NewEntry", target: _Target, now: datetime) -> Verdict:
        if target.is_gone(now):
            return InvalidTarget()
        assert item.emoji is not None
        there = (target.id, item.sender_id, item.emoji) in self._mine
        if there == (not item.remove):
            return "unchanged"
        if item.remove:
            return "append"
        if sum(one[:2] == (target.id, item.sender_id) for one in self._mine) >= LIMITS.reactions_per_user:
            return BadRequest(f"A user has at most {LIMITS.reactions_per_user} reactions to one message.")
        if not target.emoji[item.emoji] and len(+target.emoji) >= LIMITS.reactions_per_message:
            return BadRequest(f"A message has at most {LIMITS.reactions_per_message} different reactions.")
        return "append"

    def is_withheld(self, target_id: UUID) -> bool:
        """Whether a target that was decided for is its sender's alone to see; then so is what is said of it."""
        return self._targets[target_id].withheld

    def expires_at(self, item: "NewEntry") -> datetime | None:
        """When an edit or a reaction expires: with its target, so that an edit never prolongs a ttl."""
        assert item.target is not None
        return self._targets[item.target].expires_at

    def apply(self, item: "NewEntry", sent_at: datetime) -> None:
        """Note what an edit or a reaction that is appended changes."""
        assert item.target is not None
        target = self._targets[item.target]
        if item.type == "edit":
            target.edit_id = item.message_id
            target.edits += 1
            self._edited[target.id] = (item.message_id, sent_at)
            return
        assert item.emoji is not None
        key = (target.id, item.sender_id, item.emoji)
        target.emoji[item.emoji] += -1 if item.remove else 1
        if item.remove:
            self._mine.discard(key)
        else:
            self._mine.add(key)
        self._reacted[key] = None if item.remove else sent_at

    def write(self, cursor: psycopg.Cursor[Any]) -> None:
        """Write what `apply` noted: after the entries are in the log."""
        if self._edited:
            ids = sorted(self._edited)
            edits, times = [self._edited[id_][0] for id_ in ids], [self._edited[id_][1] for id_ in ids]
            cursor.execute(_EDITED, (ids, edits, times), prepare=True)
            many = [id_ for id_ in ids if self._targets[id_].edits >= LIMITS.edit_versions]
            if many:
                cursor.execute(_OLD_VERSIONS, (many, LIMITS.edit_versions), prepare=True)
        removed = [key for key, at in self._reacted.items() if at is None]
        if removed:
            cursor.execute(_UNREACTED, tuple(map(list, zip(*removed, strict=True))), prepare=True)
        added = [(*key, at) for key, at in self._reacted.items() if at is not None]
        if added:
            cursor.execute(_REACTED, tuple(map(list, zip(*added, strict=True))), prepare=True)
