"""What the model is made of: entries, members, refusals."""

from dataclasses import dataclass, field
from typing import Any

MESSAGES = ("text", "media", "ephemeral")
MANAGERS = ("owner", "admin")
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
    media_id: str | None = None
    target: "Item | None" = None
    reply_to: "Item | None" = None
    recipients: frozenset[int] = frozenset()
    delivered_to: set[int] = field(default_factory=set)  # who got it while it was there
    read_by: set[int] = field(default_factory=set)  # who read it and let its sender know
    message_id: str | None = None
    sent_at: str | None = None
    expires_at: str | None = None
    expiry_moved: bool = False  # expires_at is no longer what was said at the sending
    ttl: bool = False
    ttl_after_read: int | None = None  # waits for its first reading
    due: bool = False  # its time is over, whatever the worker did
    erased_by: "Item | None" = None
    had: frozenset[tuple[int, int]] = frozenset()  # (user, device) that it had reached when it was erased
    perhaps: frozenset[tuple[int, int]] = frozenset()  # of these, what may have come a moment too late
    silent: bool = False  # erased, and nobody told
    withheld: bool = False  # its sender is blocked: nobody else ever sees it
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
    shared: list[tuple[int, int]] = field(default_factory=list)  # what they may see of before they came
    role: str = "member"
    delivered: int = 0
    read: int = 0
    public: int = 0  # up to where they read and let others know
    tells: bool = True  # their own setting
    settings: dict[str, Any] | None = None  # of the conversation, as this user alone chose them while blocked
    changes: int = 0  # of their devices: came, went, got another key
    hidden: set[int] = field(default_factory=set)  # seqs of messages deleted for this user

    @property
    def is_member(self) -> bool:
        return bool(self.spans) and self.spans[-1][1] is None

    def sees(self, seq: int) -> bool:
        return any(first <= seq and (last is None or seq <= last) for first, last in [*self.spans, *self.shared])
