"""Moments to act at, without the millisecond to which event loops round their timers."""

import asyncio
import ctypes
import os
import random
import time
from collections.abc import Callable, Iterator

CLOCK_MONOTONIC = 1
TFD_NONBLOCK, TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
TFD_TIMER_ABSTIME = 1


class _Spec(ctypes.Structure):
    """`struct itimerspec`: interval and first expiry, each as seconds and nanoseconds."""

    _fields_ = [(name, ctypes.c_long) for name in ("interval_s", "interval_ns", "value_s", "value_ns")]


class Alarm:
    """A kernel timer on the event loop: calls back at a moment of `time.monotonic()`, within some 50 µs when idle.

    Linux only, like the rest of what is read from /proc.
    """

    def __init__(self, on_time: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._on_time = on_time
        asyncio.get_running_loop().add_reader(self._fd, self._ring)

    def set(self, moment: float) -> None:
        """Ring at `moment`; at once where it is past."""
        nanoseconds = max(1, int(moment * 1e9))
        spec = _Spec(0, 0, nanoseconds // 10**9, nanoseconds % 10**9)
        if self._libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME, ctypes.byref(spec), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def close(self) -> None:
        """Ring no more."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _ring(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        self._on_time()


def moments(start: float, rate: float, *, poisson: bool) -> Iterator[float]:
    """The intended moments of an open loop, for ever: evenly spaced, or with exponential gaps of the same mean."""
    at = start
    while True:
        yield at
        at += random.expovariate(rate) if poisson else 1 / rate


class OpenLoop:
    """Calls `act(moment)` at every intended moment, whatever became of the ones before.

    `late` gathers how long after its moment each call came: the generator's own part of a latency.
    """

    def __init__(self, rate: float, act: Callable[[float], None], *, poisson: bool) -> None:
        self.late: list[float] = []
        self._act = act
        self._moments = moments(time.monotonic(), rate, poisson=poisson)
        self._next = next(self._moments)
        self._alarm = Alarm(self._on_time)
        self._alarm.set(self._next)

    def _on_time(self) -> None:
        now = time.monotonic()
        while self._next <= now:
            self.late.append(now - self._next)
            self._act(self._next)
            self._next = next(self._moments)
        self._alarm.set(self._next)

    def stop(self) -> None:
        """Call no more."""
        self._alarm.close()
