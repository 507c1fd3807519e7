"""`script/setup.py` runs before there is an environment, so it is loaded from its file and imports nothing of the
project.
"""

import ast
import importlib.util
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.living import wait_gone

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def setup(tmp_path: Path) -> ModuleType:
    """The module, in a checkout of its own that has only its requirement files."""
    (tmp_path / "script").mkdir()
    for path in ("script/setup.py", *(file.name for file in ROOT.glob("requirements*.txt"))):
        shutil.copyfile(ROOT / path, tmp_path / path)
    spec = importlib.util.spec_from_file_location("setup_under_test", tmp_path / "script" / "setup.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_imports_the_standard_library_alone() -> None:
    tree = ast.parse((ROOT / "script" / "setup.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_every_requirement_is_pinned_by_version_and_hash() -> None:
    for path in ROOT.glob("requirements*.txt"):
        blocks = path.read_text().replace("\\\n", " ").splitlines()
        wanted = [block for block in blocks if block.strip() and not block.lstrip().startswith("#")]
        assert wanted, path
        for block in wanted:
            assert "==" in block, f"{path.name}: {block}"
            assert "--hash=sha256:" in block, f"{path.name}: {block}"


def test_a_stamp_holds_until_a_file_it_was_made_for_changes(setup: ModuleType, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    wanted = setup.digest("requirements.txt", "requirements-dev.txt")
    assert not setup.is_stamped(place, wanted)

    setup.write_stamp(place, wanted)
    assert setup.is_stamped(place, wanted)
    # What was made for the checks is enough to run the server, not the other way round.
    assert setup.is_stamped(place, setup.digest("requirements.txt"))
    assert not setup.is_stamped(place, setup.digest("requirements-tools.txt"))

    with (tmp_path / "requirements.txt").open("a") as file:
        file.write("# changed\n")
    assert not setup.is_stamped(place, setup.digest("requirements.txt"))


@pytest.mark.parametrize(
    ("environment", "needed"),
    [
        ({}, True),
        ({"DATABASE_URL": "a"}, True),
        ({"REDIS_URL": "a"}, True),
        ({"DATABASE_URL": "a", "REDIS_URL": "b"}, False),
        ({"PG_BINDIR": "a", "REDIS_BIN": "b"}, False),
        ({"DATABASE_URL": "a", "REDIS_BIN": "b"}, False),
    ],
)
def test_servers_are_fetched_only_where_they_could_be_used(
    setup: ModuleType, environment: dict[str, str], needed: bool
) -> None:
    assert setup.needs_servers(environment) is needed


def test_a_target_is_replaced_as_a_whole_and_stays_when_nothing_installs(setup: ModuleType, tmp_path: Path) -> None:
    place = tmp_path / ".servers"

    class Installer:
        answers = iter([False, True, False, False])
        asked: list[str] = []

        def install_target(self, requirements: str, target: Path) -> bool:
            self.asked.append(requirements)
            target.mkdir()
            (target / requirements).touch()
            return next(self.answers)

    files = ("first.txt", "second.txt")
    assert setup._replace_target(place, Installer(), files, {"a": "1"})
    assert sorted(path.name for path in place.iterdir()) == [".stamp", "second.txt"]
    assert not setup._replace_target(place, Installer(), files, {"a": "2"})
    assert sorted(path.name for path in place.iterdir()) == [".stamp", "second.txt"]
    assert Installer.asked == ["first.txt", "second.txt", "first.txt", "second.txt"]
    assert not (tmp_path / ".servers.new").exists()


def test_a_command_that_is_stopped_leaves_no_process(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'script')!r}); import setup, signal\n"
        "def stop(n, f): raise setup.Stopped(n)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "setup.run(['sh', '-c', 'sleep 100 & echo $!; wait'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    child = int(process.stdout.readline())

    process.send_signal(signal.SIGTERM)
    process.wait(10)

    assert wait_gone(child) == []


def test_a_python_that_is_too_old_is_told_what_to_do(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    answer = subprocess.run(
        ["/bin/sh", "-c", f'PATH={tmp_path}; . "{ROOT}/script/python.sh"; echo "went on"'],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 1
    assert "Python 3.11 or newer" in answer.stderr
    assert answer.stdout == ""
