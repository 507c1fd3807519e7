"""A standby takes over from a PostgreSQL that is dead."""

import asyncio
import signal
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import psycopg

from tests.chaos.faults.base import Fault
from tests.chaos.process import in_spawner
from tests.chaos.proxy import Link, Shape
from tests.chaos.system import answers
from whispr.embedded.account import own_directory
from whispr.embedded.postgres import USER, Postgres, clean_environment, free_port
from whispr.embedded.process import Child, spawn

READY_SECONDS = 40.0


class Failover(Fault):
    """F17: with a synchronous standby."""

    id = "F17"
    name = "PostgreSQL's way to its synchronous standby is cut, it is killed, and the standby takes over"
    expects = "sends wait while the standby hears nothing; nothing that was acknowledged is lost"
    seconds = 1.0
    spoils = True
    synchronous: ClassVar[bool] = True

    async def inject(self) -> None:
        self.primary = self.system.postgres
        self.way = Link("standby", ("127.0.0.1", self.primary.port), self.scene.seed)
        await self.way.start()
        await self._start_standby()
        if self.synchronous:
            await self.system.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await self.system.sql("SELECT pg_reload_conf()")
        await self._until_streaming("sync" if self.synchronous else "async")
        await asyncio.sleep(2.0)
        # What is committed from here on does not reach the standby.
        self.way.set(Shape(held=frozenset({"up", "down"})))
        await asyncio.sleep(self.random.uniform(1.0, 2.5))
        await self.system.kill_postgres()
        await self.before_takeover()
        self.way.reset()
        await self.way.close()
        await self._promote()
        await self.after_takeover()

    async def before_takeover(self) -> None:
        """The old one is dead."""

    async def after_takeover(self) -> None:
        """The new one takes writes; nobody's link leads there yet."""
        self._lead()

    def _lead(self) -> None:
        self.system.postgres, self.system.postgres_child = self.standby, self.child
        for link in self.system.links_to("postgres-"):
            link.target = ("127.0.0.1", self.standby.port)

    async def _start_standby(self) -> None:
        home: Path = self.primary.home / "standby"
        own_directory(home, self.primary.account)
        log = self.system.logs / "standby.log"
        self.standby: Postgres = replace(self.primary, home=home, log=log, port=free_port())
        own_directory(self.standby.directory, self.primary.account)
        where = f"host=127.0.0.1 port={self.way.port} user={USER} password={self.primary.password} dbname=postgres"
        command: list[str | Path] = [self.primary.programs.path / "pg_basebackup", "-D", self.standby.directory]
        command += ["-d", where, "-R", "-X", "stream", "-c", "fast", "--no-sync"]
        child = await self._run("pg_basebackup", command)
        while child.is_running:
            await asyncio.sleep(0.1)
        if child.process.returncode:
            raise RuntimeError(f"no base backup could be made:\n{child.last_words()}")
        self.child = await self._run("standby", self.standby.command())
        await self._until("SELECT pg_is_in_recovery()", True)

    async def _run(self, name: str, command: list[str | Path]) -> Child:
        return await in_spawner(
            spawn,
            name,
            command,
            environment=clean_environment(),
            log=self.standby.log,
            account=self.primary.account,
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGQUIT,
            cwd=Path("/"),
        )

    async def _promote(self) -> None:
        await self._ask_standby("SELECT pg_promote(true, 20)")
        await self._until("SELECT pg_is_in_recovery()", False)

    async def _until_streaming(self, state: str) -> None:
        async with asyncio.timeout(READY_SECONDS):
            while await self.system.sql("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'") != [
                (state,)
            ]:
                await asyncio.sleep(0.1)

    async def _until(self, query: str, wanted: object) -> None:
        async with asyncio.timeout(READY_SECONDS):
            while True:
                try:
                    if await self._ask_standby(query) == wanted:
                        return
                except psycopg.OperationalError:
                    if not self.child.is_running:
                        raise RuntimeError(f"the standby ended:\n{self.child.last_words()}") from None
                await asyncio.sleep(0.1)

    async def _ask_standby(self, query: str) -> object:
        def ask() -> object:
            with psycopg.connect(self.standby.url, autocommit=True, connect_timeout=5) as connection:
                row = connection.execute(query.encode()).fetchone()
                return None if row is None else row[0]

        return await asyncio.to_thread(ask)


class FailoverWithLoss(Failover):
    """F17, the control: an asynchronous standby, and the operator's procedure (docs/operations.md)."""

    id = "F17A"
    name = "control: F17 with an asynchronous standby, and a new epoch"
    expects = "the checker reports the loss; every device fetches afresh and holds nothing that the log does not know"
    breaks = ("I1",)
    keeps = ("I2", "I21", "I22")
    synchronous = False

    async def before_takeover(self) -> None:
        for web in self.system.webs:
            await web.terminate()

    async def after_takeover(self) -> None:
        self._lead()
        command = [self.system.webs[0].command[0], "manage.py", "new_epoch"]
        environment = self.system.environment("epoch", "work")
        log = self.system.logs / "epoch.log"
        child = await in_spawner(spawn, "epoch", command, environment=environment, log=log, cwd=self.system.tree)
        while child.is_running:
            await asyncio.sleep(0.1)
        if child.process.returncode:
            raise RuntimeError(f"no new epoch could be begun:\n{child.last_words()}")
        for number, web in enumerate(self.system.webs):
            await web.start()
            async with asyncio.timeout(READY_SECONDS):
                while not await asyncio.to_thread(answers, self.system.link(f"client-{number}").target[1]):
                    await asyncio.sleep(0.1)

    async def remove(self) -> None:
        """Once everything was looked at: what devices hold, the log knows."""
        known = {str(row[0]) for row in await self.system.sql("SELECT id FROM messages")}
        held = [one for device in self.population.devices for held in device.held.values() for one in held.messages]
        strange = sum(one not in known for one in held)
        note = f"messages that devices hold and the log does not know, of {len(held)}"
        self.scene.history.write("note", "fail" if strange else "ok", note=note, count=strange)
        if strange:
            raise RuntimeError(f"{strange} {note}")


FAULTS: tuple[type[Fault], ...] = (Failover, FailoverWithLoss)
