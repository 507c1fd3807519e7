"""The circuit breaker: one for each external thing, so that nobody waits for what is known to be away
(specification §5.1, §5.3; docs/architecture.md "Circuit breakers").

Closed, every call passes. When calls fail, it opens: calls are refused at once. After a pause one call at a time is
let through as a probe (half-open): its success closes the circuit, its failure opens it for a longer pause. What counts
as a failure is for the caller to say: absence, a missed deadline, an answer that makes no sense. A coded refusal by a
healthy service is a success.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from whispr.kernel import telemetry
from whispr.kernel.errors import TemporaryUnavailable
from whispr.kernel.limits import LIMITS

State = Literal["closed", "open", "half_open"]
Hold = Literal["open", "closed"]
Dependency = Literal["database", "redis", "user_service", "media_service", "notification_service"]
Callback = Callable[[str, State], None]

DEPENDENCIES: tuple[Dependency, ...] = get_args(Dependency)
# Of the pause: processes that opened together do not probe together.
JITTER = 0.2
# What fails less often than every second time is a bad moment of something that works, and is not shut out.
SHARE_MIN = 0.5
RETRY_MIN_SECONDS = 1.0
_GAUGE: dict[State, int] = {"closed": 0, "half_open": 1, "open": 2}

log = logging.getLogger(__name__)
_callbacks: list[Callback] = []


@dataclass(frozen=True, slots=True)
class Tuning:
    """When a circuit opens and for how long; times are seconds. The defaults are the limits `WHISPR_CIRCUIT_…`."""

    failures: int = LIMITS.circuit_failures
    window: float = LIMITS.circuit_window_seconds
    pause: float = LIMITS.circuit_pause_seconds
    pause_max: float = LIMITS.circuit_pause_max_seconds
    heal: float = LIMITS.circuit_heal_seconds
    probe: float = LIMITS.circuit_probe_seconds
    retry: float = LIMITS.circuit_retry_seconds


class Breaker:
    """One circuit. Every method may be called from any thread; none waits."""

    def __init__(self, name: str, tuning: Tuning | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """A closed circuit. `clock` gives seconds that only grow."""
        self.name = name
        self._tuning = tuning or Tuning()
        self._clock = clock
        self._lock = threading.Lock()
        self._hold: Hold | None = None
        self._generation = 0
        self._clear()
        telemetry.circuit_state.labels(name).set(0)

    def _clear(self) -> None:
        self._state: State = "closed"
        self._failures = 0  # since `_window_from`; successes are counted only after a failure
        self._successes = 0
        self._window_from = 0.0
        self._openings = 0  # one after the other, without a healthy time between
        self._opened_at = 0.0  # when it left closed
        self._probe_from = 0.0  # when the next probe may go
        self._probing: float | None = None  # since when one is on its way
        self._closed_at = -math.inf

    @property
    def state(self) -> State:
        """What calls meet now. A circuit whose pause is over counts as half open, whether or not a call came yet."""
        if self._hold is not None:
            return self._hold
        if self._state == "open" and self._clock() >= self._probe_from:
            return "half_open"
        return self._state

    @property
    def held(self) -> Hold | None:
        """How the manual switch holds it, if it does."""
        return self._hold

    @property
    def retry_after(self) -> float:
        """Seconds after which a refused caller may come back, counted from the opening; 0 while closed.

        LIMITS.circuit_retry_seconds (specification §5.1: 30) from the moment it opened; when those have passed, the
        time to the next probe. Probes begin much sooner, so a caller that is told of the recovery needs not wait.
        """
        with self._lock:
            return self._retry_after(self._clock())

    def _retry_after(self, now: float) -> float:
        if self._hold == "closed" or (self._hold is None and self._state == "closed"):
            return 0.0
        if self._hold == "open":
            return float(self._tuning.retry)
        probe_from = self._probe_from if self._probing is None else self._probing + self._tuning.probe
        seconds = max(self._opened_at + self._tuning.retry, probe_from) - now
        return round(max(seconds, RETRY_MIN_SECONDS), 1)

    def access(self) -> int:
        """Ask for one call. The number that is returned may be given to `success` and `failure`, so that the late
        outcome of a call from before an opening does not count as a probe's.

        Raises TemporaryUnavailable, with `retry_after`, where the circuit is open, or half open with a probe under way.
        """
        if self._state == "closed" and self._hold is None:
            return self._generation
        with self._lock:
            now = self._clock()
            if self._hold == "closed" or (self._hold is None and self._state == "closed"):
                return self._generation
            if self._hold == "open" or not self._may_probe(now):
                raise TemporaryUnavailable(f"{self.name} is away.", retry_after=self._retry_after(now))
            self._generation += 1
            self._probing = now
            changed = self._set("half_open")
            generation = self._generation
        self._tell(changed)
        return generation

    def _may_probe(self, now: float) -> bool:
        if now < self._probe_from:
            return False
        # One that never reported, because its caller was cancelled for instance, is given up.
        return self._probing is None or now >= self._probing + self._tuning.probe

    def success(self, ticket: int | None = None) -> None:
        """A call was answered, be it with a refusal."""
        if self._state == "closed" and not self._failures:
            return  # the ordinary case costs nothing
        with self._lock:
            if self._hold is not None or self._is_late(ticket):
                return
            changed: State | None = None
            if self._state == "closed":
                self._successes += 1
            elif self._state == "half_open":
                self._failures = self._successes = 0
                self._probing = None
                self._closed_at = self._clock()
                changed = self._set("closed")
        self._tell(changed)

    def failure(self, ticket: int | None = None) -> None:
        """A call found nobody, no answer in time, or an answer that makes no sense."""
        with self._lock:
            if self._hold is not None or self._is_late(ticket):
                return
            now = self._clock()
            changed: State | None = None
            if self._state == "half_open":
                self._pause(now)
                changed = self._set("open")
            elif self._state == "closed" and self._count(now):
                if now >= self._closed_at + self._tuning.heal:
                    self._openings = 0
                self._opened_at = now
                self._pause(now)
                self._generation += 1
                changed = self._set("open")
                telemetry.circuit_openings.labels(self.name).inc()
        self._tell(changed)

    def _is_late(self, ticket: int | None) -> bool:
        return ticket is not None and ticket != self._generation

    def _count(self, now: float) -> bool:
        """Count a failure; whether it is one too many. A window begins with the first failure after the last one.

        Where nothing was answered since then, it lasts as long as a healthy time: what is asked seldom and is away
        would not be known as that otherwise, each call would wait for its deadline, and no client would be told.
        """
        lasts = self._tuning.window if self._successes else max(self._tuning.window, self._tuning.heal)
        if not self._failures or now >= self._window_from + lasts:
            self._failures = self._successes = 0
            self._window_from = now
        self._failures += 1
        calls = self._failures + self._successes
        return self._failures >= self._tuning.failures and self._failures >= SHARE_MIN * calls

    def _pause(self, now: float) -> None:
        seconds = min(self._tuning.pause * 2.0 ** min(self._openings, 32), self._tuning.pause_max)
        self._openings += 1
        self._probing = None
        self._probe_from = now + seconds * random.uniform(1 - JITTER, 1 + JITTER)

    def hold(self, state: Hold | None) -> None:
        """The manual switch: `open` refuses every call, `closed` lets every call through, None lets the circuit decide.

        Let go of after `open`, the next call is a probe; after `closed`, it begins anew.
        """
        with self._lock:
            before = self._hold
            if before == state:
                return
            shown = self._hold or self._state
            self._hold = state
            self._generation += 1
            self._clear()
            if before == "open" and state is None:
                self._state = "half_open"
                self._opened_at = self._clock() - self._tuning.retry
            now_shown = state or self._state
            telemetry.circuit_state.labels(self.name).set(_GAUGE[now_shown])
            changed = now_shown if now_shown != shown else None
        self._tell(changed)

    def reset(self) -> None:
        """As new: closed, not held, nothing counted."""
        self.hold(None)
        with self._lock:
            changed = self._set("closed")
            self._generation += 1
            self._clear()
        self._tell(changed)

    def _set(self, state: State) -> State | None:
        """Under the lock: the new state, if it is one."""
        if state == self._state:
            return None
        self._state = state
        telemetry.circuit_state.labels(self.name).set(_GAUGE[state])
        return state

    def _tell(self, state: State | None) -> None:
        if state is None:
            return
        (log.info if state == "half_open" else log.warning)("Circuit %s: %s", self.name, state)
        for callback in tuple(_callbacks):
            try:
                callback(self.name, state)
            except Exception:
                log.exception("A subscriber of the circuits failed")


# To ask Redis whether it is back costs nobody anything, and what waits for it are other processes' sockets.
_TUNINGS: dict[str, Tuning] = {"redis": Tuning(pause_max=min(2.0, LIMITS.circuit_pause_max_seconds))}
_breakers: dict[str, Breaker] = {name: Breaker(name, _TUNINGS.get(name)) for name in DEPENDENCIES}


def breaker(name: Dependency) -> Breaker:
    """This process's circuit of an external thing."""
    return _breakers[name]


def breakers() -> dict[str, Breaker]:
    """All circuits of this process, by name."""
    return dict(_breakers)


def subscribe(callback: Callback) -> Callable[[], None]:
    """Call `callback(name, state)` at every change of any circuit, in the thread that caused it, outside of locks: it
    must not wait. Returns a function that ends it.

    An opening circuit becomes half open when a call asks after its pause; then it is told.
    """
    _callbacks.append(callback)

    def end() -> None:
        if callback in _callbacks:
            _callbacks.remove(callback)

    return end
