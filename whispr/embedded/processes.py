"""The command lines of the system's own processes: the same ones for the local run and for a deployment (`Dockerfile`,
`config/`).

A process of a deployment is started with `python -m whispr.embedded run web|worker|beat|grpc|migrate`, which
becomes that command.
"""

import sys
from collections.abc import Mapping, Sequence

from whispr.kernel.environment import whole_number

SERVERS = ("uvicorn", "daphne")
# The purposes that Celery's tasks have, each a queue: CELERY_TASK_ROUTES in the settings.
QUEUES = ("push", "expiry", "scheduled", "recovery", "maintenance")
GRACEFUL_SECONDS = 8  # what whispr.uvicorn_server gives what it has begun, when it is stopped


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def asgi_server(environment: Mapping[str, str]) -> str:
    """Which ASGI server is asked for. Raises ValueError when there is none of that name."""
    name = environment.get("WHISPR_ASGI_SERVER") or "uvicorn"
    if name not in SERVERS:
        raise ValueError(f"WHISPR_ASGI_SERVER={name}: there are {' and '.join(SERVERS)}.")
    return name


def web(environment: Mapping[str, str], *, host: str, port: int, fd: int | None = None) -> list[str]:
    """An ASGI server on `host:port`, or on the listening socket `fd` that it inherits (uvicorn only)."""
    if asgi_server(environment) == "daphne":
        return _python("whispr.daphne_server", "-b", host, "-p", str(port))
    where = ["--host", host, "--port", str(port)] if fd is None else ["--fd", str(fd)]
    proxies = environment.get("FORWARDED_ALLOW_IPS")
    # Whom a request comes from is believed of named proxies alone; uvicorn's own default trusts this machine.
    return _python("whispr.uvicorn_server", *where, *(["--forwarded-allow-ips", proxies] if proxies else []))


def worker_queues(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The queues that WHISPR_WORKER_QUEUES names, else all. Raises ValueError for one that there is not."""
    asked = environment.get("WHISPR_WORKER_QUEUES") or ""
    names = tuple(name.strip() for name in asked.split(",") if name.strip())
    unknown = [name for name in names if name not in QUEUES]
    if unknown:
        raise ValueError(f"WHISPR_WORKER_QUEUES={asked}: the queues are {', '.join(QUEUES)}.")
    return names or QUEUES


def worker(*, beat: bool, threads: int = 4, queues: Sequence[str] = QUEUES) -> list[str]:
    """A Celery worker for `queues`; with `beat`, the scheduler beside it.

    Threads, not processes: the tasks of a worker share one event loop, one pool of connections and one port of metrics.
    """
    options = ["-P", "threads", "-c", str(threads), "-Q", ",".join(queues)]
    options += ["--without-gossip", "--without-mingle", "-l", "INFO"]
    extra = ["-B", *_schedule_file(), "-I", "whispr.embedded.worker"] if beat else []
    return _python("celery", "-A", "whispr", "worker", *options, *extra)


def beat() -> list[str]:
    """Celery's scheduler alone. Two of them do no harm, since work is claimed in PostgreSQL, but one is enough."""
    return _python("celery", "-A", "whispr", "beat", "-l", "INFO", "--pidfile=", *_schedule_file())


def with_metrics_port(environment: Mapping[str, str], number: int) -> dict[str, str]:
    """The environment of the process `number` of a machine: each has a port of its own for /metrics, one after the
    other from WHISPR_METRICS_PORT; none where that is 0 or unset."""
    first = whole_number("WHISPR_METRICS_PORT", 0, most=65_535, environment=environment)
    return {**environment, "WHISPR_METRICS_PORT": str(first + number if first else 0)}


def _schedule_file() -> list[str]:
    return ["--scheduler", "django_celery_beat.schedulers:DatabaseScheduler"]


def manage(*arguments: str) -> list[str]:
    """A management command."""
    return [sys.executable, "manage.py", *arguments]


def grpc() -> list[str]:
    """The entry for other services, on WHISPR_GRPC_ADDRESS."""
    return manage("grpc_server")


def deployed(role: str, environment: Mapping[str, str], arguments: Sequence[str] = ()) -> list[str]:
    """The command of one role of a deployment. Raises ValueError for an unknown role, and
    for a setting that cannot be read."""
    host = environment.get("WHISPR_HOST") or "0.0.0.0"
    if role == "web":
        port = whole_number("WHISPR_PORT", 8000, most=65_535, environment=environment)
        return [*web(environment, host=host, port=port), *arguments]
    if role == "worker":
        threads = whole_number("WHISPR_WORKER_THREADS", 8, least=1, environment=environment)
        return [*worker(beat=False, threads=threads, queues=worker_queues(environment)), *arguments]
    if role == "beat":
        return [*beat(), *arguments]
    if role == "grpc":
        return [*grpc(), *arguments]
    if role == "migrate":
        return manage("migrate", "--noinput", *arguments)
    raise ValueError(f"{role}: the roles are web, worker, beat, grpc and migrate.")
