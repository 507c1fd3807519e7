"""A Valkey (or Redis) of our own: on a free port of 127.0.0.1, with a random password and an append-only file."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from whispr.embedded.account import own, own_directory
from whispr.embedded.finder import Programs
from whispr.embedded.postgres import StartFailed, clean_environment, free_port
from whispr.embedded.process import Account, Child, next_signal, spawn, tail

START_SECONDS = 60


@dataclass
class Valkey:
    """One server: where its files are, who runs it and with which program."""

    programs: Programs
    account: Account
    home: Path  # holds valkey/
    password: str
    log: Path
    temporary: bool = False
    port: int = 0

    @property
    def directory(self) -> Path:
        """Where its configuration and its append-only file lie."""
        return self.home / "valkey"

    @property
    def url(self) -> str:
        """How the application connects."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def configuration(self) -> str:
        """Its configuration file.

        The password is there and not on the command line, which everyone on the machine can read.
        """
        return "\n".join(
            [
                "bind 127.0.0.1",
                f"port {self.port}",
                "protected-mode yes",
                f"requirepass {self.password}",
                f'dir "{self.directory}"',
                "daemonize no",
                'logfile ""',
                'save ""',
                # What waits for PostgreSQL in the recovery queue survives a crash but for the last second.
                f"appendonly {'no' if self.temporary else 'yes'}",
                "appendfsync everysec",
                "aof-load-truncated yes",
                "maxmemory 512mb",
                "maxmemory-policy noeviction",  # a full server refuses; it never drops what it said it has
                "databases 64",
                "",
            ]
        )

    def start(self, started: Callable[[Child], None]) -> Child:
        """Start the server and wait until it answers. `started` is told of each process, to end it whatever happens.

        Raises StartFailed and Stopped.
        """
        own_directory(self.directory, self.account)
        for _ in range(5):
            self.port = free_port()
            path = self.directory / "valkey.conf"
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(self.configuration())
            own(path, self.account)
            child = spawn(
                "Valkey",
                [self.programs.path, path],
                environment=clean_environment(),
                log=self.log,
                account=self.account,
                # Killing it loses nothing: what it has answered, it has written.
                death_signal=signal.SIGKILL,
                cwd=Path("/"),
            )
            started(child)
            if self._wait_until_ready(child):
                return child
            if "Address already in use" not in tail(self.log, 30):
                break
        raise StartFailed(f"Valkey did not start:\n{tail(self.log)}")

    def _wait_until_ready(self, child: Child) -> bool:
        """True when it answers, False when it has ended."""
        until = time.monotonic() + START_SECONDS
        while child.is_running:
            if self._answers():
                return True
            if time.monotonic() > until:
                raise StartFailed(f"Valkey was not ready after {START_SECONDS} s:\n{tail(self.log)}")
            next_signal(0.02)
        return False

    def _answers(self) -> bool:
        """Whether it takes our password and answers a ping; while it reads its file it says LOADING."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
            answer = b""
            while b"PONG" not in answer and (more := connection.recv(1024)):
                answer += more
                if b"-" in answer:
                    return False
            return b"+PONG" in answer
        return False
