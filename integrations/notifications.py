"""What the core asks of a notification service: tell these users that something waits (specification §9.3)."""

from collections.abc import Sequence
from typing import Protocol

from delivery.events import Push, PushOutcome

# Nobody waits for it but the worker; a service that hangs holds one of its threads for so long.
SECONDS = 5.0
# The dispatcher never gives more at once: about 100 KB with the tokens.
PUSHES_MAX = 100


class NotificationService(Protocol):
    """A notification service. It takes each `Push.key` once: to send it again after an unknown outcome is safe."""

    async def send_push_notifications(self, pushes: Sequence[Push], *, seconds: float = SECONDS) -> list[PushOutcome]:
        """Hand over at most PUSHES_MAX pushes; what became of each, in their order.

        The preview is always empty; nothing goes out but ids, count and badge. Raises TemporaryUnavailable where
        nothing was taken, at once while the service's breaker is open; Timeout where the outcome is unknown, and the
        same keys have to be used again; BadRequest where the service is well and refuses the request as such.
        """
