"""The whole local run, as a process of its own, through the faults that it must survive."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from whispr.embedded import runfile
from whispr.embedded.account import discard_private_place, private_place_name
from whispr.embedded.process import PROJECT, die_with_parent

SECONDS = 90
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel's help is Linux's")


class LocalRun:
    """`script/server` after its setup, on a free port, with data of its own."""

    def __init__(self, data: Path, **extra: str) -> None:
        ours = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")
        kept = {k: v for k, v in os.environ.items() if k not in ours and not k.startswith("WHISPR_")}
        self.data = data
        self.environment = kept | {"WHISPR_DATA_DIR": str(data), "WHISPR_PORT": "0", **extra}
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "whispr.embedded", "serve"],
            cwd=PROJECT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=die_with_parent,  # a killed test run must not leave it
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said += line

    def wait_said(self, pattern: str) -> "re.Match[str]":
        until = time.monotonic() + SECONDS
        while not (found := re.search(pattern, self.said)):
            assert time.monotonic() < until, f"{pattern} was not said:\n{self.said}"
            assert self.process.poll() is None or re.search(pattern, self.said), f"ended before {pattern}:\n{self.said}"
            time.sleep(0.02)
        return found

    def ready(self) -> str:
        return self.wait_said(r"(?m)^Whispr is ready: (http://127\.0\.0\.1:\d+/)$")[1]

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def processes(self, name: str = "") -> dict[int, str]:
        """Everything that belongs to the run, however it is related: pid -> command line."""
        found = {}
        # The servers may run from the directory under /var/tmp that belongs to this data.
        marks = (os.fsencode(self.data), os.fsencode(private_place_name(self.data)))
        for entry in Path("/proc").iterdir():
            try:
                if not entry.name.isdigit() or int(entry.name) in (os.getpid(), self.process.pid):
                    continue
                command = (entry / "cmdline").read_bytes()
                seen = command + (entry / "environ").read_bytes() + os.fsencode((entry / "cwd").readlink())
                stat = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if stat != "Z" and any(mark in seen for mark in marks) and name.encode() in command:
                found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        return found

    def left(self) -> dict[int, str]:
        until = time.monotonic() + 10
        while (found := self.processes()) and time.monotonic() < until:
            time.sleep(0.05)
        return found


Start = Callable[..., LocalRun]


def status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return int(answer.status)


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """One data directory for the module: made by its first case, found again by the others.

    Where the servers' account can reach it, which as root it cannot below pytest's own directories; those are for the
    cases that make data of their own. Its name and its lock let a later test run remove what a killed one left.
    """
    place = Path(tempfile.mkdtemp(prefix=f"whispr-test-{os.geteuid()}-"))
    yield place
    shutil.rmtree(place)


@pytest.fixture
def start(data: Path) -> Iterator[Start]:
    runs: list[LocalRun] = []

    def begin(**extra: str) -> LocalRun:
        runs.append(LocalRun(data, **extra))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.end()
    assert runs[-1].left() == {}


@linux
def test_a_run_answers_and_ctrl_c_ends_all_of_it(start: Start) -> None:
    run = start()
    url = run.ready()
    assert status(url + "readyz") == 200
    assert status(url) == 200

    assert run.end(signal.SIGINT) == 0
    assert run.left() == {}


@linux
def test_a_second_terminal_finds_the_servers_and_the_data_stays(start: Start) -> None:
    run = start()
    run.ready()
    code = "from django.contrib.auth import get_user_model as g; g().objects.create(username='kept')"
    terminal = {k: v for k, v in run.environment.items() if k != "WHISPR_PORT"}
    subprocess.run([sys.executable, "manage.py", "shell", "-c", code], cwd=PROJECT, env=terminal, check=True)
    assert run.end(signal.SIGTERM) == 0
    assert run.left() == {}

    again = start()
    again.ready()
    code = (
        "from django.contrib.auth import get_user_model as g; print('found', g().objects.get(username='kept').username)"
    )
    answer = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v0", "-c", code],
        cwd=PROJECT,
        env=terminal,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "kept" in answer.stdout


@linux
def test_nothing_outlives_a_killed_supervisor_and_the_next_run_starts(start: Start) -> None:
    run = start()
    run.ready()
    assert len(run.processes()) >= 4

    run.process.kill()
    run.process.wait()

    assert run.left() == {}
    assert runfile.load(run.data) == {}  # its run.json is there, but not alive
    again = start()
    assert status(again.ready() + "readyz") == 200


@linux
def test_a_killed_asgi_server_and_a_killed_worker_come_back(start: Start) -> None:
    run = start()
    url = run.ready()
    (web,) = run.processes("uvicorn")
    workers = run.processes("celery")

    os.kill(web, signal.SIGKILL)
    assert status(url + "readyz") == 200  # a request meanwhile only waits
    run.wait_said(r"The ASGI server \(process \d+\) was killed by SIGKILL; starting it again")
    run.wait_said(r"The ASGI server runs again")
    assert web not in run.processes("uvicorn")

    os.kill(min(workers), signal.SIGKILL)
    run.wait_said("The Celery worker runs again")
    assert not set(workers) & set(run.processes("celery"))  # nor is there a second beat

    assert run.end(signal.SIGHUP) == 0
    assert run.left() == {}


@linux
@pytest.mark.parametrize("name", ["bin/postgres", "valkey-server"])
def test_a_killed_server_ends_the_run_with_an_error_and_the_next_one_recovers(start: Start, name: str) -> None:
    run = start()
    run.ready()

    os.kill(min(run.processes(name) or run.processes("redis-server")), signal.SIGKILL)

    assert run.process.wait(SECONDS) == 1
    assert "was killed by SIGKILL; stopping" in run.said
    assert run.left() == {}
    again = start()
    assert status(again.ready() + "readyz") == 200


@linux
def test_one_run_at_a_time_and_one_run_a_port(start: Start, data: Path, tmp_path: Path) -> None:
    run = start()
    port = run.ready().rpartition(":")[2].strip("/")

    second = LocalRun(data)
    assert second.process.wait(SECONDS) == 1
    third = LocalRun(tmp_path / "other", WHISPR_PORT=port)
    assert third.process.wait(SECONDS) == 1

    time.sleep(0.2)
    assert f"already runs with the data in {data}, at http://127.0.0.1:{port}/" in second.said
    assert f"Port {port} of 127.0.0.1 cannot be used" in third.said
    assert status(f"http://127.0.0.1:{port}/readyz") == 200


@linux
@pytest.mark.parametrize("moment", ["Making a PostgreSQL", "Migrating the database|Whispr is ready"])
def test_ctrl_c_in_a_first_start_leaves_nothing_and_the_next_start_completes(tmp_path: Path, moment: str) -> None:
    place = tmp_path / "state"
    try:
        run = LocalRun(place)
        run.wait_said(moment)
        assert run.end() == 0
        assert run.left() == {}
        again = LocalRun(place)
        url = again.ready()
        assert status(url + "readyz") == 200
        assert again.end() == 0
        assert again.left() == {}
    finally:
        discard_private_place(place)


@linux
def test_several_asgi_processes_share_the_port(start: Start) -> None:
    run = start(WHISPR_WORKERS="2")
    url = run.ready()
    assert len(run.processes("uvicorn")) == 2

    os.kill(min(run.processes("uvicorn")), signal.SIGKILL)
    assert [status(url + "readyz") for _ in range(10)] == [200] * 10
    run.wait_said("ASGI server [12] runs again")


@linux
def test_the_entry_for_services_is_there_for_the_asking(start: Start) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    run = start(WHISPR_GRPC_ADDRESS=address)
    run.ready()

    with grpc.insecure_channel(address) as channel:
        asked = health_pb2.HealthCheckRequest(service="whispr.messaging.v1.Messaging")
        answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=SECONDS, wait_for_ready=True)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert run.end(signal.SIGTERM) == 0
    assert run.left() == {}


@linux
def test_daphne_is_there_for_the_asking_but_alone(start: Start) -> None:
    run = start(WHISPR_ASGI_SERVER="daphne")
    assert status(run.ready() + "readyz") == 200
    assert run.processes("daphne_server")
    assert run.end() == 0

    several = start(WHISPR_ASGI_SERVER="daphne", WHISPR_WORKERS="2")
    assert several.process.wait(SECONDS) == 1
    assert "WHISPR_WORKERS needs uvicorn" in several.said
