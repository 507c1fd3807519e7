"""Starting what is measured: PostgreSQL and Valkey in a temporary directory, migrations, the ASGI server's processes.

The same command lines as `script/server` and a deployment (whispr/embedded/processes.py), with the rates lifted.
"""

import contextlib
import os
import re
import secrets
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from bench.target import Target, find_postmaster, postgres_version
from bench.usage import Meter, listeners_on
from integrations.development.servers import SETTINGS
from whispr.embedded import processes, runfile, servers, supervisor
from whispr.embedded.process import Child, spawn, stop

HOST = "127.0.0.1"
READY_SECONDS = 60.0
STOP_SECONDS = 12.0


class StartFailed(Exception):
    """The system could not be started; the text says why."""


@contextlib.contextmanager
def running(url: str, environment: Mapping[str, str]) -> Iterator[Target]:
    """The target at `url`, with what the environment, or a running `script/server`, says of it.

    Raises StartFailed where DATABASE_URL is not to be had: without it nothing could be checked.
    """
    known = dict(environment)
    runfile.apply_to_environment(known)
    if not known.get("DATABASE_URL"):
        raise StartFailed("DATABASE_URL is not set, and no script/server runs here: the check needs the database.")
    pids = listeners_on(urlsplit(url).port or 80)
    if not pids:
        raise StartFailed(f"No process of this machine listens on {url}.")
    yield _target([url.rstrip("/")], known, pids, {"asgi": "already running"})


@contextlib.contextmanager
def started(asgi: str, workers: int, port: int, environment: Mapping[str, str]) -> Iterator[Target]:
    """A system of our own, gone at the end. Raises StartFailed, and what whispr.embedded raises."""
    with _servers(environment) as urls, tempfile.TemporaryDirectory(prefix="whispr-bench-") as directory:
        logs = Path(directory)
        settings = {**environment, **urls, **_settings(environment), "WHISPR_ASGI_SERVER": asgi}
        settings["WHISPR_STATIC_ROOT"] = str(logs / "static")
        _migrate(settings)
        children: list[Child] = []
        try:
            addresses = _start_web(settings, asgi, workers, port, logs, children)
            pids = [child.process.pid for child in children]
            yield _target(addresses, settings, pids, {"asgi": asgi, "workers": workers})
        finally:
            stop(children, STOP_SECONDS)


@contextlib.contextmanager
def with_services_beside(asgi: str, workers: int, environment: Mapping[str, str]) -> Iterator[Target]:
    """Two systems with databases of their own; the second one asks the three services of `manage.py run_services`.

    Raises what `started` does.
    """
    alone = {name: value for name, value in environment.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(started(asgi, workers, 0, alone))
        asking = {**alone, **stack.enter_context(_servers(alone))}  # the user service reads the same tables
        asking |= stack.enter_context(_services(asking))
        target.beside = stack.enter_context(started(asgi, workers, 0, asking))
        yield target


@contextlib.contextmanager
def _services(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The development services; their settings. They end with their parent too, being its children."""
    settings = {**environment, **_settings(environment)}
    with tempfile.TemporaryDirectory(prefix="whispr-bench-services-") as directory:
        log = Path(directory) / "services.log"
        child = spawn("run_services", processes.manage("run_services"), environment=settings, log=log)
        try:
            until = time.monotonic() + READY_SECONDS
            while len(told := dict(re.findall(r"(?m)^(WHISPR_\w+)=(\S+)$", log.read_text()))) < len(SETTINGS):
                if not child.is_running or time.monotonic() > until:
                    raise StartFailed(f"run_services {child.how_it_ended()}:\n{child.last_words(30)}")
                time.sleep(0.05)
            yield told
        finally:
            stop([child], STOP_SECONDS)


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        "WHISPR_SECRET_KEY": secrets.token_urlsafe(48),
        "WHISPR_JWT_ALGORITHMS": "HS256",
        "WHISPR_JWT_SECRET": secrets.token_urlsafe(48),
        "WHISPR_SIGNATURES": "optional",
        "WHISPR_SENDS_PER_MINUTE": "0",
        "WHISPR_ACKS_PER_MINUTE": "0",
        "WHISPR_LOG_LEVEL": environment.get("WHISPR_LOG_LEVEL", "WARNING"),
    }


@contextlib.contextmanager
def _servers(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The servers that the environment names, or temporary ones."""
    named = {name: environment[name] for name in ("DATABASE_URL", "REDIS_URL") if environment.get(name)}
    if len(named) == 2:
        yield named
        return
    if named:
        raise StartFailed("Set both DATABASE_URL and REDIS_URL, or neither.")
    with servers.temporary(environment) as urls:
        yield urls


def _migrate(settings: Mapping[str, str]) -> None:
    done = subprocess.run(
        processes.manage("migrate", "--noinput", "-v", "0"),
        env=dict(settings),
        cwd=runfile.PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise StartFailed(f"The migration failed:\n{done.stderr[-2000:]}")


def _start_web(
    settings: Mapping[str, str], asgi: str, workers: int, port: int, logs: Path, children: list[Child]
) -> list[str]:
    """uvicorn: one listening socket for all processes, as the local run has it. daphne: a port each."""
    commands: list[tuple[str, list[str], int | None]] = []
    listener: socket.socket | None = None
    if asgi == "daphne":
        for number in range(workers):
            with supervisor.open_listener(port + number if port else 0) as probe:
                own = int(probe.getsockname()[1])
            commands.append((f"http://{HOST}:{own}", processes.web(settings, host=HOST, port=own), None))
    else:
        listener = supervisor.open_listener(port)
        own = int(listener.getsockname()[1])
        command = processes.web(settings, host=HOST, port=own, fd=listener.fileno())
        commands = [(f"http://{HOST}:{own}", command, listener.fileno())] * workers
    for number, (_, command, fd) in enumerate(commands):
        log = logs / f"web-{number}.log"
        fds = () if fd is None else (fd,)
        children.append(spawn("The ASGI server", command, environment=settings, log=log, pass_fds=fds))
    if listener is not None:
        listener.close()
    addresses = sorted({address for address, _, _ in commands})
    for address in addresses:
        _wait_until_ready(address, children)
    if len(addresses) < workers:
        time.sleep(2.0)  # processes on one socket cannot be asked one by one
    return addresses


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:  # URLError and HTTPError are such
        return False


def _wait_until_ready(address: str, children: list[Child]) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if _answers(address):
            return
        for child in children:
            if not child.is_running:
                raise StartFailed(f"The ASGI server {child.how_it_ended()}:\n{child.last_words(30)}")
        time.sleep(0.05)
    raise StartFailed(f"{address} was not ready after {READY_SECONDS:.0f} s:\n{children[0].last_words(30)}")


def _target(urls: list[str], settings: Mapping[str, str], pids: list[int], about: dict[str, object]) -> Target:
    database_url = settings["DATABASE_URL"]
    about = {**about, "postgres": postgres_version(database_url), "cores": os.cpu_count(), "processes": len(pids)}
    return Target(
        urls=urls,
        database_url=database_url,
        secret=settings.get("WHISPR_JWT_SECRET") or None,
        meter=Meter(pids, find_postmaster(database_url)),
        issuer=settings.get("WHISPR_JWT_ISSUER") or "whispr",
        audience=settings.get("WHISPR_JWT_AUDIENCE") or "whispr",
        about=about,
    )
