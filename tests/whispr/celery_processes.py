"""Celery workers and beats of a test: the processes of a deployment, on the test database and a Valkey of their own."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

from tests.e2e.server import SECRET, database_url, spawn
from whispr.embedded import processes

STOP_SECONDS = 20.0


class CeleryProcess:
    """One role (`worker` or `beat`) of `python -m whispr.embedded run`."""

    def __init__(self, role: str, redis_url: str, **environment: str) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._environment = {
            **os.environ,
            "DATABASE_URL": f"{database_url()}?application_name=test-celery",
            "REDIS_URL": redis_url,
            "WHISPR_SECRET_KEY": SECRET,
            "WHISPR_JWT_SECRET": SECRET,
            "WHISPR_SIGNATURES": "off",
            "DJANGO_SETTINGS_MODULE": "whispr.settings",
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self._command = processes.deployed(role, self._environment)
        self.process: subprocess.Popen[bytes] = spawn(self._command, self._environment, self._log)

    def log(self) -> str:
        """What it wrote."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait: its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"it does not end:\n{self.log()[-3000:]}") from None

    def until_logged(self, text: str, seconds: float = 40) -> None:
        """Wait until it wrote `text`."""
        until(lambda: text in self.log() or self.process.poll() is not None, seconds, self.log)
        assert text in self.log(), self.log()[-3000:]


def until(holds: Callable[[], Any], seconds: float, log: Callable[[], str] = str) -> None:
    """Wait until `holds()`."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, f"it did not happen in time\n{log()[-3000:]}"
        time.sleep(0.05)
