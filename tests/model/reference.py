"""What a conversation must be after each operation, in plain Python: the model that the server is compared with.

It knows nothing of locks, cursors, rows or frames. docs/protocol.md §2-§4 says what it does. People are 0, 1, 2 …, in
the order of their ids; user 0 made the group. Operations come one after the other, so every outcome is known
beforehand, the error's code included.
"""

from collections.abc import Iterator
from typing import Any

from tests.model.items import EDITS_KEPT, MANAGERS, MESSAGES, NOBODY, Item, Member, Refused


class Reference:
    """One group, or one direct conversation of users 0 and 1."""

    def __init__(self, users: int, devices: int, members: list[int], *, direct: bool = False) -> None:
        self.direct = direct
        # Who blocks whom, and how far each of the two had received when it began.
        self.blocks: dict[tuple[int, int], dict[int, int]] = {}
        self.items: list[Item] = []
        self.users = [Member() for _ in range(users)]
        self.acked = {(user, device): 0 for user in range(users) for device in range(devices)}
        self.version = 1
        self.settings: dict[str, Any] = {}
        if not direct:
            self.users[0].role = "owner"
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

    def is_blocked(self, user: int) -> bool:
        return self.direct and any(blocked == user for _, blocked in self.blocks)

    @staticmethod
    def shut(user: int, item: Item) -> bool:
        """Whether something else stands in an entry's place for this user."""
        return item.withheld and item.sender != user

    def settings_of(self, user: int) -> dict[str, Any]:
        own = self.users[user].settings
        return self.settings if own is None else own

    def delivered_shown(self, viewer: int, user: int) -> int:
        """How far a user received, as another is shown it: while a block stands, as far as when it began."""
        frozen = [block[user] for block in self.blocks.values()] if self.direct and viewer != user else []
        return min([self.users[user].delivered, *frozen])

    def hides(self, user: int, item: Item) -> bool:
        return item.root.seq in self.users[user].hidden

    def blank(self, user: int, item: Item) -> bool:
        """Whether the user reads an empty place there."""
        return item.gone or self.hides(user, item)

    def last_edit(self, user: int, message: Item) -> Item | None:
        """The latest edit of a live message that the user may see."""
        edits = [
            item
            for item in self.visible(user)
            if item.target is message and item.type == "edit" and not self.shut(user, item)
        ]
        return edits[-1] if edits and not message.gone and not edits[-1].gone else None

    def reacted(self, user: int, message: Item) -> dict[str, list[int]]:
        """The reactions to a message that the user may see, as they came: the emoji and its users."""
        found: dict[str, list[int]] = {}
        for who, emoji, seq in self.reactions.get(message.seq, ()):
            # One that came while the user was away is theirs to see no more than any entry of that time.
            if self.users[user].sees(seq) and not message.gone and not self.shut(user, self.items[seq - 1]):
                found.setdefault(emoji, []).append(who)
        return found

    def unread(self, user: int) -> int:
        member = self.users[user]
        after = max(member.read, member.spans[-1][0] - 1)
        return sum(
            item.live
            and item.sender != user
            and item.seq > after
            and item.seq not in member.hidden
            and not item.withheld
            for item in self.items
        )

    def status(self, message: Item, recipient: int) -> str:
        if recipient not in message.delivered_to:
            return "expired" if message.gone else "pending"
        return "read" if recipient in message.read_by and self.tells(message.sender) else "delivered"

    def tells(self, user: int) -> bool:
        """Whether a user tells here what they read; who does not, does not learn."""
        return self.users[user].tells and self.settings_of(user).get("readReceipts") is not False

    def erasures(self, message: Item) -> set[tuple[int, int]]:
        """On how many of the recipients' devices a message was, and of how many it is known to be gone: what it may be,
        where an acknowledgement and the deletion came at once."""
        by = message.erased_by
        if by is None:
            return {(len(self.reached(message)), 0)}
        found = (message.had, message.had - message.perhaps)
        return {(len(had), sum(self.acked[device] >= by.seq for device in had)) for had in found}

    def reached(self, message: Item) -> frozenset[tuple[int, int]]:
        """The recipients' devices that acknowledged a message's place by now."""
        return frozenset(
            (user, device)
            for (user, device), acked in self.acked.items()
            if user != message.sender and acked >= message.seq and self.users[user].sees(message.seq)
            if not message.withheld
        )

    def _erase(self, message: Item, entry: Item) -> None:
        message.had = self.reached(message)
        message.erased_by = entry

    # --- changing

    def _append(self, item: Item, withheld: bool = False) -> Item:
        assert item.seq == self.head + 1
        item.withheld = withheld
        self.items.append(item)
        return item

    def _system(self, sender: int, event: str, **details: Any) -> Item:
        return self._append(Item(self.head + 1, "system", sender, metadata={"event": event, **details}))

    def access(self, user: int) -> None:
        if not self.users[user].is_member:
            raise Refused("not_found")

    def place(self, user: int, message: Item) -> None:
        """What an edit or a reaction asks first."""
        if not self.users[user].sees(message.seq) or self.hides(user, message) or self.shut(user, message):
            raise Refused("not_found")

    def send(self, user: int, device: int, content: bytes, reply_to: Item | None = None, **fields: Any) -> Item:
        self.access(user)
        if reply_to is not None and not (
            reply_to.live and self.users[user].sees(reply_to.seq) and not self.shut(user, reply_to)
        ):
            raise Refused("invalid_target")
        recipients = self.members - {user}
        kind = "text" if fields.get("media_id") is None else "media"
        return self._append(
            Item(self.head + 1, kind, user, device, content, reply_to=reply_to, recipients=recipients, **fields),
            self.is_blocked(user),
        )

    def edit(self, user: int, device: int, message: Item, content: bytes, **fields: Any) -> Item:
        self.place(user, message)
        self.access(user)
        if message.sender != user:
            raise Refused("forbidden")
        if message.gone:
            raise Refused("edit_conflict")
        withheld = message.withheld or self.is_blocked(user)
        item = self._append(Item(self.head + 1, "edit", user, device, content, target=message, **fields), withheld)
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
        item = self._append(
            Item(self.head + 1, "reaction", user, device, metadata=metadata, target=message, **fields),
            message.withheld or self.is_blocked(user),
        )
        if remove:
            mine.remove(there[0])
        else:
            mine.append((user, emoji, item.seq))
        return item

    def delete(self, user: int, message: Item) -> Item | None:
        """For everyone; None where it is erased already."""
        if not self.users[user].sees(message.seq) or self.shut(user, message):
            raise Refused("not_found")
        self.access(user)
        if message.sender != user:
            raise Refused("forbidden")
        if message.erased_by is not None or message.silent:
            return None
        entry = self._system(user, "message_deleted", messageId=message, by=user)
        entry.withheld = message.withheld
        self._erase(message, entry)
        return entry

    def hide(self, user: int, message: Item) -> None:
        if not self.users[user].sees(message.seq) or self.shut(user, message):
            raise Refused("not_found")
        self.users[user].hidden.add(message.seq)

    def expire(self) -> Item | None:
        """The worker erases what is due."""
        due = [item for item in self.messages if item.due and item.erased_by is None and not item.silent]
        for item in due:
            item.silent = item.withheld  # it goes without a word
        due = [item for item in due if not item.silent]
        if not due:
            return None
        entry = self._system(NOBODY, "message_expired", messageIds=due)
        for item in due:
            self._erase(item, entry)
        return entry

    def add(self, by: int, user: int) -> Item | None:
        self.access(by)
        if self.users[by].role not in MANAGERS:
            raise Refused("forbidden")
        member = self.users[user]
        if member.is_member:
            return None
        shared = {"sharedHistory": True} if self.settings.get("sharedHistory") is True else {}
        entry = self._system(by, "member_added", by=by, userIds=[user], **shared)
        if shared:
            member.shared.append((1, entry.seq - 1))
        member.spans.append((entry.seq, None))
        member.role = "member"
        self.version += 1
        return entry

    def may_remove(self, by: int, user: int) -> bool:
        roles = self.users[by].role, self.users[user].role
        return by == user or roles[0] == "owner" or roles == ("admin", "member")

    def remove(self, by: int, user: int) -> Item:
        """By who may, or oneself; an owner who leaves hands over before."""
        self.access(by)
        if by != user and self.users[by].role not in MANAGERS:
            raise Refused("forbidden")
        self.access(user)
        if not self.may_remove(by, user):
            raise Refused("forbidden")
        if self.users[user].role == "owner":
            others = sorted(
                self.members - {user},
                key=lambda one: (self.users[one].role != "admin", self.users[one].spans[-1][0], one),
            )
            if others:
                self._roles(user, {others[0]: "owner"})
        entry = self._system(by, "member_removed", by=by, userIds=[user])
        spans = self.users[user].spans
        spans[-1] = (spans[-1][0], entry.seq)
        self.version += 1
        return entry

    def _roles(self, by: int, roles: dict[int, str]) -> Item:
        for user, role in roles.items():
            self.users[user].role = role
        return self._system(by, "conversation_updated", by=by, roles=roles)

    def set_role(self, by: int, user: int, role: str) -> Item | None:
        """The owner's to do; who makes another the owner becomes an admin."""
        self.access(by)
        if self.users[by].role != "owner":
            raise Refused("forbidden")
        self.access(user)
        if self.users[user].role == role:
            return None
        if by == user:
            raise Refused("forbidden")
        return self._roles(by, {user: role} | ({by: "admin"} if role == "owner" else {}))

    def update(self, by: int, **change: Any) -> Item | None:
        """Change the conversation's settings; None removes one."""
        self.access(by)
        if not self.direct and self.users[by].role not in MANAGERS:
            raise Refused("forbidden")
        own, withheld = self.users[by].settings, self.is_blocked(by)
        before = self.settings_of(by)
        after = {key: value for key, value in (before | change).items() if value is not None}
        if after == before and (own is None or withheld):
            return None
        if withheld:
            self.users[by].settings = after
            entry = self._system(by, "conversation_updated", by=by, settings=after)
            entry.withheld = True
            return entry
        for user in self.users:
            user.settings = None
        if (
            not self.direct
            and self.users[by].role != "owner"
            and after.get("sharedHistory") != self.settings.get("sharedHistory")
        ):
            raise Refused("forbidden")
        self.settings = after
        return self._system(by, "conversation_updated", by=by, settings=after)

    def block(self, by: int, on: bool) -> None:
        """Of the two, one blocks the other, or no longer does."""
        if on:
            self.blocks.setdefault((by, 1 - by), {user: self.users[user].delivered for user in (0, 1)})
        else:
            self.blocks.pop((by, 1 - by), None)

    def retire(self, user: int, device: int, number: int) -> None:
        """A device was revoked, and another one is there in its place; what it acknowledged stays known of it."""
        self.acked[(user, number)] = self.acked.pop((user, device))
        self.acked[(user, device)] = 0
        for item in self.items:
            item.had = frozenset((user, number) if one == (user, device) else one for one in item.had)
            if (item.sender, item.device) == (user, device):
                item.device = number
        self.users[user].changes += 1

    def acknowledge(self, user: int, device: int, up_to: int, *, read: bool) -> None:
        member = self.users[user]
        if not member.spans:
            raise Refused("not_found")
        self.acked[(user, device)] = max(self.acked[(user, device)], up_to)
        hushed = self.direct and bool(self.blocks)  # neither learns of the other: then, or afterwards
        for item in self.items[member.delivered : up_to]:
            if not item.gone and not item.withheld and not hushed:
                item.delivered_to.add(user)
        member.delivered = max(member.delivered, up_to)
        if read and up_to > member.read:
            for item in self.visible(user):
                waits = item.ttl_after_read is not None and item.erased_by is None and not item.withheld
                if member.read < item.seq <= up_to and waits and item.sender != user:
                    item.ttl_after_read, item.expiry_moved = None, True
                    item.expires_at = None
            if self.tells(user) and not hushed:
                # What was read while it was not told stays so.
                for item in self.items[member.read : up_to]:
                    if user in item.delivered_to and self.users[item.sender].tells:
                        item.read_by.add(user)
                member.public = max(member.public, up_to)
            member.read = up_to
