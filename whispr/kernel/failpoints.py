"""Places where a test can make the program fail: `hit("send.before_commit")` (docs/reliability.md "Failpoints").

While none is armed, a hit is one look into an empty dictionary. They are armed by WHISPR_FAILPOINTS, or while the
process runs by the file that WHISPR_FAILPOINTS_FILE names, each a list of `name:action[:argument]` separated by commas
or lines. Neither is heeded unless the process is a development's (WHISPR_DEBUG) or WHISPR_ALLOW_FAILPOINTS=1 says that
it is a test's: `whispr/checks.py` refuses to serve otherwise.

| action | what a hit does | argument |
| --- | --- | --- |
| `kill` | SIGKILL to this process; once, where it came from the file | hits that pass before, 0 |
| `error` | raises Failed, every time | hits that pass before, 0 |
| `sleep` | waits | seconds, 1 |
| `block` | waits until the failpoint is taken away, for 60 seconds at most | |
| `off` | nothing | |
"""

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path

ACTIONS = ("kill", "error", "sleep", "block", "off")
BLOCK_SECONDS_MAX = 60.0
# How soon a change of the file is seen; a look is one stat() in a thread that only a test's process has.
WATCH_SECONDS = 0.02


class Failed(Exception):
    """What an armed `error` raises: a fault that no code foresees."""


class Failpoint:
    """One armed place."""

    __slots__ = ("action", "argument", "name", "passes")

    def __init__(self, name: str, action: str, argument: float) -> None:
        self.name = name
        self.action = action
        self.argument = argument
        self.passes = int(argument)

    def act(self) -> None:
        """Do what the action says. Raises Failed."""
        if self.action in ("kill", "error") and self.passes > 0:
            self.passes -= 1
        elif self.action == "kill":
            if _claim():
                os.kill(os.getpid(), signal.SIGKILL)
        elif self.action == "error":
            raise Failed(self.name)
        elif self.action == "sleep":
            time.sleep(self.argument)
        elif self.action == "block":
            until = time.monotonic() + BLOCK_SECONDS_MAX
            while _armed.get(self.name) is self and time.monotonic() < until:
                time.sleep(WATCH_SECONDS)


_armed: dict[str, Failpoint] = {}
_file: Path | None = None


def hit(name: str) -> None:
    """The program has come to the place `name`. Raises Failed where a test wants it."""
    failpoint = _armed.get(name)
    if failpoint is not None:
        failpoint.act()


def parse(text: str) -> dict[str, Failpoint]:
    """The failpoints that a text arms. Raises ValueError where it does not say what to do."""
    found: dict[str, Failpoint] = {}
    for part in text.replace("\n", ",").split(","):
        if not part.strip():
            continue
        name, _, rest = part.strip().partition(":")
        action, _, argument = rest.partition(":")
        if not name or action not in ACTIONS:
            raise ValueError(f"a failpoint is name:action[:argument] with one of {', '.join(ACTIONS)}, not {part!r}")
        found[name] = Failpoint(name, action, float(argument or (1 if action == "sleep" else 0)))
    return {name: failpoint for name, failpoint in found.items() if failpoint.action != "off"}


def arm(text: str) -> None:
    """Arm what `text` says, and nothing else; with an empty text nothing. Raises ValueError."""
    global _armed
    _armed = parse(text)


def asked(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for failpoints."""
    return bool(environment.get("WHISPR_FAILPOINTS") or environment.get("WHISPR_FAILPOINTS_FILE"))


def allowed(environment: Mapping[str, str]) -> bool:
    """Whether the environment says that this is no production."""
    said = (environment.get("WHISPR_DEBUG", ""), environment.get("WHISPR_ALLOW_FAILPOINTS", ""))
    return any(text.lower() in ("1", "true", "yes", "on") for text in said)


def load(environment: Mapping[str, str]) -> None:
    """Arm what the environment says, and begin to watch its file, if that is allowed. Raises ValueError."""
    global _file
    if not asked(environment) or not allowed(environment):
        return
    arm(environment.get("WHISPR_FAILPOINTS", ""))
    if name := environment.get("WHISPR_FAILPOINTS_FILE"):
        _file = Path(name)
        _read(_file)
        threading.Thread(target=_watch, args=(_file,), name="failpoints", daemon=True).start()


def _claim() -> bool:
    """Whether this process is the first to die of the file, which it takes away: whoever comes next lives."""
    if _file is None:
        return True
    try:
        _file.unlink()
    except FileNotFoundError:
        return False
    return True


def _read(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
        arm(path.read_text())
    except FileNotFoundError:
        arm("")
        return None
    except ValueError:
        pass  # half written; the next look finds it whole
    return found.st_mtime_ns, found.st_ino


def _watch(path: Path) -> None:
    seen = _read(path)
    while True:
        time.sleep(WATCH_SECONDS)
        try:
            found = path.stat()
            now = (found.st_mtime_ns, found.st_ino)
        except FileNotFoundError:
            now = None
        if now != seen:
            seen = _read(path)


load(os.environ)
