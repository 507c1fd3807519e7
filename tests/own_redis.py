"""A Valkey of one test, to kill, to freeze and to empty."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from typing import Self

import redis

from whispr.embedded.finder import find_redis

START_SECONDS = 20.0


class OwnRedis:
    """Started on a free port; `kill()` and `start()` bring it back on the same port: empty, or `durable`, with all that
    it said it had."""

    def __init__(self, durable: bool = False) -> None:
        self.durable = durable
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis.from_url(self.url, socket_timeout=5)
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="own-redis-")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                str(find_redis(os.environ).path),
                *("--bind", "127.0.0.1", "--port", str(self.port), "--save", ""),
                *("--appendonly", "yes" if self.durable else "no", "--appendfsync", "everysec"),
                *("--dir", self._directory.name),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.client.ping()
                return
            except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        self.client.close()
        self._directory.cleanup()
