"""PostgreSQL's disk is full."""

import asyncio
import contextlib
import shutil
import subprocess

import psycopg

from tests.chaos.faults.base import Fault
from whispr.embedded.account import own


class DiskFull(Fault):
    """F15. Needs root: the write-ahead log moves to a small file system of its own."""

    id = "F15"
    name = "the disk of the write-ahead log, 64 MB, is full"
    expects = "refused for now, sockets stay; nothing that was acknowledged is lost; it recovers when there is space"
    seconds = 6.0
    spoils = True
    size = 64 * 1024 * 1024

    async def inject(self) -> None:
        self.mounted = False
        # Three segments of 16 MB, so that they fit.
        for name, value in (("min_wal_size", "32MB"), ("max_wal_size", "48MB")):
            await self.system.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        await self.system.sql("SELECT pg_reload_conf()")
        await asyncio.sleep(0.5)
        for _ in range(2):
            await self.system.sql("SELECT pg_switch_wal()")
            await self.system.sql("CHECKPOINT")
        await self.system.stop_postgres()
        data = self.system.postgres.directory
        self.place = data.parent / "small"
        self.place.mkdir()
        done = await asyncio.to_thread(
            subprocess.run,
            ["mount", "-t", "tmpfs", "-o", f"size={self.size}", "tmpfs", self.place],
            capture_output=True,
            text=True,
        )
        self.mounted = done.returncode == 0
        if self.mounted:
            own(self.place, self.system.postgres.account)
            self.place.chmod(0o700)
            shutil.copytree(data / "pg_wal", self.place / "pg_wal")
            for path in (self.place / "pg_wal", *(self.place / "pg_wal").rglob("*")):
                own(path, self.system.postgres.account)
            shutil.rmtree(data / "pg_wal")
            (data / "pg_wal").symlink_to(self.place / "pg_wal")
        await self.system.start_postgres()
        if not self.mounted:
            raise RuntimeError(f"a file system of its own cannot be mounted here: {done.stderr.strip()}")
        await asyncio.sleep(3)
        with contextlib.suppress(OSError), (self.place / "filler").open("wb") as filler:
            while filler.write(bytes(65_536)):
                filler.flush()
        for _ in range(3):
            with contextlib.suppress(psycopg.Error):
                await self.system.sql("SELECT pg_switch_wal()")
            await asyncio.sleep(1)

    async def heal(self) -> None:
        if not self.mounted:
            return
        (self.place / "filler").unlink(missing_ok=True)
        child = self.system.postgres_child
        died = child is None or not child.is_running
        self.scene.history.write("note", "ok", note="PostgreSQL " + ("gave up" if died else "went on by itself"))
        if died:
            await self.system.start_postgres()

    async def remove(self) -> None:
        if self.mounted:
            await self.system.stop_postgres()
            await asyncio.to_thread(subprocess.run, ["umount", "-l", self.place], capture_output=True)


FAULTS: tuple[type[Fault], ...] = (DiskFull,)
