"""A PostgreSQL of one test module, with our tables: to stop, to kill, to freeze and to fill up."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import psycopg

from whispr.embedded import account as accounts
from whispr.embedded import process
from whispr.embedded.finder import find_postgres
from whispr.embedded.postgres import Postgres, clean_environment

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 20


class OwnPostgres:
    """Started on a free port, which stays its own; what it committed is there after `kill()` and `start()`.

    It ends with the thread that started it: not one of a pool.
    """

    def __init__(self) -> None:
        data = Path(tempfile.mkdtemp(prefix="own-postgres-"))
        data.chmod(0o711)
        (data / "log").mkdir(mode=0o700)
        self._data = data
        account = accounts.choose_account(None)
        home = accounts.reachable_home(data, account)
        programs = accounts.reachable_programs(find_postgres(os.environ), data, account, "postgres")
        log = data / "log" / "postgres.log"
        self._server = Postgres(programs, account, home, secrets.token_urlsafe(16), log, temporary=True)
        self._child: process.Child | None = None
        self._server.make()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        """For the first time, or again: until it takes connections."""
        if self._server.port == 0:
            self._server.start(self._began)
            environment = {**os.environ, "DATABASE_URL": self.url}
            command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
            subprocess.run(command, cwd=ROOT, env=environment, check=True)
            return
        self._server._end_leftover()
        child = process.spawn(
            "PostgreSQL",
            self._server.command(),
            environment=clean_environment(),
            log=self._server.log,
            account=self._server.account,
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGQUIT,
            cwd=Path("/"),
        )
        self._began(child)
        assert self._server._wait_until_ready(child), self._server.log.read_text()[-2000:]

    def _began(self, child: process.Child) -> None:
        self._child = child

    def stop(self) -> None:
        """As `pg_ctl stop -m fast`: sessions are ended with 57P01."""
        if self._child is not None:
            process.stop([self._child], STOP_SECONDS)

    def kill(self) -> None:
        """As a crash: it and all its sessions' processes."""
        assert self._child is not None
        os.killpg(self._child.process.pid, signal.SIGKILL)
        self._child.process.wait()
        for number in self._sessions():
            os.kill(number, signal.SIGKILL)

    def freeze(self) -> None:
        """It answers nothing, and closes nothing."""
        assert self._child is not None
        for number in (*self._sessions(), self._child.process.pid):
            os.kill(number, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._child is not None
        for number in (self._child.process.pid, *self._sessions()):
            os.kill(number, signal.SIGCONT)

    def _sessions(self) -> list[int]:
        """The server's processes: each is the leader of a session of its own, so no group has them."""
        assert self._child is not None
        parent = str(self._child.process.pid)
        found = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        return [int(line.split()[0]) for line in found.splitlines() if line.split()[1] == parent]

    def execute(self, sql: str, *params: object) -> list[tuple[Any, ...]]:
        """What another session does and sees."""
        with psycopg.connect(self.url, autocommit=True, options="-c default_transaction_read_only=off") as session:
            cursor = session.execute(sql, params)
            return cursor.fetchall() if cursor.description else []

    def read_only(self, is_on: bool) -> None:
        """It takes no writes, but for those of `execute`; returns when all sessions know."""
        self.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if is_on else 'off'}")
        self.execute("SELECT pg_reload_conf()")
        while True:
            with psycopg.connect(self.url) as session:
                if session.execute("SHOW default_transaction_read_only").fetchone() == ("on" if is_on else "off",):
                    break
        time.sleep(0.2)  # the sessions that there are get the same signal

    def close(self) -> None:
        self.stop()
        accounts.discard_private_place(self._data)
        shutil.rmtree(self._data, ignore_errors=True)
