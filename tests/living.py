"""Whether processes are still there."""

import os
import time
from pathlib import Path


def is_there(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
        # A zombie whose parent has not looked yet has ended all the same.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_gone(*pids: int) -> list[int]:
    """The processes that are left after 10 seconds at most."""
    until = time.monotonic() + 10
    while (left := [pid for pid in pids if is_there(pid)]) and time.monotonic() < until:
        time.sleep(0.02)
    return left
