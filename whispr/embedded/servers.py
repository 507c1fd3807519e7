"""PostgreSQL and Valkey for one run: the ones that the environment names, or our own."""

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from whispr.embedded import account as accounts
from whispr.embedded.finder import OLDEST_POSTGRES, find_postgres, find_redis
from whispr.embedded.postgres import Postgres, StartFailed, existing_major
from whispr.embedded.process import Account, Child, kill_adopted, say, stop
from whispr.embedded.valkey import Valkey

# Both are quick unless a disk is slow; PostgreSQL writes a checkpoint before it ends.
STOP_SECONDS = 20


@dataclass
class Servers:
    """The servers of one run and how to reach them."""

    data: Path
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    temporary: bool = False
    children: list[Child] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start what the environment does not name, and wait until each answers.

        Raises ServersMissing, NoAccount, StartFailed and Stopped; `stop` is right after any of them.
        """
        database, redis = self.environment.get("DATABASE_URL"), self.environment.get("REDIS_URL")
        if database:
            check_database(database)
            self.urls["DATABASE_URL"] = database
        if redis:
            check_redis(redis)
            self.urls["REDIS_URL"] = redis
        if database and redis:
            return
        account = accounts.choose_account(self._existing())
        home = accounts.reachable_home(self.data, account)
        if home != self.data and not self.temporary:
            say(f"The account that runs the servers cannot reach {self.data}: their files are in {home}.")
        # Each is on the list before it is waited for: a signal in between must find it there.
        if not redis:
            self.urls["REDIS_URL"] = self._start_valkey(account, home)
        if not database:
            self.urls["DATABASE_URL"] = self._start_postgres(account, home)

    def _start_valkey(self, account: Account, home: Path) -> str:
        programs = accounts.reachable_programs(find_redis(self.environment), self.data, account)
        log = self.data / "log" / "valkey.log"
        valkey = Valkey(programs, account, home, self.secrets["valkey"], log, self.temporary)
        valkey.start(self.children.append)
        return valkey.url

    def _start_postgres(self, account: Account, home: Path) -> str:
        programs = find_postgres(self.environment, existing_major(home))
        programs = accounts.reachable_programs(programs, self.data, account, "postgres")
        log = self.data / "log" / "postgres.log"
        postgres = Postgres(programs, account, home, self.secrets["postgres"], log, self.temporary)
        if not postgres.directory.exists():
            say(f"Making a PostgreSQL {programs.major} cluster …")
            postgres.make()
        postgres.start(self.children.append)
        return postgres.url

    def _existing(self) -> Path | None:
        """Data of an earlier run, whose owner goes on running it."""
        for home in (self.data, accounts.private_place_name(self.data)):
            if (major := existing_major(home)) is not None:
                return home / f"pg{major}"
        return None

    def failed(self) -> Child | None:
        """A server that has ended by itself, if one has."""
        return next((child for child in self.children if not child.is_running), None)

    def stop(self) -> None:
        """End the servers, first Redis, then PostgreSQL with a checkpoint."""
        stop(self.children, STOP_SECONDS)
        self.children.clear()


def check_database(url: str) -> None:
    """Raises StartFailed unless PostgreSQL answers at `url` and is new enough."""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            version = connection.info.server_version // 10_000
    except psycopg.Error as error:
        raise StartFailed(f"DATABASE_URL names a PostgreSQL that does not answer: {error}") from error
    if version < OLDEST_POSTGRES:
        raise StartFailed(
            f"DATABASE_URL names PostgreSQL {version}; {OLDEST_POSTGRES} is the oldest that is supported."
        )


def check_redis(url: str) -> None:
    """Raises StartFailed unless something listens where `url` says."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss"):
        return
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379), timeout=10).close()
    except OSError as error:
        raise StartFailed(f"REDIS_URL names a server that does not answer: {error}") from error


@contextlib.contextmanager
def temporary(
    environment: Mapping[str, str], note: Callable[[Path], None] = lambda _: None
) -> Iterator[dict[str, str]]:
    """Servers for one test run, in a directory that goes with it: yields DATABASE_URL and REDIS_URL.

    They are never those of a running `script/server`, nor the ones that the environment names: tests empty what they
    use.
    """
    environment = {name: value for name, value in environment.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    remove_abandoned()
    data = Path(tempfile.mkdtemp(prefix=f"whispr-test-{os.geteuid()}-"))
    data.chmod(0o711)
    (data / "log").mkdir(mode=0o700)
    note(data / "log")
    keys = {name: secrets.token_urlsafe(24) for name in ("postgres", "valkey")}
    servers = Servers(data, environment, keys, temporary=True)
    with (data / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            servers.start()
            yield servers.urls
        finally:
            servers.stop()
            kill_adopted()
            _remove(data)


def remove_abandoned() -> None:
    """Remove the directories of test runs that were killed: those whose lock nobody holds."""
    for data in Path(tempfile.gettempdir()).glob(f"whispr-test-{os.geteuid()}-*"):
        with contextlib.suppress(OSError), (data / "lock").open("r") as lock:
            if time.time() - data.stat().st_mtime < 60:
                continue  # another run may be about to take its lock
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(data)


def _remove(data: Path) -> None:
    accounts.discard_private_place(data)
    shutil.rmtree(data, ignore_errors=True)
