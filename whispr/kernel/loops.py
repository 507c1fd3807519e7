"""One instance of something for each event loop: a server has one loop, tests and commands make their own."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class PerLoop(Generic[T]):
    """`get()` answers the running loop's instance, made by `factory` at the first call."""

    def __init__(self, factory: Callable[[], T]) -> None:
        self._factory = factory
        self._instances: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()
        self._latest: tuple[asyncio.AbstractEventLoop | None, T | None] = (None, None)

    def get(self) -> T:
        """The instance of the running loop. Raises RuntimeError outside of one."""
        loop = asyncio.get_running_loop()
        if loop is self._latest[0] and self._latest[1] is not None:
            return self._latest[1]  # a server has one loop
        instance = self._instances.get(loop)
        if instance is None:
            # An instance may hold its loop, which keeps the weak key alive: entries of closed loops are dropped here.
            for closed in [other for other in self._instances if other.is_closed()]:
                del self._instances[closed]
            instance = self._instances[loop] = self._factory()
        self._latest = (loop, instance)
        return instance

    def peek(self) -> T | None:
        """The instance of the running loop if there is one already."""
        return self._instances.get(asyncio.get_running_loop())
