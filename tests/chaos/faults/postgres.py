"""PostgreSQL away, slow, locked, full, read-only."""

import asyncio
import contextlib
import shutil
import signal
import subprocess

import psycopg

from tests.chaos.faults.base import Fault
from tests.chaos.proxy import Shape
from whispr.embedded.account import own


class FastRestart(Fault):
    """F7."""

    id = "F7"
    name = "PostgreSQL is restarted (fast)"
    expects = "coded errors meanwhile, sockets stay, normal at once afterwards"
    seconds = 1.0

    async def inject(self) -> None:
        await self.system.stop_postgres()
        await asyncio.sleep(self.random.uniform(0, 2))
        await self.system.start_postgres()


class Killed(Fault):
    """F8."""

    id = "F8"
    name = "PostgreSQL is killed with every session"
    expects = "crash recovery; what was unknown is settled by the resend"
    seconds = 0.5

    async def inject(self) -> None:
        for _ in range(1 if self.scene.brief else 2):
            await asyncio.sleep(self.random.uniform(0.5, 2))
            await self.system.kill_postgres()
            await asyncio.sleep(self.random.uniform(0, 1.5))
            await self.system.start_postgres()


class KilledWithoutFlush(Killed):
    """F9: the control of the harness."""

    id = "F9"
    name = "control: F8 with synchronous_commit off"
    expects = "the checker reports a loss"
    breaks = ("I1",)
    spoils = True

    async def inject(self) -> None:
        await self.system.sql("ALTER SYSTEM SET synchronous_commit = off")
        await self.system.sql("ALTER SYSTEM SET wal_writer_delay = '10s'")
        await self.system.sql("ALTER SYSTEM SET wal_writer_flush_after = '1GB'")
        # The server's own command line has the setting: a role's comes after that.
        await self.system.sql("ALTER ROLE app SET synchronous_commit = off")
        await self.system.sql("SELECT pg_reload_conf()")
        await self.system.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        await asyncio.sleep(2)
        await super().inject()


class Hung(Fault):
    """F10."""

    id = "F10"
    name = "every process of PostgreSQL is stopped for 13 s"
    expects = "answers within 10 s all the same; recovery when it goes on"
    seconds = 13.0

    async def inject(self) -> None:
        self.system.signal_postgres(signal.SIGSTOP)

    async def heal(self) -> None:
        self.system.signal_postgres(signal.SIGCONT)


class Slow(Fault):
    """F11."""

    id = "F11"
    name = "the way to PostgreSQL takes 200±100 ms and carries 256 KB/s"
    expects = "deadlines hold, queues are bounded"
    seconds = 8.0

    async def inject(self) -> None:
        for link in self.system.links_to("postgres-"):
            link.set(Shape(latency=0.2, jitter=0.1, rate=256_000))

    async def heal(self) -> None:
        for link in self.system.links_to("postgres-"):
            link.heal()


class NoConnections(Fault):
    """F12."""

    id = "F12"
    name = "the application's role may have 3 connections"
    expects = "who gets none is told so within 2 s; sockets stay; it recovers alone"
    seconds = 6.0

    async def inject(self) -> None:
        await self.system.sql("ALTER ROLE app CONNECTION LIMIT 3")
        await self.system.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")

    async def heal(self) -> None:
        await self.system.sql("ALTER ROLE app CONNECTION LIMIT -1")


class RowLocked(Fault):
    """F13."""

    id = "F13"
    name = "one conversation's row is locked for 8 s by somebody else"
    expects = "only that conversation waits"
    seconds = 8.0
    isolated = True

    async def inject(self) -> None:
        talk = self.population.talks[0].id
        self.session = await psycopg.AsyncConnection.connect(self.system.admin_url)
        await self.session.execute("SELECT 1 FROM conversations WHERE id = %s FOR UPDATE", (talk,))
        self.watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """Note what waits for the lock, for whoever reads a history in which others felt it."""
        while True:
            rows = await self.system.sql(
                "SELECT left(regexp_replace(query, '\\s+', ' ', 'g'), 80), count(*) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' GROUP BY 1"
            )
            for query, count in rows:
                self.scene.history.write("note", "info", note=f"{count} wait for a lock: {query}")
            await asyncio.sleep(0.2)

    async def heal(self) -> None:
        self.watching.cancel()
        await asyncio.gather(self.watching, return_exceptions=True)
        await self.session.rollback()
        await self.session.close()


class ShortStatements(Fault):
    """F14."""

    id = "F14"
    name = "statements are cancelled after 15 ms, and sessions deadlock"
    expects = "coded errors or a quiet retry; never a fault"
    seconds = 6.0

    async def inject(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        for link in self.system.links_to("postgres-web"):
            link.set(Shape(latency=0.002))
        self.tasks.append(asyncio.create_task(self._cancel()))
        self.tasks += [asyncio.create_task(self._deadlock(turn)) for turn in (1, -1)]

    async def _cancel(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            await self.system.sql(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND state = 'active'"
                " AND random() < 0.5"
            )

    async def _deadlock(self, turn: int) -> None:
        """Bulk updates of all members' rows in opposite orders, with a pause in between."""
        order = "ASC" if turn > 0 else "DESC"
        while True:
            async with await psycopg.AsyncConnection.connect(self.system.admin_url) as session:
                try:
                    rows = await (await session.execute(f"SELECT id FROM members ORDER BY id {order}")).fetchall()
                    for (row,) in rows[:6]:
                        await session.execute("SELECT 1 FROM members WHERE id = %s FOR UPDATE", (row,))
                        await asyncio.sleep(0.01)
                except psycopg.Error:
                    pass
                await session.rollback()
            await asyncio.sleep(0.05)

    async def heal(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for link in self.system.links_to("postgres-"):
            link.heal()


class ReadOnly(Fault):
    """F16."""

    id = "F16"
    name = "the database is read-only"
    expects = "sends are refused for now; reads and catch-up go on"
    seconds = 5.0

    async def inject(self) -> None:
        await self.system.sql("ALTER SYSTEM SET default_transaction_read_only = on")
        await self.system.sql("SELECT pg_reload_conf()")

    async def heal(self) -> None:
        async with await psycopg.AsyncConnection.connect(
            self.system.admin_url, autocommit=True, options="-c default_transaction_read_only=off"
        ) as session:
            await session.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await session.execute("SELECT pg_reload_conf()")


class DiskFull(Fault):
    """F15. Needs root: the write-ahead log moves to a small file system of its own."""

    id = "F15"
    name = "the disk of the write-ahead log is full"
    expects = "refused for now, sockets stay; nothing that was acknowledged is lost; it recovers when there is space"
    seconds = 6.0
    spoils = True
    size = 160 * 1024 * 1024

    async def inject(self) -> None:
        self.mounted = False
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


FAULTS: tuple[type[Fault], ...] = (
    FastRestart,
    Killed,
    KilledWithoutFlush,
    Hung,
    Slow,
    NoConnections,
    RowLocked,
    ShortStatements,
    DiskFull,
    ReadOnly,
)
