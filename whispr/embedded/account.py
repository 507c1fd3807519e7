"""As whom, and from where, the servers run. PostgreSQL refuses to run as root, and an account without rights cannot
look into /root.

As root the servers run as `postgres` or `nobody`; where those cannot reach the checkout, programs and data lie under
/var/tmp in a directory that root owns. Nothing of the machine is changed for it: no user is made, no directory is
opened.
"""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

from whispr.embedded.finder import Programs
from whispr.embedded.process import Account

TEMPORARY = Path("/var/tmp")
# A user namespace of its own, for containers where the user of the process cannot be changed or is not in /etc/passwd.
NAMESPACE = ("unshare", "--user", "--map-user=65534", "--map-group=65534")


class NoAccount(Exception):
    """There is no way to run PostgreSQL here; the text says why."""


def choose_account(existing: Path | None = None) -> Account:
    """The account that runs the servers. `existing` is data made before, whose owner is kept.

    Raises NoAccount.
    """
    if os.geteuid() != 0:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError:
            return _namespace("the user id of this process has no entry in /etc/passwd")
        return Account()
    owner = existing.stat().st_uid if existing and existing.exists() else 0
    names = [pwd.getpwuid(owner)] if owner and _is_known(owner) else _candidates()
    for entry in names:
        account = Account(entry.pw_uid, entry.pw_gid)
        if _can_run(["true"], account):
            return account
    return _namespace("root cannot become another user here")


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _candidates() -> list[pwd.struct_passwd]:
    found = []
    for name in ("postgres", "nobody"):
        try:
            found.append(pwd.getpwnam(name))
        except KeyError:
            continue
    return found


def _namespace(why: str) -> Account:
    account = Account(prefix=NAMESPACE)
    if not _can_run(["true"], account):
        raise NoAccount(
            f"PostgreSQL does not run as root, and {why}; a user namespace is refused too.\n"
            "  Start script/server as an ordinary user, or name running servers with DATABASE_URL and REDIS_URL."
        )
    return account


def _can_run(command: list[str | Path], account: Account) -> bool:
    try:
        answer = subprocess.run(
            [*account.prefix, *(str(part) for part in command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
            timeout=20,
            check=False,
            user=account.uid,
            group=account.gid,
            extra_groups=[] if account.uid is not None else None,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.returncode == 0


def own(path: Path, account: Account) -> None:
    """Give a path to the account."""
    if account.uid is not None:
        os.chown(path, account.uid, account.gid if account.gid is not None else -1)


def own_directory(path: Path, account: Account) -> None:
    """Make a directory that only the account can read."""
    path.mkdir(mode=0o700, exist_ok=True)
    own(path, account)
    path.chmod(0o700)


def reachable_home(data: Path, account: Account) -> Path:
    """Where the servers' files lie: in `data` when the account can go there, otherwise in our directory under
    /var/tmp.
    """
    if account.uid is None or _can_run(["test", "-x", data], account):
        return data
    return _private_place(data)


def private_place_name(data: Path) -> Path:
    """What that directory is called, made or not."""
    return TEMPORARY / f"whispr-{hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:12]}"


def _private_place(data: Path) -> Path:
    """A directory under /var/tmp that belongs to this data directory.

    Refuses one that someone else could have laid there.
    """
    place = private_place_name(data)
    place.mkdir(mode=0o711, exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NoAccount(f"{place} is not ours alone (another's, a link, or writable by others); remove it.")
    place.chmod(0o711)
    return place


def discard_private_place(data: Path) -> None:
    """Remove what `reachable_home` made elsewhere, with all that lies in it."""
    shutil.rmtree(private_place_name(data), ignore_errors=True)


def reachable_programs(programs: Programs, data: Path, account: Account, probe: str = "") -> Programs:
    """Programs that the account can start: these, or a copy in our directory under /var/tmp.

    `probe` names the program to try inside a directory of programs. Raises NoAccount when they can be neither run nor
    copied.
    """
    program = programs.path / probe if probe else programs.path
    if account.uid is None or _can_run([program, "--version"], account):
        return programs
    if not programs.bundle:
        raise NoAccount(f"The account that runs the servers ({account.uid}) cannot start {program}.")
    age = hashlib.sha256(f"{programs.root}{program.stat().st_mtime_ns}".encode()).hexdigest()[:8]
    copy = _private_place(data) / f"programs-{age}"
    for part in programs.bundle:
        if not (copy / part).exists() and (programs.root / part).exists():
            _copy(programs.root / part, copy / part)
    moved = Programs(copy / programs.path.relative_to(programs.root), programs.major, copy, programs.bundle)
    if not _can_run([moved.path / probe if probe else moved.path, "--version"], account):
        raise NoAccount(f"The account that runs the servers ({account.uid}) cannot start the copy in {copy}.")
    return moved


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a tree, readable by all whatever our umask; complete or not at all."""
    for directory in reversed([*target.relative_to(TEMPORARY).parents][:-1]):
        (TEMPORARY / directory).mkdir(exist_ok=True)
        if (TEMPORARY / directory).stat().st_uid == os.geteuid():
            (TEMPORARY / directory).chmod(0o711 if len(directory.parts) == 1 else 0o755)
    new = target.with_name(target.name + ".new")
    if source.is_file():
        shutil.copy2(source, new)
        new.chmod(0o755)
    else:
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(source, new, symlinks=True)
        for path in (new, *new.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    new.rename(target)
