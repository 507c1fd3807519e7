"""CPU time and memory of processes, from /proc."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of the children that it has waited for; 0 where it is gone."""
    return _cpu_of_stat(_read(pid, "stat"))


def _cpu_of_stat(stat: str) -> float:
    # The second field is the command in parentheses and may hold anything; after it come the fields from the third on.
    fields = stat.rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS_A_SECOND if len(fields) > 15 else 0.0


def memory_bytes(pid: int) -> tuple[int, int]:
    """(resident, proportional) memory of a process; the proportional part counts shared pages by their share.

    Where the kernel does not tell it, it is the resident memory.
    """
    resident = _kib_line(_read(pid, "status"), "VmRSS:")
    return resident, _kib_line(_read(pid, "smaps_rollup"), "Pss:") or resident


def _kib_line(text: str, name: str) -> int:
    for line in text.splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def _read(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_text()
    except OSError:
        return ""


def children_of(pid: int) -> list[int]:
    """The live children of a process."""
    found = []
    with contextlib.suppress(OSError):
        for task in (PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def parent_of(pid: int) -> int | None:
    """The parent of a process; None where it is not here."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else None


def name_of(pid: int) -> str:
    """The command name of a process; empty where it is not here."""
    return _read(pid, "comm").strip()


def listeners_on(port: int) -> list[int]:
    """The processes that hold a listening TCP socket of this port."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    return sorted(int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit() and _holds(entry, inodes))


def _holds(process: Path, inodes: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(descriptor) in inodes:
                    return True
    return False


@dataclass(frozen=True)
class Usage:
    """What each part used between two moments, in CPU seconds."""

    server: float
    postgres: float | None
    generator: float
    wall: float


@dataclass
class Meter:
    """Adds up the CPU time of the server's processes, of PostgreSQL's and of our own.

    `postmaster` is None where PostgreSQL does not run on this machine.
    """

    servers: Sequence[int]
    postmaster: int | None

    def read(self, now: float) -> Usage:
        """The time used so far; `now` in seconds of any clock."""
        postgres = None
        if self.postmaster is not None:
            # The postmaster's own figure holds the backends that have ended.
            postgres = _total([self.postmaster, *children_of(self.postmaster)])
        times = os.times()
        return Usage(_total(self.servers), postgres, times.user + times.system, now)

    def resident(self) -> int:
        """The server processes' resident memory, in bytes."""
        return sum(memory_bytes(pid)[0] for pid in self.servers)

    def proportional(self) -> int:
        """The server processes' proportional memory, in bytes."""
        return sum(memory_bytes(pid)[1] for pid in self.servers)


def between(earlier: Usage, later: Usage) -> Usage:
    """What was used between two readings."""
    postgres = None
    if earlier.postgres is not None and later.postgres is not None:
        postgres = later.postgres - earlier.postgres
    return Usage(
        later.server - earlier.server, postgres, later.generator - earlier.generator, later.wall - earlier.wall
    )


def _total(pids: Iterable[int]) -> float:
    return sum(cpu_seconds(pid) for pid in pids)
