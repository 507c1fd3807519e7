"""When to look for pushes: soon after a send, and soon after a socket left something unacknowledged."""

from collections.abc import Iterable
from uuid import UUID

from delivery.store.push_settle import pushes_arm
from whispr.kernel import database
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop
from whispr.kernel.nudges import Bell

TASK = "delivery.tasks.send_pushes"
# A moment after the grace, so that what was committed first is due for sure.
MARGIN_SECONDS = 0.2

_bells: PerLoop[Bell] = PerLoop(lambda: Bell(TASK, LIMITS.push_grace_seconds + MARGIN_SECONDS))


def pushes_soon() -> None:
    """Messages were committed: who does not acknowledge them within the grace is pushed to. Never waits."""
    _bells.get().ring()


async def pushes_rearm(user_ids: Iterable[UUID]) -> None:
    """Sockets of these users closed: what they left unacknowledged is looked at after a grace, in which they may come
    back. Raises what `database.run` raises; then it is looked at at its next round, within seconds.
    """
    if await database.run(pushes_arm, list(user_ids), LIMITS.push_grace_seconds):
        _bells.get().ring()
