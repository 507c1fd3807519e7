"""Real ASGI servers for tests: processes of their own, on free ports, on the test database.

    def test_something(start):
        server = start(asgi="daphne", workers=2, env={"WHISPR_SENDS_PER_MINUTE": "5"})
        token = server.token("Ada")
        server.kill()      # SIGKILL, as a crash
        server.restart()   # the same ports again

The fixture `start` (conftest.py) stops whatever a test started before the database is emptied.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Literal, Self

from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parent.parent.parent
SECRET = "a secret of the end-to-end tests, which is long enough for everything"
# A server imports Django and opens its pool: about 2 s alone, and tests share their machine.
START_SECONDS = 40.0
STOP_SECONDS = 15.0
REQUEST_SECONDS = 15.0
PR_SET_PDEATHSIG = 1
Asgi = Literal["uvicorn", "daphne"]


# A death signal comes when the thread that forked ends, not its process: so one thread forks, and lives as we do.
_spawner = ThreadPoolExecutor(1, "spawner")


def database_url() -> str:
    """The test database of this pytest run, as another process would name it."""
    known = connection.settings_dict
    user = urllib.parse.quote(known["USER"] or "", safe="")
    password = urllib.parse.quote(known["PASSWORD"] or "", safe="")
    login = f"{user}:{password}@" if password else f"{user}@" if user else ""
    return f"postgres://{login}{known['HOST'] or '127.0.0.1'}:{known['PORT'] or 5432}/{known['NAME']}"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _die_with_us() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def spawn(command: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A process of a test, in a session of its own; it dies with us."""

    def popen() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_die_with_us,
        )

    return _spawner.submit(popen).result()


class Worker:
    """One server process; its port stays its own over restarts."""

    def __init__(self, asgi: Asgi, environment: Mapping[str, str]) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = self._command_of(asgi)
        self._environment = dict(environment) | {"WHISPR_ASGI_SERVER": asgi}
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker
        self.process: subprocess.Popen[bytes] | None = None

    def _command_of(self, asgi: Asgi) -> list[str]:
        from whispr.embedded.processes import web

        return web({"WHISPR_ASGI_SERVER": asgi}, host="127.0.0.1", port=self.port)

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start the process."""
        assert self.process is None or self.process.poll() is not None
        self.process = spawn(self._command, self._environment, self._log)

    def wait_until_ready(self) -> None:
        """Raises AssertionError with the process's log when it does not become so."""
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as response:
                    if response.status == 200:
                        return
            except (OSError, urllib.error.URLError):
                pass
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"the server was not ready after {START_SECONDS} s:\n{self.log()}")
            time.sleep(0.05)

    def end(self, number: signal.Signals) -> None:
        """Signal the process, if it runs, and wait until it is gone."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def log(self, last: int = 6_000) -> str:
        """The end of what the process wrote, over all its starts."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - last))
        text = self._log.read().decode(errors="replace")
        self._log.seek(0, os.SEEK_END)
        return text


class Server:
    """One or more server processes on one database: what stands behind one address in production."""

    def __init__(self, asgi: Asgi = "uvicorn", workers: int = 1, env: Mapping[str, str] | None = None) -> None:
        environment = {
            **os.environ,
            "DATABASE_URL": database_url(),
            "REDIS_URL": settings.REDIS_URL,
            "WHISPR_SECRET_KEY": SECRET,
            "WHISPR_JWT_ALGORITHMS": "HS256",
            "WHISPR_JWT_SECRET": SECRET,
            "WHISPR_DEV_LOGIN": "1",
            "WHISPR_SIGNATURES": "optional",
            "WHISPR_SENDS_PER_MINUTE": "0",
            "WHISPR_LOG_LEVEL": "WARNING",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "PYTHONUNBUFFERED": "1",
        }
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        self.workers = [Worker(asgi, environment | dict(env or {})) for _ in range(workers)]

    @property
    def url(self) -> str:
        """Where the first process listens, without a slash at the end; `urls` has all."""
        return self.workers[0].url

    @property
    def urls(self) -> list[str]:
        """Where each process listens."""
        return [worker.url for worker in self.workers]

    @property
    def ws_url(self) -> str:
        """The first process's socket, with the version asked for."""
        return f"{self.url.replace('http', 'ws', 1)}/socket/websocket?vsn=2.0.0"

    def __enter__(self) -> Self:
        """Start every process; kill them at the end, and those that did start where one did not."""
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start every process, and wait until each is ready."""
        for worker in self.workers:
            worker.launch()
        for worker in self.workers:
            worker.wait_until_ready()

    def kill(self) -> None:
        """SIGKILL every process: nothing of theirs gets to say goodbye."""
        for worker in self.workers:
            worker.end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM every process and wait for it."""
        for worker in self.workers:
            worker.end(signal.SIGTERM)

    def restart(self) -> None:
        """Stop what runs, then start it again on the same ports."""
        self.stop()
        self.start()

    def log(self) -> str:
        """The end of what each process wrote."""
        return "\n".join(f"--- {worker.url}\n{worker.log()}" for worker in self.workers)

    def request(self, method: str, path: str, body: object = None, token: str | None = None) -> tuple[int, Any]:
        """One request below /api/v1: the status and the decoded body, whatever the status."""
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"}
            | ({} if token is None else {"Authorization": f"Bearer {token}"}),
        )
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as response:
                return response.status, json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def sign_in(self, name: str) -> dict[str, str]:
        """`{token, userId, deviceId}` of a new device of the person of this name."""
        status, answer = self.request("POST", "dev/tokens", {"name": name})
        assert status in (200, 201), (status, answer)
        return dict(answer)

    def token(self, name: str) -> str:
        """A token of a new device of the person of this name."""
        return self.sign_in(name)["token"]
