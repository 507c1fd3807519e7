"""Handing pushes to the notification service: what became of each, whatever the service does (specification §9.3)."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Literal, NamedTuple

from delivery.events import Push, PushOutcome
from integrations import notification_service
from whispr.kernel.errors import TemporaryUnavailable, Timeout, WhisprError
from whispr.kernel.limits import LIMITS

log = logging.getLogger(__name__)


class Result(NamedTuple):
    """What became of one push: `outcome` where the service answered, `reason` where it refused.

    `unavailable`: it was not taken. `unknown`: it may have been.
    """

    state: Literal["accepted", "refused", "unavailable", "unknown"]
    outcome: PushOutcome | None = None
    reason: str = ""


async def pushes_hand_over(pushes: Sequence[Push]) -> list[Result]:
    """What became of each, in their order. Never raises.

    A request that is refused as a whole is tried push by push, so that one costs only itself.
    """
    try:
        return await _call(pushes)
    except (TemporaryUnavailable, Timeout) as error:
        return [_failure(error)] * len(pushes)
    except Exception as error:
        if len(pushes) == 1:
            return [_failure(error)]
        log.warning("Pushes are sent one by one: %s", type(error).__name__)
    ends = asyncio.get_running_loop().time() + LIMITS.push_lease_seconds / 2
    results: list[Result] = []
    for push in pushes:
        if asyncio.get_running_loop().time() > ends or (results and results[-1].state in ("unavailable", "unknown")):
            results.append(Result("unavailable"))
            continue
        try:
            results += await _call([push])
        except Exception as error:
            results.append(_failure(error))
    return results


async def _call(pushes: Sequence[Push]) -> list[Result]:
    outcomes = {one.key: one for one in await notification_service().send_push_notifications(pushes)}
    found: list[Result] = []
    for push in pushes:
        outcome = outcomes.get(push.key)
        if outcome is None:
            found.append(Result("unknown"))
        else:
            found.append(Result("accepted" if outcome.accepted else "refused", outcome, outcome.reason or "refused"))
    return found


def _failure(error: Exception) -> Result:
    if isinstance(error, TemporaryUnavailable):
        return Result("unavailable")
    if isinstance(error, Timeout):
        return Result("unknown")
    if not isinstance(error, WhisprError):
        log.error("A push failed: %s", type(error).__name__)
    return Result("refused", None, error.code if isinstance(error, WhisprError) else "internal_error")
