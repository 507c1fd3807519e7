"""The notification service's local answer: a bounded log of the pushes that would have gone out, for staff."""

import asyncio
from collections.abc import Sequence

from delivery.events import Push, PushOutcome
from delivery.store.push_log import push_log_insert
from integrations.notifications import SECONDS
from whispr.kernel import database
from whispr.kernel.errors import Timeout
from whispr.kernel.limits import LIMITS


class LocalNotifications:
    """`NotificationService` from this system's own table `push_log`, which keeps LIMITS.push_log_max rows."""

    async def send_push_notifications(self, pushes: Sequence[Push], *, seconds: float = SECONDS) -> list[PushOutcome]:
        """As `NotificationService` says: everything is accepted; a key that is there already is not noted again."""
        try:
            async with asyncio.timeout(seconds):
                await database.run(push_log_insert, pushes, LIMITS.push_log_max)
        except TimeoutError:
            raise Timeout from None
        return [PushOutcome(key=push.key, accepted=True) for push in pushes]
