"""A PostgreSQL of our own: made once, started on a free port of 127.0.0.1, stopped without losing anything.

Nothing of the system's environment reaches it (a wrong LANG stops initdb). Its password is random and its data
directory carries the major version in its name, since only the same version can open it.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from whispr.embedded.account import own, own_directory
from whispr.embedded.finder import Programs
from whispr.embedded.process import Account, Child, next_signal, say, spawn, stop, tail, wait_for

USER = "whispr"
DATABASE = "whispr"
START_SECONDS = 300  # crash recovery replays at most max_wal_size; a slow disk may need minutes for it
# What makes a group commit fast keeps it durable: one flush a batch, never none. Memory and connections are for one
# machine's use.
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path is limited to 107 bytes, a checkout's is not
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",  # a checkpoint writes whole pages into the log again: seldom is cheaper
    "checkpoint_timeout": "15min",
    "wal_buffers": "16MB",
    "random_page_cost": "1.1",
    "jit": "off",  # compiling costs more than these short queries
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_duration_statement": "-1",  # a statement's text may hold a ciphertext
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "tcp_keepalives_idle": "30",
}


class StartFailed(Exception):
    """A server did not start; the text says why, as far as its log does."""


def free_port() -> int:
    """A port of 127.0.0.1 that is free now. Another process may take it before its user does: callers try again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """What the servers see: nothing of ours."""
    return {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}


@dataclass
class Postgres:
    """One cluster: where it is, who runs it and with which programs."""

    programs: Programs
    account: Account
    home: Path  # holds pg<major>/
    password: str
    log: Path
    temporary: bool = False
    port: int = 0

    @property
    def directory(self) -> Path:
        """The data directory."""
        return self.home / f"pg{self.programs.major}"

    @property
    def url(self) -> str:
        """How the application connects."""
        return f"postgres://{USER}:{quote(self.password)}@127.0.0.1:{self.port}/{DATABASE}"

    def make(self) -> None:
        """Make the cluster unless it is there. Interrupted, it leaves only `pg<major>.new`, which the next start
        removes.

        Raises StartFailed and Stopped.
        """
        if self.directory.exists():
            return
        new = self.directory.with_name(self.directory.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        own_directory(new, self.account)
        secret = self.home / ".password.new"
        secret.unlink(missing_ok=True)
        with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self.password + "\n")
        own(secret, self.account)
        # PostgreSQL 17 brings a locale of its own; before, only C is sure to be there.
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self.programs.major >= 17 else []
        options = ["--encoding=UTF8", "--locale=C", *locale, "--data-checksums", "--auth=scram-sha-256"]
        command: list[str | Path] = [
            self.programs.path / "initdb",
            "-D",
            new,
            f"--username={USER}",
            f"--pwfile={secret}",
            *options,
        ]
        try:
            child = spawn(
                "initdb",
                [*command, *(["--no-sync"] if self.temporary else [])],
                environment=clean_environment(),
                log=self.log,
                account=self.account,
                cwd=Path("/"),
            )
            try:
                code = wait_for(child)
            finally:
                stop([child], 2)
        finally:
            secret.unlink(missing_ok=True)
        if code != 0:
            raise StartFailed(f"initdb failed:\n{child.last_words()}")
        new.rename(self.directory)

    def start(self, started: Callable[[Child], None]) -> Child:
        """Start the server and wait until it takes connections. `started` is told of each process, to end it whatever
        happens.

        Raises StartFailed and Stopped.
        """
        self._end_leftover()
        for attempt in range(8):
            self.port = free_port()
            mark = self.log.stat().st_size if self.log.exists() else 0
            child = spawn(
                "PostgreSQL",
                self.command(),
                environment=clean_environment(),
                log=self.log,
                account=self.account,
                stop_signal=signal.SIGINT,  # "fast"; SIGTERM would wait for every client
                death_signal=signal.SIGQUIT,  # at once, and no backend stays; the next start recovers
                cwd=Path("/"),
            )
            started(child)
            if self._wait_until_ready(child):
                self._make_database()
                return child
            said = self._said_since(mark)
            if "could not bind" in said or "ould not create any TCP/IP sockets" in said:
                continue
            if "still in use" in said or "lock file" in said:  # the end of a killed predecessor's backends
                next_signal(0.5 + attempt / 2)
                continue
            break
        raise StartFailed(f"PostgreSQL did not start:\n{tail(self.log)}")

    def command(self) -> list[str | Path]:
        """The server's command line."""
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return [self.programs.path / "postgres", "-D", self.directory, "-p", str(self.port), *options]

    def _said_since(self, mark: int) -> str:
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(mark)
            return file.read().decode(errors="replace")
        return ""

    def _pid_file(self) -> list[str]:
        try:
            return (self.directory / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _wait_until_ready(self, child: Child) -> bool:
        """True when line 8 of postmaster.pid says so; False when the process has ended."""
        began, told = time.monotonic(), False
        while child.is_running:
            lines = self._pid_file()
            # In a user namespace the server knows itself by the same pid: only the user is mapped.
            if len(lines) >= 8 and lines[0].strip() == str(child.process.pid) and lines[7].strip() == "ready":
                return True
            waited = time.monotonic() - began
            if waited > START_SECONDS:
                raise StartFailed(f"PostgreSQL was not ready after {START_SECONDS} s:\n{tail(self.log)}")
            if waited > 3 and not told:
                told = True
                say("PostgreSQL is recovering from an earlier crash …")
            next_signal(0.02)
        return False

    def _end_leftover(self) -> None:
        """End a server of this directory whose supervisor was killed (its death signal is at work; elsewhere than
        Linux it runs on).
        """
        lines = self._pid_file()
        if not lines or not re.fullmatch(r"\s*[0-9]{1,9}\s*", lines[0]):
            return
        pid = int(lines[0])
        for waited in range(200):
            if not self._is_ours(pid):
                # The system may have given this pid to something else since: PostgreSQL would take that for itself and
                # refuse.
                (self.directory / "postmaster.pid").unlink(missing_ok=True)
                return
            if waited == 50:
                say(f"Stopping a PostgreSQL that an earlier run left behind (process {pid}) …")
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGINT)
            next_signal(0.1)
        raise StartFailed(f"Another PostgreSQL (process {pid}) uses {self.directory} and does not stop.")

    def _is_ours(self, pid: int) -> bool:
        """Whether a process is a server of this directory."""
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            if Path("/proc/self").exists():
                return False
            answer = subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, check=False)
            return os.fsencode(self.directory) in answer.stdout
        return os.fsencode(self.directory) in command

    def _make_database(self) -> None:
        """Create the application's database on the first start."""
        import psycopg
        from psycopg import sql

        where = {"host": "127.0.0.1", "port": self.port, "user": USER, "password": self.password, "connect_timeout": 10}
        with psycopg.connect(dbname="postgres", autocommit=True, **where) as connection:  # type: ignore[arg-type]
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def existing_major(home: Path) -> int | None:
    """The major version of the data that is there; the newest when there are several."""
    found = [int(path.name[2:]) for path in home.glob("pg[0-9]*") if path.name[2:].isdigit()]
    return max(found, default=None)
