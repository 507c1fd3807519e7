"""One conversation's presence as one process shows it, in Phoenix's form. No I/O."""

import logging
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from messaging.store.presence import SOCKETS_MAX, PresentSocket
from whispr.kernel.limits import LIMITS

log = logging.getLogger(__name__)

# Sockets that left and are remembered, for each conversation.
LEFT_MAX = 4_096


class Watcher(Protocol):
    """A socket that joined a conversation's topic."""

    def on_presence(self, payload: bytes) -> None:
        """The payload of `presence_diff`: `{"joins": {…}, "leaves": {…}}`."""


class _Meta(msgspec.Struct, rename="camel"):
    phx_ref: str = msgspec.field(name="phx_ref")
    device_id: UUID
    online_at: datetime


class _Metas(msgspec.Struct):
    metas: list[_Meta]


def _by_user(sockets: Iterable[PresentSocket]) -> dict[str, _Metas]:
    """Phoenix's form: `{userId: {"metas": [{"phx_ref", "deviceId", "onlineAt"}]}}`, longest present first."""
    users: dict[str, _Metas] = {}
    for socket in sorted(sockets, key=lambda socket: socket.online_at_ms):
        user = users.setdefault(str(socket.user_id), _Metas([]))
        user.metas.append(_Meta(phx_ref=socket.phx_ref, device_id=socket.device_id, online_at=socket.online_at))
    return users


class Room:
    """One conversation, as this process shows it. Sockets are named by their packed form, the member."""

    def __init__(self) -> None:
        self.own: dict[Watcher, bytes | None] = {}  # this process's watchers; None: over a bound, watches only
        self.told: set[Watcher] = set()  # those that have their first state, and are told what changes
        self.view: dict[bytes, PresentSocket] = {}
        self.since: dict[bytes, float] = {}  # when it came into the view
        self.sockets: Counter[UUID] = Counter()  # of each user in the view
        self.left: dict[bytes, float] = {}  # who left, and when: a reference never comes back
        self._joins: dict[bytes, PresentSocket] = {}
        self._leaves: dict[bytes, PresentSocket] = {}
        self._state: bytes | None = None

    def join(self, member: bytes, now: float) -> bool:
        """Show a socket. False if it is shown already, left, or is not to be shown."""
        if member in self.view or member in self.left or len(self.view) >= SOCKETS_MAX:
            return False
        socket = PresentSocket.unpack(member)
        if socket is None:
            return False
        self.view[member] = socket
        self.sockets[socket.user_id] += 1
        self.since[member] = now
        if self._leaves.pop(member, None) is None:
            self._joins[member] = socket
        self._state = None
        return True

    def leave(self, member: bytes) -> bool:
        """Show a socket no longer. False if it was not shown."""
        socket = self.view.pop(member, None)
        if socket is None:
            return False
        self.since.pop(member, None)
        self.sockets[socket.user_id] -= 1
        if not self.sockets[socket.user_id]:
            del self.sockets[socket.user_id]
        if self._joins.pop(member, None) is None:
            self._leaves[member] = socket
        self._state = None
        return True

    def say_goodbye(self, member: bytes, now: float) -> bool:
        """`leave()`, for good: what Redis may still say of this socket is old."""
        self.left[member] = now
        if len(self.left) > LEFT_MAX:
            del self.left[next(iter(self.left))]
        return self.leave(member)

    def shows_enough_of(self, user_id: UUID) -> bool:
        """Whether one more socket of the user would be over a bound."""
        return self.sockets[user_id] >= LIMITS.sockets_per_user or len(self.view) >= SOCKETS_MAX

    def tell(self) -> None:
        """Tell the watchers what changed since they were last told."""
        joins, leaves = self._joins, self._leaves
        if not joins and not leaves:
            return
        self._joins, self._leaves = {}, {}
        if not self.told:
            return
        payload = msgspec.json.encode({"joins": _by_user(joins.values()), "leaves": _by_user(leaves.values())})
        for watcher in tuple(self.told):
            try:
                watcher.on_presence(payload)
            except Exception:
                log.exception("A socket failed to take a presence_diff")

    def state(self) -> bytes:
        """The payload of `presence_state`."""
        if self._state is None:
            self._state = msgspec.json.encode(_by_user(self.view.values()))
        return self._state
