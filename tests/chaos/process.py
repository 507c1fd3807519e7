"""One process of the system: started, killed, stopped, armed with failpoints."""

import asyncio
import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from whispr.embedded.process import Child, kill_group, spawn

T = TypeVar("T")
# A death signal comes when the thread that forked ends, not its process: so one thread forks, and lives as we do.
_spawner = ThreadPoolExecutor(1, "spawner")


async def in_spawner(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run something that may start a process."""
    return await asyncio.get_running_loop().run_in_executor(_spawner, lambda: function(*args, **kwargs))


@dataclass(eq=False)
class Process:
    """One process of the system; it is to run while `wanted`."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    cwd: Path
    child: Child | None = None
    wanted: bool = False
    died: float = 0.0
    ended: list[str] = field(default_factory=list)  # how earlier runs of it ended

    @property
    def is_running(self) -> bool:
        return self.child is not None and self.child.is_running

    @property
    def failpoints(self) -> Path:
        """The file that arms its failpoints."""
        return Path(self.environment["WHISPR_FAILPOINTS_FILE"])

    def arm(self, text: str) -> None:
        """Arm its failpoints, whole at once; an empty text takes them away."""
        new = self.failpoints.with_suffix(".new")
        if not text:
            self.failpoints.unlink(missing_ok=True)
            return
        new.write_text(text)
        new.replace(self.failpoints)

    async def start(self) -> None:
        """Start it, and keep it running from now on."""
        self.wanted = True
        self.child = await in_spawner(
            spawn, self.name, self.command, environment=self.environment, log=self.log, cwd=self.cwd
        )

    @property
    def resident_bytes(self) -> int:
        """What it holds of the memory; 0: it is not there."""
        if self.child is not None:
            with contextlib.suppress(OSError):
                pages = Path(f"/proc/{self.child.process.pid}/statm").read_text().split()[1]
                return int(pages) * resource.getpagesize()
        return 0

    def signal(self, number: signal.Signals) -> None:
        """A signal to the process itself."""
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                self.child.process.send_signal(number)

    def kill(self, *, stay: bool = False) -> None:
        """SIGKILL to it and all of its group; with `stay` it is not started again."""
        self.wanted = self.wanted and not stay
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.process.pid, signal.SIGKILL)

    async def terminate(self, seconds: float = 15.0) -> float:
        """SIGTERM, and wait for its end; how long that took. It is not started again."""
        self.wanted = False
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        while self.is_running and time.monotonic() - began < seconds:
            await asyncio.sleep(0.05)
        if self.child is not None:
            await in_spawner(kill_group, self.child)
        return time.monotonic() - began
