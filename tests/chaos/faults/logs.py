"""Nobody reads the log."""

import asyncio
import contextlib
import fcntl
import os
import struct
import termios

from tests.chaos.faults.base import Fault

PIPE_BYTES = 4_096  # the least that the kernel gives
TURNS = 12
# The same process: `exec` keeps its pid. The harness's own file stays where it is, and empty of this.
_THROUGH_PIPE = 'pipe=$1; shift; exec "$@" >>"$pipe" 2>&1'


class LogNotRead(Fault):
    """F43: the blocked log pipe of F45."""

    id = "F43"
    name = "the server processes' logs go into pipes of 4 KiB that nobody reads any more"
    expects = "lines are dropped; nobody waits for the log"
    seconds = 1.0
    spoils = True

    async def inject(self) -> None:
        self.pipes: dict[str, int] = {}
        self.stuck = asyncio.Event()
        self.reading: list[asyncio.Task[None]] = []
        for web in self.system.webs:
            path = self.system.data / f"{web.name}.pipe"
            os.mkfifo(path, 0o600)
            pipe = self.pipes[web.name] = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            self.reading.append(asyncio.create_task(self._read(web.name)))
            await web.terminate()
            web.command = ["sh", "-c", _THROUGH_PIPE, "sh", str(path), *web.command]
            web.environment["WHISPR_LOG_LEVEL"] = "INFO"
            await web.start()
        await self.system.until_ready()
        await asyncio.sleep(1.0)
        self.stuck.set()
        for _ in range(TURNS):  # each connection is a line or two
            for link in self.system.links_to("client-"):
                link.reset()
            await asyncio.sleep(self.random.uniform(0.5, 1.0))
        full = [name for name, pipe in self.pipes.items() if self._waiting(pipe) >= PIPE_BYTES - 512]
        self.scene.history.write("note", "ok", note=f"full pipes: {' '.join(full) or 'none'}")
        if not full:
            raise RuntimeError("no pipe was ever full")

    async def _read(self, name: str) -> None:
        """As a collector of logs does, until it stands still."""
        with (self.system.logs / f"{name}.log").open("ab") as log:
            while True:
                if not self.stuck.is_set():
                    with contextlib.suppress(BlockingIOError):
                        while data := os.read(self.pipes[name], 65_536):
                            log.write(data)
                            log.flush()
                await asyncio.sleep(0.05)

    @staticmethod
    def _waiting(pipe: int) -> int:
        return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"))[0])

    async def heal(self) -> None:
        self.stuck.clear()

    async def remove(self) -> None:
        for task in self.reading:
            task.cancel()
        await asyncio.gather(*self.reading, return_exceptions=True)
        for pipe in self.pipes.values():
            os.close(pipe)


FAULTS: tuple[type[Fault], ...] = (LogNotRead,)
