"""What a conversation must be after each operation, in plain Python: the model that the server is compared with.

It knows nothing of locks, cursors, rows or frames. docs/protocol.md §2-§4 says what it does. People are 0, 1, 2 …;
user 0 is the owner. Operations come one after the other, so every outcome is known beforehand, the error's code
included.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MESSAGES = ("text", "media", "ephemeral")
# docs/protocol.md: ten versions are kept, the original among them.
EDITS_KEPT = 9
NOBODY = -1


class Refused(Exception):
    """The operation is refused with this code, and changes nothing."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(eq=False)
class Item:
    """One entry of the log. What the server decides (id, times) is filled in when it is first seen."""

    seq: int
    type: str
    sender: int
    device: int | None = None  # of the sender
    content: bytes = b""
    metadata: dict[str, Any] = field(default_factory=dict)
    client_random: int | None = None
    target: "Item | None" = None
    reply_to: "Item | None" = None
    recipients: frozenset[int] = frozenset()
    message_id: str | None = None
    sent_at: str | None = None
    expires_at: str | None = None
    expiry_moved: bool = False  # expires_at is no longer what was said at the sending
    ttl: bool = False
    ttl_after_read: int | None = None  # waits for its first reading
    due: bool = False  # its time is over, whatever the worker did
    erased_by: "Item | None" = None
    pruned: bool = False  # an edit that is no longer among the versions kept

    @property
    def root(self) -> "Item":
        """The message that this entry is about: its target, or itself."""
        return self.target or self

    @property
    def gone(self) -> bool:
        """Nobody reads its content any more."""
        return self.root.due or self.root.erased_by is not None or self.pruned

    @property
    def live(self) -> bool:
        """A message that can be changed."""
        return self.type in MESSAGES and not self.gone


@dataclass
class Member:
    """One user of the conversation: the spans in which they were a member, and how far they are."""

    spans: list[tuple[int, int | None]] = field(default_factory=list)
    delivered: int = 0
    read: int = 0
    hidden: set[int] = field(default_factory=set)  # seqs of messages deleted for this user

    @property
    def is_member(self) -> bool:
        return bool(self.spans) and self.spans[-1][1] is None

    def sees(self, seq: int) -> bool:
        return any(first <= seq and (last is None or seq <= last) for first, last in self.spans)


class Reference:
    """One group."""

    def __init__(self, users: int, devices: int, members: list[int]) -> None:
        self.items: list[Item] = []
        self.users = [Member() for _ in range(users)]
        self.acked = {(user, device): 0 for user in range(users) for device in range(devices)}
        self.version = 1
        # Of a message's seq: (user, emoji, seq of the entry) as they came.
        self.reactions: dict[int, list[tuple[int, str, int]]] = {}
        for user in members:
            self.users[user].spans.append((1, None))
        self._system(0, "conversation_created", by=0, userIds=members)

    # --- looking

    @property
    def head(self) -> int:
        return len(self.items)

    @property
    def members(self) -> frozenset[int]:
        return frozenset(number for number, user in enumerate(self.users) if user.is_member)

    @property
    def messages(self) -> list[Item]:
        return [item for item in self.items if item.type in MESSAGES]

    def visible(self, user: int) -> Iterator[Item]:
        """What the user may see of the log."""
        return (item for item in self.items if self.users[user].sees(item.seq))

    def hides(self, user: int, item: Item) -> bool:
        return item.root.seq in self.users[user].hidden

    def blank(self, user: int, item: Item) -> bool:
        """Whether the user reads an empty place there."""
        return item.gone or self.hides(user, item)

    def last_edit(self, user: int, message: Item) -> Item | None:
        """The latest edit of a live message that the user may see."""
        edits = [item for item in self.visible(user) if item.target is message and item.type == "edit"]
        return edits[-1] if edits and not message.gone and not edits[-1].gone else None

    def reacted(self, user: int, message: Item) -> dict[str, list[int]]:
        """The reactions to a message that the user may see, as they came: the emoji and its users."""
        found: dict[str, list[int]] = {}
        for who, emoji, seq in self.reactions.get(message.seq, ()):
            # One that came while the user was away is theirs to see no more than any entry of that time.
            if self.users[user].sees(seq) and not message.gone:
                found.setdefault(emoji, []).append(who)
        return found

    def unread(self, user: int) -> int:
        member = self.users[user]
        after = max(member.read, member.spans[-1][0] - 1)
        return sum(item.live and item.sender != user and item.seq > after for item in self.items)

    def status(self, message: Item, recipient: int) -> str:
        member = self.users[recipient]
        return "read" if member.read >= message.seq else "delivered" if member.delivered >= message.seq else "sent"

    def erasure(self, message: Item) -> tuple[int, int]:
        """On how many of the recipients' devices a message was, and of how many it is known to be gone."""
        reached = [
            acked
            for (user, _), acked in self.acked.items()
            if user != message.sender and acked >= message.seq and self.users[user].sees(message.seq)
        ]
        by = message.erased_by
        return len(reached), sum(by is not None and acked >= by.seq for acked in reached)

    # --- changing

    def _append(self, item: Item) -> Item:
        assert item.seq == self.head + 1
        self.items.append(item)
        return item

    def _system(self, sender: int, event: str, **details: Any) -> Item:
        return self._append(Item(self.head + 1, "system", sender, metadata={"event": event, **details}))

    def access(self, user: int) -> None:
        if not self.users[user].is_member:
            raise Refused("not_found")

    def place(self, user: int, message: Item) -> None:
        """What an edit or a reaction asks first."""
        if not self.users[user].sees(message.seq) or self.hides(user, message):
            raise Refused("not_found")

    def send(self, user: int, device: int, content: bytes, reply_to: Item | None = None, **fields: Any) -> Item:
        self.access(user)
        if reply_to is not None and not (reply_to.live and self.users[user].sees(reply_to.seq)):
            raise Refused("invalid_target")
        recipients = self.members - {user}
        return self._append(
            Item(self.head + 1, "text", user, device, content, reply_to=reply_to, recipients=recipients, **fields)
        )

    def edit(self, user: int, device: int, message: Item, content: bytes, **fields: Any) -> Item:
        self.place(user, message)
        self.access(user)
        if message.sender != user:
            raise Refused("forbidden")
        if message.gone:
            raise Refused("edit_conflict")
        item = self._append(Item(self.head + 1, "edit", user, device, content, target=message, **fields))
        edits = [one for one in self.items if one.target is message and one.type == "edit"]
        for old in edits[:-EDITS_KEPT]:
            old.pruned = True
        return item

    def react(self, user: int, device: int, message: Item, emoji: str, remove: bool, **fields: Any) -> Item | None:
        """None where it changes nothing."""
        self.place(user, message)
        self.access(user)
        if message.gone:
            raise Refused("invalid_target")
        mine = self.reactions.setdefault(message.seq, [])
        there = [one for one in mine if one[:2] == (user, emoji)]
        if bool(there) is not remove:
            return None
        metadata = {"emoji": emoji, "remove": remove}
        item = self._append(Item(self.head + 1, "reaction", user, device, metadata=metadata, target=message, **fields))
        if remove:
            mine.remove(there[0])
        else:
            mine.append((user, emoji, item.seq))
        return item

    def delete(self, user: int, message: Item) -> Item | None:
        """For everyone; None where it is erased already."""
        if not self.users[user].sees(message.seq):
            raise Refused("not_found")
        self.access(user)
        if message.sender != user:
            raise Refused("forbidden")
        if message.erased_by is not None:
            return None
        message.erased_by = self._system(user, "message_deleted", messageId=message, by=user)
        return message.erased_by

    def hide(self, user: int, message: Item) -> None:
        if not self.users[user].sees(message.seq):
            raise Refused("not_found")
        self.users[user].hidden.add(message.seq)

    def expire(self) -> Item | None:
        """The worker erases what is due."""
        due = [item for item in self.messages if item.due and item.erased_by is None]
        if not due:
            return None
        entry = self._system(NOBODY, "message_expired", messageIds=due)
        for item in due:
            item.erased_by = entry
        return entry

    def add(self, by: int, user: int) -> Item | None:
        self.access(by)
        if by != 0:
            raise Refused("forbidden")
        if self.users[user].is_member:
            return None
        entry = self._system(by, "member_added", by=by, userIds=[user])
        self.users[user].spans.append((entry.seq, None))
        self.version += 1
        return entry

    def remove(self, by: int, user: int) -> Item:
        """By the owner, or oneself."""
        self.access(by)
        if by not in (0, user):
            raise Refused("forbidden")
        self.access(user)
        entry = self._system(by, "member_removed", by=by, userIds=[user])
        spans = self.users[user].spans
        spans[-1] = (spans[-1][0], entry.seq)
        self.version += 1
        return entry

    def acknowledge(self, user: int, device: int, up_to: int, *, read: bool) -> None:
        member = self.users[user]
        if not member.spans:
            raise Refused("not_found")
        self.acked[(user, device)] = max(self.acked[(user, device)], up_to)
        member.delivered = max(member.delivered, up_to)
        if read and up_to > member.read:
            for item in self.visible(user):
                waits = item.ttl_after_read is not None and item.erased_by is None
                if member.read < item.seq <= up_to and waits and item.sender != user:
                    item.ttl_after_read, item.expiry_moved = None, True
                    item.expires_at = None
            member.read = up_to
