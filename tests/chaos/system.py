"""The system under test: PostgreSQL, Valkey, server processes, worker and beat of its own, with links between them.

Everything is a child of ours with a death signal: however this process ends, nothing stays. What dies is started again
as a service manager would, unless a fault wants it dead.
"""

import asyncio
import contextlib
import fcntl
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import redis

from tests.chaos.process import Process, in_spawner
from tests.chaos.proxy import Link
from whispr.embedded import account as accounts
from whispr.embedded import processes
from whispr.embedded.finder import find_postgres, find_redis
from whispr.embedded.postgres import Postgres, free_port
from whispr.embedded.process import Child, kill_group, spawn, stop
from whispr.embedded.valkey import Valkey

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 60.0
RESTART_SECONDS = 0.5  # a service manager's pause
POOL = "10"
# The services' names, and the settings that name them.
SERVICES = {
    "users": "WHISPR_USER_SERVICE",
    "media": "WHISPR_MEDIA_SERVICE",
    "notifications": "WHISPR_NOTIFICATION_SERVICE",
}


class System:
    """One system. `environment` is added to what its processes see; `tree` is the program's source."""

    def __init__(
        self,
        *,
        webs: int = 2,
        seed: int = 0,
        tree: Path = ROOT,
        services: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.tree = tree
        self.seed = seed
        self.extra = dict(environment or {})
        self.secret = secrets.token_urlsafe(48)
        self.data = Path(tempfile.mkdtemp(prefix=f"whispr-test-{os.geteuid()}-"))
        self.data.chmod(0o711)
        self.logs = self.data / "log"
        self.logs.mkdir(mode=0o700)
        # Held while we live: the next test run removes the directories whose lock nobody holds.
        self._lock = (self.data / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.webs: list[Process] = []
        self.workers: list[Process] = []
        self.beats: list[Process] = []
        self.services: list[Process] = []
        self.with_services = services
        self.links: dict[str, Link] = {}
        self.postgres: Postgres
        self.postgres_child: Child | None = None
        self.valkey: Valkey
        self.valkey_child: Child | None = None
        self.unwanted: set[str] = set()  # servers that a fault wants dead
        self._webs = webs
        self._keeper: asyncio.Task[None] | None = None

    # --- names and addresses

    @property
    def processes(self) -> list[Process]:
        """Everything that runs the program."""
        return [*self.services, *self.webs, *self.workers, *self.beats]

    @property
    def admin_url(self) -> str:
        """PostgreSQL as its superuser, past every link."""
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        """Valkey, past every link."""
        return self.valkey.url

    def link(self, name: str) -> Link:
        """The link of that name: client-0, control-0, postgres-web-0, redis-web-0, postgres-work, redis-work."""
        return self.links[name]

    def links_to(self, *kinds: str) -> list[Link]:
        """The links whose names begin so."""
        return [link for name, link in self.links.items() if name.startswith(kinds)]

    # --- from nothing to an answering system, and back

    async def start(self) -> None:
        """Start everything. Raises what the servers raise, and RuntimeError where a process does not come up."""
        account = accounts.choose_account()
        home = accounts.reachable_home(self.data, account)
        named = {name: value for name, value in os.environ.items() if name in ("PG_BINDIR", "REDIS_BIN")}
        valkey = accounts.reachable_programs(find_redis(named), self.data, account)
        postgres = accounts.reachable_programs(find_postgres(named), self.data, account, "postgres")
        password = secrets.token_urlsafe(24)
        self.valkey = Valkey(valkey, account, home, password, self.logs / "valkey.log")
        self.postgres = Postgres(postgres, account, home, password, self.logs / "postgres.log", temporary=True)
        await self.start_valkey()
        await in_spawner(self.postgres.make)
        await self.start_postgres()
        await asyncio.to_thread(self._make_role)
        for kind in [*(f"web-{number}" for number in range(self._webs)), "work"]:
            for server in ("postgres", "redis"):
                await self._add_link(f"{server}-{kind}", self._port_of(server))
        await self._migrate()
        if self.with_services:
            await self._add_services()
        for number in range(self._webs):
            port = free_port()
            command = processes.web({}, host="127.0.0.1", port=port)
            self.webs.append(self._process(f"web-{number}", command, f"web-{number}"))
            await self._add_link(f"client-{number}", port)
            await self._add_link(f"control-{number}", port)
        self.workers = [self._process("worker", processes.worker(beat=False), "work")]
        self.beats = [self._process("beat", processes.beat(), "work")]
        for process in self.processes:
            await process.start()
        await self.until_ready()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End everything, and remove what it wrote."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        for process in self.processes:
            process.wanted = False
            process.signal(signal.SIGCONT)
        children = [process.child for process in self.processes if process.child is not None]
        servers = [child for child in (self.valkey_child, self.postgres_child) if child is not None]
        for child in servers:
            self._signal_tree(child, signal.SIGCONT)
        await in_spawner(stop, children, 3)
        await in_spawner(stop, servers, 10)
        for link in self.links.values():
            await link.close()
        self._lock.close()
        await asyncio.to_thread(self._remove)

    def _remove(self) -> None:
        accounts.discard_private_place(self.data)
        shutil.rmtree(self.data, ignore_errors=True)

    async def _add_link(self, name: str, port: int) -> None:
        link = self.links[name] = Link(name, ("127.0.0.1", port), self.seed)
        await link.start()

    def _port_of(self, server: str) -> int:
        return self.postgres.port if server == "postgres" else self.valkey.port

    def environment(self, name: str, way: str) -> dict[str, str]:
        """What a process sees; `way` names its links."""
        base = {name: value for name, value in os.environ.items() if not name.startswith(("WHISPR_", "DJANGO_"))}
        database = (
            f"postgres://app:{quote(self.postgres.password)}@127.0.0.1:{self.link(f'postgres-{way}').port}/whispr"
        )
        return {
            **base,
            "DATABASE_URL": database,
            "REDIS_URL": f"redis://:{self.valkey.password}@127.0.0.1:{self.link(f'redis-{way}').port}/0",
            "DJANGO_SETTINGS_MODULE": "whispr.settings",
            "WHISPR_SECRET_KEY": self.secret,
            "WHISPR_JWT_ALGORITHMS": "HS256",
            "WHISPR_JWT_SECRET": self.secret,
            "WHISPR_SIGNATURES": "optional",
            "WHISPR_SENDS_PER_MINUTE": "0",
            "WHISPR_ACKS_PER_MINUTE": "0",
            "WHISPR_REACTIONS_PER_MINUTE": "0",
            "WHISPR_DELETIONS_PER_MINUTE": "0",
            "WHISPR_DB_POOL": POOL,
            "WHISPR_LOG_LEVEL": "WARNING",
            "WHISPR_MEDIA_DIR": str(self.data / "media"),
            "WHISPR_ALLOW_FAILPOINTS": "1",
            "WHISPR_FAILPOINTS_FILE": str(self.data / f"failpoints-{name}"),
            "PYTHONPATH": str(self.tree),
            "PYTHONUNBUFFERED": "1",
            **self.extra,
        }

    async def _add_services(self) -> None:
        """The user, media and notification services, in one process, each behind a link of its own."""
        first = _free_ports(len(SERVICES))
        self.set_services(dict.fromkeys(SERVICES, "ok"))
        command = [sys.executable, "manage.py", "run_services", "--port", str(first)]
        command += ["--control", str(self._control), "--push-log", str(self.push_log)]
        self.services = [self._process("services", command, "work")]
        for place, (name, setting) in enumerate(SERVICES.items()):
            await self._add_link(f"service-{name}", first + place)
            self.extra[setting] = f"127.0.0.1:{self.link(f'service-{name}').port}"

    @property
    def _control(self) -> Path:
        return self.data / "services.json"

    @property
    def push_log(self) -> Path:
        """What the notification service showed."""
        return self.data / "pushes.jsonl"

    def set_services(self, modes: Mapping[str, str]) -> None:
        """Let services behave so: `ok`, `slow:5`, `wrong`, `error`, `gone`."""
        before = json.loads(self._control.read_text()) if self._control.exists() else {}
        new = self._control.with_suffix(".new")
        new.write_text(json.dumps(before | dict(modes)))
        new.replace(self._control)

    def _process(self, name: str, command: list[str], way: str) -> Process:
        return Process(name, command, self.environment(name, way), self.logs / f"{name}.log", self.tree)

    def add_process(self, name: str, command: list[str], **environment: str) -> Process:
        """Another one of the workers' kind, not started: a second beat, for one."""
        process = self._process(name, command, "work")
        process.environment |= environment
        return process

    async def _migrate(self) -> None:
        # Not through whispr.embedded.processes: the tree may be another than ours.
        command = [sys.executable, "manage.py", "migrate", "--noinput"]
        environment = self.environment("migrate", "work")
        log = self.logs / "migrate.log"
        child = await in_spawner(spawn, "migrate", command, environment=environment, log=log, cwd=self.tree)
        while child.is_running:
            await asyncio.sleep(0.1)
        if child.process.returncode:
            raise RuntimeError(f"the migration failed:\n{child.last_words()}")

    async def until_ready(self) -> None:
        """Wait until every server process answers that it is ready. Raises RuntimeError."""
        until = time.monotonic() + START_SECONDS
        for number, web in enumerate(self.webs):
            port = self.link(f"client-{number}").target[1]
            while not await asyncio.to_thread(answers, port):
                if web.child is not None and not web.child.is_running and self._keeper is None:
                    raise RuntimeError(f"{web.name} {web.child.how_it_ended()}:\n{web.child.last_words(30)}")
                if time.monotonic() > until:
                    words = web.child.last_words(30) if web.child else ""
                    raise RuntimeError(f"{web.name} was not ready after {START_SECONDS:.0f} s:\n{words}")
                await asyncio.sleep(0.1)

    async def _keep(self) -> None:
        """Start again what has died, as a service manager does."""
        while True:
            await asyncio.sleep(0.1)
            for process in self.processes:
                if not process.wanted or process.child is None or process.is_running:
                    process.died = 0.0
                elif not process.died:
                    process.died = time.monotonic()
                    process.ended.append(process.child.how_it_ended())
                elif time.monotonic() - process.died > RESTART_SECONDS:
                    process.died = 0.0
                    await in_spawner(kill_group, process.child)
                    await process.start()

    # --- the servers

    async def start_valkey(self) -> None:
        """Start Valkey, on a new port that its links lead to."""
        self.valkey_child = await in_spawner(self.valkey.start, lambda child: None)
        for link in self.links_to("redis-"):
            link.target = ("127.0.0.1", self.valkey.port)

    async def start_postgres(self) -> None:
        """Start PostgreSQL, on a new port that its links lead to."""
        self.postgres_child = await in_spawner(self.postgres.start, lambda child: None)
        for link in self.links_to("postgres-"):
            link.target = ("127.0.0.1", self.postgres.port)

    async def kill_valkey(self) -> None:
        """SIGKILL."""
        if self.valkey_child is not None:
            await in_spawner(kill_group, self.valkey_child)

    async def kill_postgres(self) -> None:
        """SIGKILL to the postmaster and every process of its, at once."""
        if self.postgres_child is not None:
            self._signal_tree(self.postgres_child, signal.SIGKILL)
            await in_spawner(kill_group, self.postgres_child)

    async def stop_postgres(self, seconds: float = 20.0) -> None:
        """A fast shutdown: sessions are ended, a checkpoint is written."""
        if self.postgres_child is not None:
            await in_spawner(stop, [self.postgres_child], seconds)

    def signal_postgres(self, number: signal.Signals) -> None:
        """A signal to every process of PostgreSQL."""
        if self.postgres_child is not None:
            self._signal_tree(self.postgres_child, number)

    def signal_valkey(self, number: signal.Signals) -> None:
        """A signal to Valkey."""
        if self.valkey_child is not None:
            self._signal_tree(self.valkey_child, number)

    def _signal_tree(self, child: Child, number: signal.Signals) -> None:
        """First the parent, so that it starts no others meanwhile."""
        pid = child.process.pid
        for one in (pid, *_descendants(pid)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(one, number)

    def _make_role(self) -> None:
        """The application is no superuser, so that limits of roles hold for it."""
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE app LOGIN PASSWORD '{self.postgres.password}'")
            connection.execute("ALTER DATABASE whispr OWNER TO app")
            connection.execute("GRANT ALL ON SCHEMA public TO app")

    async def sql(self, text: str, *params: object) -> list[tuple[Any, ...]]:
        """Statements as the superuser, past the links. Raises psycopg.Error."""

        def run() -> list[tuple[Any, ...]]:
            with psycopg.connect(self.admin_url, autocommit=True, connect_timeout=5) as connection:
                cursor = connection.execute(text, params or None)  # type: ignore[arg-type]
                return cursor.fetchall() if cursor.description else []

        return await asyncio.to_thread(run)

    async def redis(self, *command: str) -> Any:
        """One command, past the links. Raises redis.RedisError."""

        def run() -> Any:
            client = redis.Redis.from_url(self.redis_url, socket_timeout=5)
            try:
                return client.execute_command(*command)
            finally:
                client.close()

        return await asyncio.to_thread(run)

    def log_of(self, name: str) -> str:
        """What a process wrote."""
        path = self.logs / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""


def _free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        first = free_port()
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", port))))
            return first


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return children + [one for child in children for one in _descendants(child)]


def answers(port: int) -> bool:
    """Whether a server process says that it is ready."""

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", "/readyz", headers={"Host": f"127.0.0.1:{port}"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
