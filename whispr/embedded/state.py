"""The data directory of a local run: one supervisor at a time, secrets that stay, logs of bounded size."""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from whispr.embedded import runfile

LOG_BYTES = 20 * 1024 * 1024  # a log beyond this moves to <name>.1, which the next one replaces
SECRETS = ("WHISPR_SECRET_KEY", "WHISPR_JWT_SECRET", "postgres", "valkey")


class AlreadyRunning(Exception):
    """Another supervisor uses this directory; the text says where it answers."""


def make_directory(data: Path) -> None:
    """Make the data directory. As root, others may pass through it (the servers' account has to) but not list it."""
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o711 if os.geteuid() == 0 else 0o700)
    (data / "log").mkdir(mode=0o700, exist_ok=True)


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the directory. Raises AlreadyRunning. The kernel lets go when this process ends, however it ends."""
    with os.fdopen(os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            where = runfile.load(data).get("WHISPR_URL", "")
            raise AlreadyRunning(
                f"Whispr already runs with the data in {data}" + (f", at {where}" if where else "") + ".\n"
                "  Stop it first, or name another place and port with WHISPR_DATA_DIR and WHISPR_PORT."
            ) from None
        try:
            yield
        finally:
            (data / "run.json").unlink(missing_ok=True)


def load_secrets(data: Path) -> dict[str, str]:
    """The random secrets of this directory, made on its first use and readable by its user alone."""
    path = data / "secrets.json"
    try:
        found = json.loads(path.read_text())
        values = {name: value for name, value in found.items() if isinstance(value, str) and value}
    except FileNotFoundError:
        values = {}
    if missing := [name for name in SECRETS if name not in values]:
        values |= {name: secrets.token_urlsafe(48) for name in missing}
        new = path.with_name("secrets.json.new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(values, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    return values


def local_environment(
    base: Mapping[str, str], keys: Mapping[str, str], urls: Mapping[str, str], port: int
) -> dict[str, str]:
    """What the processes of a local run see; what the caller's environment says already, stands."""
    defaults = {
        "DJANGO_SETTINGS_MODULE": "whispr.settings",
        "WHISPR_SECRET_KEY": keys["WHISPR_SECRET_KEY"],
        "WHISPR_JWT_SECRET": keys["WHISPR_JWT_SECRET"],
        "WHISPR_JWT_ALGORITHMS": "HS256",
        "WHISPR_SIGNATURES": "optional",
        "WHISPR_DEV_LOGIN": "1",
        "WHISPR_DEBUG": "0",
        "WHISPR_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
        "WHISPR_PORT": str(port),
        "WHISPR_URL": f"http://127.0.0.1:{port}/",
    }
    environment = {**defaults, **{name: value for name, value in base.items() if value}, **urls}
    environment |= {"WHISPR_PORT": str(port), "WHISPR_URL": f"http://127.0.0.1:{port}/", "PYTHONUNBUFFERED": "1"}
    environment.pop("WEB_CONCURRENCY", None)
    return environment


def published(environment: Mapping[str, str]) -> dict[str, str]:
    """Of that environment, what a second terminal needs."""
    names = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")
    return {
        name: value
        for name, value in environment.items()
        if name in names or (name.startswith("WHISPR_") and name not in ("WHISPR_DATA_DIR", "WHISPR_WORKER_READY_FILE"))
    }


def trim_logs(data: Path) -> None:
    """Move what is too long aside. Writers append, so that a file cut to nothing goes on at its beginning."""
    for path in (data / "log").glob("*.log"):
        with contextlib.suppress(OSError):
            if path.stat().st_size > LOG_BYTES:
                path.with_suffix(".log.1").write_bytes(path.read_bytes())
                os.truncate(path, 0)
