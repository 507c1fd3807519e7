"""How much one user may ask for: sends, acknowledgements, typing signs, each with a rate of its own (docs/protocol.md
"Limits").

Sends are counted in Redis, over all sockets, devices, routes and processes, exactly: the 101st within any 60 seconds
is refused. Each process also remembers what it granted itself. That refuses a flood without asking Redis, and is what
counts when Redis is away: then a user has the limit once for each process. A resend of the same message counts like
any other: whether it is one is known only after the database was asked, which is what the rate protects.
"""

import math
import threading
import time
from array import array
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Sequence
from typing import Literal
from uuid import UUID

from trust.store.quota import WINDOW_SECONDS, sends_take
from whispr.kernel import telemetry
from whispr.kernel.errors import Overloaded, RateLimited
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop
from whispr.kernel.redis import RedisAway, RedisBatch, RedisLink

Kind = Literal["send", "ack", "typing", "react", "delete"]

# As many as a process has sockets; whoever sent longest ago is forgotten first. 100 times of 8 bytes each are 16 MB.
USERS_MAX = 20_000


class SendWindows:
    """What this process granted: the times of each user's last `limit` sends, as in Redis. Safe between threads."""

    def __init__(self, users_max: int = USERS_MAX) -> None:
        self._users_max = users_max
        self._times: OrderedDict[UUID, array[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, user_id: UUID, limit: int) -> float:
        """Seconds until one more send fits; 0 when it does now."""
        with self._lock:
            times = self._times.get(user_id)
            if times is None or len(times) < limit:
                return 0.0
            return max(0.0, times[-limit] + WINDOW_SECONDS - time.monotonic())

    def add(self, user_id: UUID, limit: int, at: float) -> None:
        """Note a send granted at `at` (time.monotonic())."""
        with self._lock:
            times = self._times.get(user_id)
            if times is None:
                times = self._times[user_id] = array("d")
                if len(self._times) > self._users_max:
                    self._times.popitem(last=False)
            else:
                self._times.move_to_end(user_id)
            times.append(at)
            if len(times) > limit:
                del times[: len(times) - limit]

    def take(self, user_id: UUID, limit: int) -> float:
        """Grant one here if it fits: 0, or the seconds until it does."""
        seconds = self.wait(user_id, limit)
        if seconds == 0:
            self.add(user_id, limit, time.monotonic())
        return seconds


class Buckets:
    """A bucket of `limit` tokens for each user that fills in a minute, in this process alone. Safe between threads."""

    def __init__(self, users_max: int = USERS_MAX) -> None:
        self._users_max = users_max
        self._full_at: OrderedDict[UUID, float] = OrderedDict()  # when the user's bucket is full again
        self._lock = threading.Lock()

    def take(self, user_id: UUID, limit: int) -> float:
        """Take a token: 0, or, when there is none, the seconds until there is one."""
        now = time.monotonic()
        with self._lock:
            full_at = max(now, self._full_at.get(user_id, now)) + WINDOW_SECONDS / limit
            # A millionth of a second of rounding must not cost the last token.
            seconds = full_at - now - WINDOW_SECONDS
            if seconds > 1e-6:
                return seconds
            self._full_at[user_id] = full_at
            self._full_at.move_to_end(user_id)
            if len(self._full_at) > self._users_max:
                self._full_at.popitem(last=False)
            return 0.0


_sends = SendWindows()
# Each but "send" is counted by each process alone: a bucket, and its size and rate in LIMITS.
_buckets: dict[Kind, tuple[Buckets, str]] = {
    "ack": (Buckets(), "acks_per_minute"),
    "typing": (Buckets(), "typing_per_minute"),
    "react": (Buckets(), "reactions_per_minute"),
    "delete": (Buckets(), "deletions_per_minute"),
}


class _SharedSends:
    """The sends of one event loop that wait for Redis."""

    def __init__(self) -> None:
        self.link = RedisLink("quota")
        self.batch: RedisBatch[UUID, None] = RedisBatch(self._flush, waiting_max=LIMITS.commit_waiting_max)

    async def _flush(self, user_ids: Sequence[UUID]) -> Sequence[Exception | None]:
        limit = LIMITS.sends_per_minute
        # The time before Redis was asked: so this process holds a send against its user for no longer than Redis does.
        at = time.monotonic()
        try:
            answers = await sends_take(self.link, Counter(user_ids), limit)
        except RedisAway:
            return [_take_here(user_id, limit) for user_id in user_ids]
        outcomes: list[Exception | None] = []
        left = {user_id: granted for user_id, (granted, _) in answers.items()}
        for user_id in user_ids:
            if left[user_id] > 0:
                left[user_id] -= 1
                _sends.add(user_id, limit, at)
                outcomes.append(None)
            else:
                outcomes.append(_refusal("send", answers[user_id][1]))
        return outcomes


_shared: PerLoop[_SharedSends] = PerLoop(_SharedSends)


def quota_take(user_id: UUID, kind: Kind) -> Awaitable[None] | None:
    """Take one `kind` from what the user may do a minute; on the event loop (docs/protocol.md "Limits").

    None: it fits, and there is nothing to wait for. Otherwise something to wait for, at most about
    `LIMITS.redis_timeout_ms`, which raises RateLimited when it does not fit. Raises RateLimited at once where this
    process knows that already. What is refused is not counted, so that waiting `retry_after` seconds is enough. A wait
    that is given up may be counted.
    """
    if kind == "send":
        return _take_send(user_id)
    bucket, name = _buckets[kind]
    limit: int = getattr(LIMITS, name)
    if limit:
        seconds = bucket.take(user_id, limit)
        if seconds > 0:
            raise _refusal(kind, seconds)
    return None


async def quota_take_async(user_id: UUID, kind: Kind) -> None:
    """`quota_take()` and its wait in one, for REST."""
    waiting = quota_take(user_id, kind)
    if waiting is not None:
        await waiting


def _take_send(user_id: UUID) -> Awaitable[None] | None:
    limit = LIMITS.sends_per_minute
    if not limit:
        return None
    seconds = _sends.wait(user_id, limit)
    if seconds > 0:
        raise _refusal("send", seconds)
    shared = _shared.get()
    if shared.link.is_up:
        try:
            return shared.batch.submit(user_id)
        except Overloaded:
            pass  # Redis is behind by thousands of sends: as good as away
    refusal = _take_here(user_id, limit)
    if refusal is not None:
        raise refusal
    return None


def _take_here(user_id: UUID, limit: int) -> RateLimited | None:
    telemetry.quota_local.inc()
    seconds = _sends.take(user_id, limit)
    return None if seconds == 0 else _refusal("send", seconds)


def _refusal(kind: Kind, seconds: float) -> RateLimited:
    telemetry.quota_refused.labels(kind).inc()
    return RateLimited(retry_after=math.ceil(seconds * 1000) / 1000)
