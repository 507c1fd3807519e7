"""What a device holds of the log, as it comes: from pushes, from `sync`, and from the replies to its own sends."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.live.client import Client


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def assert_free(answer: Any, forbidden: set[str]) -> None:
    """Nothing that is gone for its reader is anywhere in what they get."""
    text = json.dumps(answer)
    found = [secret for secret in forbidden if secret in text]
    assert not found, (found, answer)


@dataclass
class Connection:
    """One socket of a device: from where it was to be served, what was forbidden when it joined."""

    client: Client
    start: int
    forbidden: set[str]
    own: set[int] = field(default_factory=set)  # seqs that this socket sent: their replies tell them, no push does
    binary: bool = False  # entries come, and are sent, in binary frames
    cleared: int = 0  # entries that were acknowledged because the window was full


@dataclass
class Device:
    """One device: the log as it holds it, from pushes and from the replies to its own sends."""

    user: int
    number: int
    id: UUID
    log: dict[int, dict[str, Any]] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    connections: list[Connection] = field(default_factory=list)
    online: bool = False
    revoked: bool = False
    rekeyed: int = 0  # how often it got another key
    taken: int = 0  # of the present connection's pushes

    @property
    def client(self) -> Client:
        return self.connections[-1].client

    def absorbed(self) -> "Device":
        """Itself, with what came."""
        self.absorb()
        return self

    def absorb(self) -> None:
        """Take what came: a repeat must be the same entry, its content at most gone."""
        if not self.connections:
            return
        pushes = self.client.pushes
        while self.taken < len(pushes):
            push = pushes[self.taken]
            self.taken += 1
            assert push.event not in ("resync_required", "phx_error", "phx_close"), push
            if push.event == "personal_update" and push.payload["kind"] == "hidden":
                self.hidden.update(push.payload["messageIds"])
            elif push.event == "new_message":
                self.hold(push.payload)

    def hold(self, entry: dict[str, Any]) -> None:
        known = self.log.setdefault(entry["seq"], entry)
        if known is not entry:
            for name in known.keys() - {"content", "metadata", "signature", "mediaId", "expiresAt", "ttlAfterRead"}:
                assert entry[name] == known[name], (name, known, entry)
            assert entry["content"] in ("", known["content"]), (known, entry)
            assert entry["mediaId"] in (None, known["mediaId"]), (known, entry)
