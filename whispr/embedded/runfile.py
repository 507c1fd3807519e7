"""How a second terminal finds the running servers: the supervisor's environment, in a file that only its user can
read.
"""

import json
import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent


def data_directory(environment: Mapping[str, str]) -> Path:
    """Where the local run keeps its data: `WHISPR_DATA_DIR`, or `.state` in the checkout."""
    return Path(environment.get("WHISPR_DATA_DIR") or PROJECT / ".state").absolute()


def start_time(pid: int) -> str:
    """When a process began, as the kernel counts it; "" where the system does not say.

    Tells a process from a later one of the same id.
    """
    try:
        # The second field is the command in parentheses and may hold anything; the start time is field 22.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_alive(pid: int, started: str) -> bool:
    """Whether the process that wrote these two is still there."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    except (OSError, OverflowError):
        return False
    return start_time(pid) == started


def write(directory: Path, values: Mapping[str, str]) -> Path:
    """Publish the environment of this process's run, readable by its user alone, atomically."""
    path = directory / "run.json"
    new = directory / "run.json.new"
    new.unlink(missing_ok=True)
    content = {"pid": os.getpid(), "started": start_time(os.getpid()), "environment": dict(values)}
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=1)
    new.replace(path)
    return path


def load(directory: Path | None = None) -> dict[str, str]:
    """The environment of the run that is going on in `directory` (the usual place when absent).

    Empty when nothing runs there, the file cannot be read or is not what we write. Never raises.
    """
    try:
        content = json.loads(((directory or data_directory(os.environ)) / "run.json").read_text())
        if not is_alive(content["pid"], content["started"]):
            return {}
        return {name: value for name, value in content["environment"].items() if isinstance(value, str)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def apply_to_environment(environment: MutableMapping[str, str] | None = None) -> None:
    """Fill what the environment lacks from the running servers, so that `manage.py` works beside `script/server`.

    Does nothing where both servers are named already, as for the processes of the run itself. Never raises.
    """
    target = os.environ if environment is None else environment
    if target.get("DATABASE_URL") and target.get("REDIS_URL"):
        return
    for name, value in load(data_directory(target)).items():
        target.setdefault(name, value)
