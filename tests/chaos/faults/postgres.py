"""PostgreSQL away, slow, locked, full, read-only."""

import asyncio
import contextlib
import signal
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import psycopg

from tests.chaos.faults.base import Fault
from tests.chaos.proxy import Shape

_END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"


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
        await self.system.sql(_END_SESSIONS)
        await asyncio.sleep(2)
        await super().inject()


class Hung(Fault):
    """F10."""

    id = "F10"
    name = "every process of PostgreSQL is stopped for 20 s"
    expects = "answers within 10 s all the same; recovery when it goes on"
    seconds = 20.0

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
    name = "the application's role may have 3 connections, and then idle sessions hold these"
    expects = "who gets none is told so within 2 s; sockets stay; it recovers alone"
    seconds = 6.0
    count = 3

    async def inject(self) -> None:
        self.holders: list[psycopg.AsyncConnection[Any]] = []
        await self.system.sql(f"ALTER ROLE app CONNECTION LIMIT {self.count}")
        await self.system.sql(_END_SESSIONS)
        await asyncio.sleep(self.seconds)
        password = quote(self.system.postgres.password)
        url = f"postgres://app:{password}@127.0.0.1:{self.system.postgres.port}/whispr"
        async with asyncio.timeout(20):
            while len(self.holders) < self.count:
                await self.system.sql(f"{_END_SESSIONS} AND application_name <> 'holder'")
                with contextlib.suppress(psycopg.OperationalError):
                    self.holders.append(await psycopg.AsyncConnection.connect(url, application_name="holder"))

    async def heal(self) -> None:
        for holder in self.holders:
            await holder.close()
        await self.system.sql("ALTER ROLE app CONNECTION LIMIT -1")


class RowLocked(Fault):
    """F13."""

    id = "F13"
    name = "one conversation's row is locked for 30 s by somebody else"
    expects = "only that conversation waits"
    seconds = 30.0
    quick = MappingProxyType({"seconds": 8.0})
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
    name = "half of the statements, and those of over 50 ms, are cancelled, and sessions deadlock"
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
                " AND (random() < 0.5 OR query_start < clock_timestamp() - interval '50 ms')"
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


FAULTS: tuple[type[Fault], ...] = (
    FastRestart,
    Killed,
    KilledWithoutFlush,
    Hung,
    Slow,
    NoConnections,
    RowLocked,
    ShortStatements,
    ReadOnly,
)
