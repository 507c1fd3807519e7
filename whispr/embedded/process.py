"""Child processes that cannot outlive us: sessions of their own, a death signal from the kernel, and a tear-down that
finds them all.

The main thread blocks the signals that it answers and takes them in `next_signal`, so that none can arrive between a
fork and the note of its child, and a second Ctrl-C cannot break the tear-down.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PROJECT = Path(__file__).resolve().parent.parent.parent
_stop_signals: set[signal.Signals] = set()
_ours: set[int] = set()  # the processes that we started ourselves, whose ends `subprocess` wants to see


class Stopped(Exception):
    """A signal asked the run to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def say(text: str) -> None:
    """Print a line for the person at the terminal.

    After a hang-up there is none, and that must not break the tear-down.
    """
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


def take_signals() -> None:
    """From here on Ctrl-C, SIGTERM and a hang-up (unless under nohup) are answered by `next_signal` alone.

    Main thread only.
    """
    _stop_signals.update((signal.SIGINT, signal.SIGTERM))
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        _stop_signals.add(signal.SIGHUP)
    # A terminal that stops taking output must not stop us (SIGTTOU), nor a reader that has gone (SIGPIPE, which Python
    # ignores).
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, _stop_signals | {signal.SIGCHLD})
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def next_signal(seconds: float, *, heed_stop: bool = True) -> bool:
    """Sleep up to `seconds`; True when a child has changed before.

    Raises Stopped when a signal asked us to end, unless `heed_stop` is off.
    """
    wanted = {signal.SIGCHLD} | (_stop_signals if heed_stop else set())
    number: int | None = None
    if hasattr(signal, "sigtimedwait"):
        taken = signal.sigtimedwait(wanted, max(0.0, seconds))
        number = taken.si_signo if taken else None
    else:  # macOS
        until = time.monotonic() + seconds
        while not (pending := signal.sigpending() & wanted) and time.monotonic() < until:
            time.sleep(0.02)
        number = signal.sigwait(pending) if pending else None
    if number is not None and number != signal.SIGCHLD:
        raise Stopped(number)
    if number is not None:
        _reap_adopted()
    return number is not None


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask the kernel to signal this process when its parent is gone. Linux only; elsewhere nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number))


@dataclass(frozen=True)
class Account:
    """As whom a server runs: as we do, as another user (root only), or in a user namespace of its own (`prefix`)."""

    uid: int | None = None
    gid: int | None = None
    prefix: tuple[str, ...] = ()


@dataclass
class Child:
    """A process that we started and must end."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stops_group: bool = False  # its stop signal goes to its whole group, as a terminal's Ctrl-C does
    began: float = field(default_factory=time.monotonic)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def how_it_ended(self) -> str:
        """In words: the signal or the exit code."""
        code = self.process.returncode
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"was killed by {signal.Signals(-code).name}"
        return f"ended with code {code}"

    def last_words(self, lines: int = 15) -> str:
        """The end of its log, for a person to read."""
        return tail(self.log, lines) if self.log else ""


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a file, indented; at most 16 KiB of it."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


def spawn(
    name: str,
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    log: Path | None = None,
    account: Account | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
    death_signal: signal.Signals = signal.SIGKILL,
    pass_fds: Iterable[int] = (),
    cwd: Path = PROJECT,
) -> Child:
    """Start a process in a session of its own. It gets `death_signal` from the kernel when we are gone.

    Its output is appended to `log`, or goes where ours goes. Raises OSError when the command cannot be started.
    """
    account = account or Account()
    parent = os.getpid()

    def before_exec() -> None:
        # After the change of user, which would clear the death signal.
        die_with_parent(death_signal)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if log else None
    try:
        process = subprocess.Popen(
            [*account.prefix, *(str(part) for part in command)],
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if log else None,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
            preexec_fn=before_exec,
            user=account.uid,
            group=account.gid,
            extra_groups=[] if account.uid is not None else None,
        )
    finally:
        if output is not None:
            os.close(output)
    _ours.add(process.pid)
    return Child(name, process, log, stop_signal)


def wait_for(child: Child, seconds: float | None = None) -> int | None:
    """The exit code of a child, or None when it has not ended after `seconds`.

    Raises Stopped (the child still runs then).
    """
    until = None if seconds is None else time.monotonic() + seconds
    while child.is_running:
        left = 0.5 if until is None else min(0.5, until - time.monotonic())
        if left <= 0:
            return None
        next_signal(left)
    return child.process.returncode


def stop(children: Iterable[Child], seconds: float) -> None:
    """End children together: their own stop signal, `seconds` for all of them, then SIGKILL for each one's whole
    group.
    """
    waiting = list(children)
    for child in waiting:
        if child.is_running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if child.stops_group:
                    os.killpg(child.process.pid, child.stop_signal)
                else:
                    child.process.send_signal(child.stop_signal)
    until = time.monotonic() + seconds
    while any(child.is_running for child in waiting) and time.monotonic() < until:
        next_signal(0.05, heed_stop=False)
    for child in waiting:
        kill_group(child)


def kill_group(child: Child) -> None:
    """Kill what is left of a child's group: its own children too, also when it is dead already."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        child.process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.process.wait(5)


def kill_adopted() -> None:
    """Kill grandchildren that left their group and were handed to us (Linux: we are their subreaper).

    For the end of a run.
    """
    for _ in range(50):
        found = _adopted()
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
        _reap_adopted()


def _reap_adopted() -> None:
    """Take note of the ends of processes that were handed to us, so that none stays as a zombie."""
    for pid in _adopted():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _adopted() -> list[int]:
    """The children that we did not start."""
    return [pid for pid in _children_of(os.getpid()) if pid not in _ours]


def _children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
