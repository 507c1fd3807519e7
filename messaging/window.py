"""How much one socket may be given before it acknowledges."""

from whispr.kernel.limits import LIMITS


class Window:
    """The unacknowledged entries of one socket, over all its subscriptions (docs/architecture.md "The way of a
    message")."""

    __slots__ = ("bytes", "count")

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0

    @property
    def is_open(self) -> bool:
        """Whether another entry fits."""
        return self.count < LIMITS.window_entries and self.bytes < LIMITS.window_bytes
