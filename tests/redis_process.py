"""A process of its own that takes from quotas and is present in conversations, told by lines of JSON.

with RedisProcess(url) as process:
    process.ask(do="take", user=…, count=50)   # {"granted": 50, "refused": 0, "retryAfter": None}
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty, Queue
from typing import Any
from uuid import UUID

ROOT = Path(__file__).resolve().parent.parent
ANSWER_SECONDS = 30.0


class RedisProcess:
    """`told` collects, in order, the diffs that a watcher of the process got, as (watcher's name, diff)."""

    def __init__(self, redis_url: str, **environment: str) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self._answers: Queue[dict[str, Any]] = Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.redis_process import main; main()"],
            cwd=ROOT,
            env={**os.environ, "REDIS_URL": redis_url, "DJANGO_SETTINGS_MODULE": "whispr.settings", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "RedisProcess":
        assert self._answers.get(timeout=ANSWER_SECONDS) == {"ready": True}
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "diff" in message:
                self.told.append((message["watcher"], message["diff"]))
            else:
                self._answers.put(message)

    def tell(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command, default=str) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        try:
            return self._answers.get(timeout=ANSWER_SECONDS)
        except Empty:
            raise AssertionError("the process does not answer") from None

    def ask(self, **command: Any) -> dict[str, Any]:
        self.tell(**command)
        return self.answer()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(5)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                pass

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def present(self, watcher: str, state: dict[str, Any]) -> set[str]:
        """The phx_refs that a client of `watcher` would show after `state` and all its diffs."""
        refs = refs_of(state)
        for name, diff in tuple(self.told):
            if name == watcher:
                refs |= refs_of(diff["joins"])
                refs -= refs_of(diff["leaves"])
        return refs


def refs_of(users: dict[str, Any]) -> set[str]:
    return {meta["phx_ref"] for user in users.values() for meta in user["metas"]}


def until(condition: Any, seconds: float = 20.0) -> None:
    """Wait until `condition()` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.02)


def main() -> None:
    import django

    django.setup()
    asyncio.run(_serve())


def _say(**message: Any) -> None:
    print(json.dumps(message), flush=True)


class _Told:
    def __init__(self, name: str) -> None:
        self.name = name

    def on_presence(self, payload: bytes) -> None:
        _say(watcher=self.name, diff=json.loads(payload))


async def _take(user_id: UUID, count: int) -> None:
    from trust.services.quota import quota_take_async
    from whispr.kernel.errors import RateLimited

    outcomes = await asyncio.gather(*(quota_take_async(user_id, "send") for _ in range(count)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, RateLimited)]
    assert all(outcome is None or outcome in refused for outcome in outcomes), outcomes
    waits = [outcome.retry_after or 0.0 for outcome in refused]
    _say(granted=count - len(refused), refused=len(refused), retryAfter=max(waits) if waits else None)


async def _serve() -> None:
    from messaging.fanout.bus import buses
    from messaging.presence import presences

    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    watchers: dict[str, _Told] = {}
    buses.get().start()
    _say(ready=True)
    while line := await lines.readline():
        command = json.loads(line)
        match command["do"]:
            case "take":
                await _take(UUID(command["user"]), command["count"])
            case "track":
                watcher = watchers.setdefault(command["watcher"], _Told(command["watcher"]))
                state = await presences.get().track(
                    UUID(command["conversation"]), UUID(command["user"]), UUID(command["device"]), watcher
                )
                _say(state=json.loads(state))
            case "untrack":
                presences.get().untrack(UUID(command["conversation"]), watchers[command["watcher"]])
                _say(done=True)
