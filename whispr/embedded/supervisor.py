"""The local run: servers, migrations, then the system's own processes, until a signal or the death of a server ends all
of it.

A dead ASGI server or Celery worker is started again: what was acknowledged is in PostgreSQL, and clients come back. A
dead PostgreSQL or Valkey of ours ends the run with code 1; its data is recovered by the next start.
"""

import contextlib
import http.client
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from whispr.embedded import migrations, processes, runfile, state
from whispr.embedded.account import NoAccount
from whispr.embedded.finder import ServersMissing
from whispr.embedded.postgres import StartFailed
from whispr.embedded.process import (
    Child,
    Stopped,
    kill_adopted,
    kill_group,
    next_signal,
    say,
    spawn,
    stop,
    take_signals,
    wait_for,
)
from whispr.embedded.servers import Servers
from whispr.kernel.environment import whole_number

HOST = "127.0.0.1"
READY_SECONDS = 60  # from the start of the ASGI server; measured 2 s on a quiet machine
STOP_SECONDS = processes.GRACEFUL_SECONDS + 2
LONGEST_PAUSE = 10.0  # between two starts of a process that keeps ending
HEALTHY_SECONDS = 30.0  # after so long a process has recovered, and the pauses begin again at none


class Failed(Exception):
    """The run cannot go on; the text says why."""


@dataclass
class Role:
    """A process of ours that is started again when it ends."""

    name: str
    command: list[str]
    log: Path
    fds: tuple[int, ...] = ()
    is_worker: bool = False
    number: int = 0  # among all roles: its /metrics has WHISPR_METRICS_PORT and so many more
    child: Child | None = None
    failures: int = 0
    ended: float = 0.0
    not_before: float = 0.0
    seeks_answer: bool = False  # started again, and not yet seen to answer


@dataclass
class Run:
    """One local run, from its data directory to its processes."""

    caller: Mapping[str, str]
    data: Path
    listener: socket.socket
    port: int
    servers: Servers = field(init=False)
    roles: list[Role] = field(default_factory=list)
    helper: Child | None = None
    last_answer: str = "none"  # of /readyz
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def ready_file(self) -> Path:
        """Touched by the Celery worker when it takes work."""
        return self.data / "worker.ready"

    def start(self) -> None:
        """From nothing to an answering system. Raises Failed, Stopped and what the servers raise."""
        keys = state.load_secrets(self.data)
        self.servers = Servers(self.data, self.caller, keys)
        self.servers.start()
        self.environment = state.local_environment(self.caller, keys, self.servers.urls, self.port)
        self.environment["WHISPR_WORKER_READY_FILE"] = str(self.ready_file)
        runfile.write(self.data, state.published(self.environment))
        self._migrate()
        self._make_roles()
        for role in self.roles:
            self._launch(role)
        self._wait_until_ready()

    def _migrate(self) -> None:
        stamp = migrations.Stamp(self.data, self.environment["DATABASE_URL"])
        if stamp.is_current():
            return
        log = self.data / "log" / "migrate.log"
        log.unlink(missing_ok=True)
        command = processes.manage("migrate", "--noinput")
        self.helper = spawn("The migration", command, environment=self.environment, log=log)
        began, told = time.monotonic(), False
        while wait_for(self.helper, 3) is None:
            if not told:
                told = True
                say("Migrating the database …")
            self._heed_servers()
        code = self.helper.process.returncode
        if code:
            raise Failed(f"The migration failed (see {log}):\n{self.helper.last_words()}")
        self.helper = None
        stamp.write()
        if told:
            say(f"  done in {time.monotonic() - began:.1f} s")

    def _make_roles(self) -> None:
        count = _workers(self.caller)
        daphne = processes.asgi_server(self.caller) == "daphne"
        log = self.data / "log"
        if daphne:
            if count != 1:
                raise Failed("WHISPR_WORKERS needs uvicorn: daphne cannot share a listening socket.")
            self.listener.close()  # daphne makes its own
        fd = None if daphne else self.listener.fileno()
        for number in range(1, count + 1):
            name = "The ASGI server" if count == 1 else f"ASGI server {number}"
            file = log / ("web.log" if count == 1 else f"web-{number}.log")
            command = processes.web(self.environment, host=HOST, port=self.port, fd=fd)
            self.roles.append(Role(name, command, file, () if fd is None else (fd,)))
        self.roles.append(Role("The Celery worker", processes.worker(beat=True), log / "worker.log", is_worker=True))
        if self.environment.get("WHISPR_GRPC_ADDRESS"):
            self.roles.append(Role("The gRPC server", processes.grpc(), log / "grpc.log"))
        for number, role in enumerate(self.roles):
            role.number = number

    def _launch(self, role: Role) -> None:
        if role.is_worker:
            self.ready_file.unlink(missing_ok=True)
        environment = processes.with_metrics_port(self.environment, role.number)
        role.child = spawn(role.name, role.command, environment=environment, log=role.log, pass_fds=role.fds)

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + READY_SECONDS
        while not (self._answers() and self.ready_file.exists()):
            self._heed_servers()
            for role in self.roles:
                if role.child and not role.child.is_running:
                    words = role.child.last_words()
                    raise Failed(f"{role.name} {role.child.how_it_ended()} while starting (see {role.log}):\n{words}")
            if time.monotonic() > until:
                raise Failed(
                    f"The system did not become ready in {READY_SECONDS} s; the logs are in {self.data / 'log'}."
                )
            next_signal(0.05)

    def _answers(self) -> bool:
        """Whether GET /readyz says 200. It may not hold us up: a signal waits meanwhile."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=2)
        try:
            connection.request("GET", "/readyz", headers={"Host": f"{HOST}:{self.port}", "Connection": "close"})
            answer = connection.getresponse()
            self.last_answer = f"{answer.status} {answer.read(500).decode(errors='replace')}"
            return answer.status == 200
        except (OSError, http.client.HTTPException) as error:
            self.last_answer = f"none ({error})"
            return False
        finally:
            connection.close()

    def _heed_servers(self) -> None:
        if dead := self.servers.failed():
            raise Failed(
                f"{dead.name} {dead.how_it_ended()}; stopping. The next start recovers its data.\n"
                f"  Its log ends:\n{dead.last_words(8)}"
            )

    def watch(self) -> None:
        """Keep everything going until a signal (Stopped) or the end of a server (Failed)."""
        trimmed = time.monotonic()
        while True:
            next_signal(0.5)
            self._heed_servers()
            for role in self.roles:
                self._heal(role)
            if time.monotonic() - trimmed > 30:
                trimmed = time.monotonic()
                state.trim_logs(self.data)

    def _heal(self, role: Role) -> None:
        """Start a role again that has ended: at once the first time, later after growing pauses."""
        now = time.monotonic()
        if role.child is None:
            if now >= role.not_before:
                self._launch(role)
            return
        if role.child.is_running:
            if role.seeks_answer and (self.ready_file.exists() if role.is_worker else self._answers()):
                role.seeks_answer = False
                took = time.monotonic() - role.ended
                say(f"{role.name} runs again (process {role.child.process.pid}), {took:.1f} s after its end.")
            elif role.failures and now - role.child.began > HEALTHY_SECONDS:
                role.failures = 0
            return
        kill_group(role.child)  # its own children, an embedded beat for one
        role.failures += 1
        pause = 0.0 if role.failures == 1 else min(LONGEST_PAUSE, 0.5 * 2 ** (role.failures - 2))
        say(
            f"{role.name} (process {role.child.process.pid}) {role.child.how_it_ended()}; "
            f"starting it again{f' in {pause:.1f} s' if pause else ''} (log: {role.log})."
        )
        role.child, role.ended, role.not_before, role.seeks_answer = None, now, now + pause, True
        if not pause:
            self._launch(role)

    def stop(self) -> None:
        """End everything, whatever state it is in: first what uses the servers, then the servers."""
        users = [role.child for role in self.roles if role.child] + ([self.helper] if self.helper else [])
        stop(users, STOP_SECONDS)
        if hasattr(self, "servers"):
            self.servers.stop()
        kill_adopted()
        self.ready_file.unlink(missing_ok=True)


def open_listener(port: int) -> socket.socket:
    """The listening socket of the run. It stays open while the ASGI server is started again, so that clients wait
    instead of failing.

    Raises Failed when the port is taken.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. uvicorn and uvloop set it only on sockets that they opened themselves, and without it
        # a reply may wait 40 ms for the client's acknowledgement of the one before.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((HOST, port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        raise Failed(f"Port {port} of {HOST} cannot be used ({error}); WHISPR_PORT names another.") from error
    return listener


def _workers(caller: Mapping[str, str]) -> int:
    return whole_number("WHISPR_WORKERS", 1, least=1, most=64, environment=caller)


def serve(caller: Mapping[str, str]) -> int:
    """Run the system until a signal; the exit code: 0 after Ctrl-C, SIGTERM or a hang-up, 1 when something went
    wrong.
    """
    take_signals()
    data = runfile.data_directory(caller)
    try:
        port = whole_number("WHISPR_PORT", 8000, most=65_535, environment=caller)
        processes.asgi_server(caller)
        _workers(caller)
        state.make_directory(data)
        with state.locked(data), contextlib.closing(open_listener(port)) as listener:
            return _serve(Run(caller, data, listener, listener.getsockname()[1]))
    except (Failed, state.AlreadyRunning, ValueError, OSError) as error:
        say(f"Whispr cannot start: {error}")
        return 1


def _serve(run: Run) -> int:
    code = 0
    say("Starting Whispr …")
    try:
        run.start()
        say(f"Whispr is ready: http://{HOST}:{run.port}/")
        say(f"Logs: {run.data / 'log'}. Ctrl-C stops it; the data stays.")
        run.watch()
    except Stopped as stopped:
        say(f"\nStopping Whispr ({stopped}) …")
    except (Failed, StartFailed, ServersMissing, NoAccount, OSError) as error:
        say(f"{error}")
        code = 1
    finally:
        began = time.monotonic()
        run.stop()
        say(f"Whispr has stopped, after {time.monotonic() - began:.1f} s.")
    return code
