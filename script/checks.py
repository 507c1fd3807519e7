"""Every check, one after the other, against PostgreSQL and Valkey of its own: what `script/test` becomes after the
setup.

A failed check does not keep the others from running. The exit code is 0 when all passed, 1 when one failed, 128 + the
signal when stopped; whatever the end, no process and no temporary directory stays.
"""

import contextlib
import filecmp
import os
import secrets
import shutil
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # started as a file, it has script/ there

from whispr.embedded.account import NoAccount  # noqa: E402
from whispr.embedded.finder import ServersMissing  # noqa: E402
from whispr.embedded.postgres import StartFailed  # noqa: E402
from whispr.embedded.process import Child, Stopped, kill_adopted, say, spawn, stop, take_signals, wait_for  # noqa: E402
from whispr.embedded.servers import temporary  # noqa: E402

SDK = ROOT / "sdk"
TOOLS = ROOT / ".tools"
# The build of the web client as it is committed, so that `script/server` needs no Node.
WEB_CLIENT = SDK / "apps" / "web" / "dist"
# Tests that start server processes and drive them from outside: most of their time is waiting, so they run beside the
# others, with servers of their own. It is about half of the time of all.
OUTSIDE = ("tests/live", "tests/e2e", "tests/chaos")
STEP_SECONDS = 300  # of any other check: none needs a minute on two cores
SOURCE_SECONDS = 900  # mypy, tsc and vitest side by side took 120 s on two slow cores
PYTEST_SECONDS = 2_700  # the halves took 915 s and 1,339 s side by side on two slow cores; a hung one is ended
KEPT = ("WHISPR_CHROMIUM", "WHISPR_TEST_")
STOP_SECONDS = 20  # pytest takes its fixtures down on SIGINT, processes that tests started among them


@dataclass(frozen=True)
class Run:
    """A command that runs beside others."""

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str] | None = None  # None: what every check sees
    cwd: Path = ROOT


@dataclass
class Checks:
    """The checks that ran, and how they ended."""

    environment: dict[str, str]
    failed: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def run(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        cwd: Path = ROOT,
        seconds: float = STEP_SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> bool:
        """Run one check to its end, its output where ours goes; after `seconds` it has failed. Raises Stopped."""
        with self.step(name) as outcome:
            child: Child | None = None
            try:
                child = spawn(
                    name, command, environment=environment or self.environment, cwd=cwd, stop_signal=signal.SIGINT
                )
                child.stops_group = True
                code = wait_for(child, seconds)
                if code is None:
                    say(f"{name} is not done after {seconds:.0f} s and is stopped.")
                outcome.append(code == 0)
            except OSError as error:
                say(f"{command[0]}: {error}")
            finally:
                if child:
                    stop([child], STOP_SECONDS)
        return bool(outcome and outcome[0])

    def run_together(self, *runs: Run, seconds: float = STEP_SECONDS) -> None:
        """Run several checks side by side; what each said comes when all have ended. After `seconds` it has failed."""
        for run, code in zip(runs, self._codes(runs, seconds), strict=True):
            (self.passed if code == 0 else self.failed).append(run.name)

    def run_pytest_together(self, *runs: Run, seconds: float = PYTEST_SECONDS) -> None:
        """`run_together` for pytest, where what failed is run once more alone.

        Two cores that do twice the work break deadlines of tests that wait for real processes. What fails alone has
        failed.
        """
        with tempfile.TemporaryDirectory(prefix="whispr-checks-") as place:
            cached = [replace(run, command=[*run.command, "-o", f"cache_dir={place}/{run.name}"]) for run in runs]
            for run, code in zip(cached, self._codes(cached, seconds), strict=True):
                if code == 0:
                    self.passed.append(run.name)
                elif code == 1:
                    again = [*run.command, "--last-failed", "--last-failed-no-failures", "none"]
                    name = f"{run.name}, what failed once more"
                    self.run(name, again, seconds=seconds, environment=run.environment)
                else:
                    self.failed.append(run.name)

    def _codes(self, runs: Sequence[Run], seconds: float) -> list[int | None]:
        """The exit codes of runs side by side; None for one that took longer than `seconds`, and is stopped."""
        began = time.monotonic()
        say(f"\n── {', '.join(run.name for run in runs)}, side by side")
        children: list[Child] = []
        with tempfile.TemporaryDirectory(prefix="whispr-checks-") as place:
            logs = [Path(place) / str(number) for number in range(len(runs))]
            ends: list[float] = []
            try:
                for run, log in zip(runs, logs, strict=True):
                    environment = run.environment or self.environment
                    child = spawn(
                        run.name, run.command, environment=environment, log=log, cwd=run.cwd, stop_signal=signal.SIGINT
                    )
                    child.stops_group = True
                    children.append(child)
                codes = []
                for child in children:
                    codes.append(wait_for(child, max(1.0, seconds - (time.monotonic() - began))))
                    ends.append(time.monotonic() - began)
            finally:
                stop(children, STOP_SECONDS)
            for run, log, code, end in zip(runs, logs, codes, ends, strict=True):
                say(log.read_text(errors="replace"))
                told = "not done in time" if code is None else "ok" if code == 0 else f"exit code {code}"
                say(f"── {run.name}: {told}, {end:.1f} s or less")
        return codes

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[list[bool]]:
        """Say what begins, what came of it and after what time. The body appends True when all is well."""
        say(f"\n── {name}")
        began = time.monotonic()
        outcome: list[bool] = []
        yield outcome
        good = bool(outcome and outcome[0])
        (self.passed if good else self.failed).append(name)
        say(f"── {name}: {'ok' if good else 'FAILED'}, {time.monotonic() - began:.1f} s")

    def leave_out(self, name: str, why: str) -> None:
        """Note what does not run, for the summary."""
        say(f"\n── {name}: left out, {why}")
        self.left_out.append(f"{name} ({why})")


def program(name: str) -> str:
    """A tool of the virtual environment."""
    return str(Path(sys.executable).parent / name)


def check_source(checks: Checks, sdk_ready: bool) -> None:
    """What needs no server. The types of both languages and the TypeScript tests keep a core busy each."""
    checks.run("ruff check", [program("ruff"), "check", "."])
    checks.run("ruff format", [program("ruff"), "format", "--check", "."])
    checks.run("import-linter", [program("lint-imports")])
    runs = [Run("mypy", [program("mypy"), "."])]
    if sdk_ready:
        runs += [Run(f"npm {name}", ["npm", *name.split(), "--silent"], cwd=SDK) for name in ("run typecheck", "test")]
    checks.run_together(*runs, seconds=SOURCE_SECONDS)


def install_sdk(checks: Checks) -> bool:
    """The workspace's packages, when the lock file is another than at the last time."""
    lock = SDK / "package-lock.json"
    stamp = SDK / "node_modules" / ".whispr-lock"
    with contextlib.suppress(OSError):
        if stamp.read_bytes() == lock.read_bytes():
            return True
    if not checks.run("npm ci", ["npm", "ci", "--no-audit", "--no-fund"], cwd=SDK):
        return False
    shutil.copyfile(lock, stamp)
    return True


def check_web_client(checks: Checks) -> None:
    """That the committed web client is what its source builds."""
    with tempfile.TemporaryDirectory(prefix="whispr-web-") as place:
        command = [
            "npm",
            "run",
            "--silent",
            "build",
            "--workspace",
            "@whispr/web",
            "--",
            "--outDir",
            place,
            "--emptyOutDir",
        ]
        built = checks.run("npm run build", command, cwd=SDK)
        if built:
            with checks.step("the committed web client") as outcome:
                differences = compare(WEB_CLIENT, Path(place))
                for line in differences[:20]:
                    say(line)
                if differences:
                    say("  The committed build is not what sdk/ builds: run `npm run build` there, and commit.")
                outcome.append(not differences)


def compare(committed: Path, built: Path) -> list[str]:
    """How two directories differ, a line a file. An empty build differs."""

    def files(root: Path) -> set[Path]:
        return {path.relative_to(root) for path in root.rglob("*") if path.is_file()}

    here, there = files(committed), files(built)
    lines = [f"  {path}: committed, but not built" for path in sorted(here - there)]
    lines += [f"  {path}: built, but not committed" for path in sorted(there - here)]
    both = sorted(here & there)
    lines += [f"  {path}: differs" for path in both if not filecmp.cmp(committed / path, built / path, shallow=False)]
    return lines or ([] if there else ["  nothing was built"])


def find_chromium() -> str:
    """A Chromium for the browser tests; "" when there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), "")


def check_environment(caller: Mapping[str, str]) -> dict[str, str]:
    """What every check sees: Node of ours first on the path, the Chromium that was found."""
    # Not what the caller has set for a server of theirs: the checks mean the same everywhere.
    environment = {
        name: value for name, value in caller.items() if not name.startswith("WHISPR_") or name.startswith(KEPT)
    }
    environment["PATH"] = os.pathsep.join([str(TOOLS / "bin"), program(""), environment.get("PATH") or os.defpath])
    environment["PYTHONUNBUFFERED"] = "1"
    home = environment.get("HOME") or "/nonexistent"
    if not os.access(home, os.W_OK):
        environment["npm_config_cache"] = str(TOOLS / "npm-cache")
    # Node brings certificates of its own: it is to trust what this machine was told to trust.
    if certificates := ssl.get_default_verify_paths().cafile:
        environment.setdefault("NODE_EXTRA_CA_CERTS", certificates)
    if chromium := caller.get("WHISPR_CHROMIUM") or find_chromium():
        environment["WHISPR_CHROMIUM"] = chromium
    return environment


def check_all(checks: Checks, fast: bool, pytest_arguments: Sequence[str]) -> None:
    """All checks in their order. Raises Stopped and what the servers raise."""
    has_sdk = (SDK / "package.json").exists()
    if fast or not has_sdk:
        checks.leave_out("sdk/", "--fast" if fast else "there is none")
    # Before pytest: some of its tests drive the real client in Node.
    sdk_ready = has_sdk and not fast and install_sdk(checks)
    check_source(checks, sdk_ready)
    if sdk_ready:
        check_web_client(checks)
    if "WHISPR_CHROMIUM" not in checks.environment:
        checks.leave_out("browser tests", "no Chromium; on Debian: apt-get install chromium")
    say("\nStarting PostgreSQL and Valkey for the tests …")
    with temporary(os.environ) as urls:
        # What a setting's default refuses is chosen here; a test that is about a setting sets it itself.
        checks.environment |= {
            **urls,
            "WHISPR_SECRET_KEY": secrets.token_urlsafe(50),
            "WHISPR_JWT_SECRET": secrets.token_urlsafe(50),
        }
        checks.run("migrations", [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"])
        pytest = [sys.executable, "-m", "pytest"]
        if pytest_arguments:
            checks.run("pytest", [*pytest, *pytest_arguments], seconds=PYTEST_SECONDS)
        else:
            with temporary(os.environ) as others:
                beside = checks.environment | others
                rest = ["tests", *(f"--ignore={place}" for place in OUTSIDE)]
                checks.run_pytest_together(
                    Run("the system's processes", [*pytest, *OUTSIDE]),
                    Run("all else", [*pytest, *rest], beside),
                )


def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for; the exit code."""
    cut = list(arguments).index("--") if "--" in arguments else len(arguments)
    options, for_pytest = arguments[:cut], arguments[cut + 1 :]
    if set(options) - {"--fast"}:
        say("usage: script/test [--fast] [-- arguments for pytest]")
        return 2
    take_signals()
    began = time.monotonic()
    checks = Checks(check_environment(os.environ))
    try:
        check_all(checks, "--fast" in options, for_pytest)
    except Stopped as stopped:
        say(f"\nStopped by {stopped}; nothing is left running.")
        return 128 + stopped.number
    except (ServersMissing, NoAccount, StartFailed, OSError) as error:
        say(f"{error}")
        checks.failed.append("the servers")
    finally:
        kill_adopted()
    took = f"{time.monotonic() - began:.0f} s"
    for what in checks.left_out:
        say(f"Left out: {what}.")
    if checks.failed:
        say(f"script/test: FAILED ({', '.join(checks.failed)}); {len(checks.passed)} checks passed, {took}.")
        return 1
    say(f"script/test: all {len(checks.passed)} checks passed, {took}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
