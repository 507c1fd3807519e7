import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from whispr.embedded import runfile


def test_write_then_load_gives_the_environment_and_only_its_user_can_read_it(tmp_path: Path) -> None:
    path = runfile.write(tmp_path, {"DATABASE_URL": "postgres://a", "REDIS_URL": "redis://b"})

    assert runfile.load(tmp_path) == {"DATABASE_URL": "postgres://a", "REDIS_URL": "redis://b"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_load_ignores_the_file_of_a_process_that_has_ended(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from whispr.embedded import runfile; runfile.write(pathlib.Path(sys.argv[1]), {'A': 'b'})"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=runfile.PROJECT)

    assert (tmp_path / "run.json").exists()
    assert runfile.load(tmp_path) == {}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells when a process began")
def test_load_ignores_a_later_process_of_the_same_id(tmp_path: Path) -> None:
    path = runfile.write(tmp_path, {"A": "b"})
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"started": str(int(content["started"]) - 1)}))

    assert runfile.load(tmp_path) == {}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "{}", '{"pid": "x", "started": 1, "environment": {}}', '{"pid": 1e400}', "\ud800"],
)
def test_load_never_raises_whatever_the_file_holds(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_bytes(content.encode(errors="surrogatepass"))

    assert runfile.load(tmp_path) == {}


def test_load_keeps_only_texts(tmp_path: Path) -> None:
    path = runfile.write(tmp_path, {"A": "b"})
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"environment": {"A": "b", "C": 1, "D": None}}))

    assert runfile.load(tmp_path) == {"A": "b"}


def test_apply_to_environment_fills_only_what_is_missing(tmp_path: Path) -> None:
    runfile.write(tmp_path, {"DATABASE_URL": "run's", "REDIS_URL": "run's", "WHISPR_SECRET_KEY": "run's"})
    environment = {"WHISPR_DATA_DIR": str(tmp_path), "REDIS_URL": "mine"}

    runfile.apply_to_environment(environment)

    assert environment == {
        "WHISPR_DATA_DIR": str(tmp_path),
        "DATABASE_URL": "run's",
        "REDIS_URL": "mine",
        "WHISPR_SECRET_KEY": "run's",
    }


def test_apply_to_environment_leaves_a_complete_environment_alone(tmp_path: Path) -> None:
    runfile.write(tmp_path, {"WHISPR_SECRET_KEY": "run's"})
    environment = {"WHISPR_DATA_DIR": str(tmp_path), "DATABASE_URL": "a", "REDIS_URL": "b"}

    runfile.apply_to_environment(environment)

    assert "WHISPR_SECRET_KEY" not in environment


def test_start_time_tells_this_process_from_none() -> None:
    assert runfile.is_alive(os.getpid(), runfile.start_time(os.getpid()))
    assert not runfile.is_alive(2**22 + 1, "")
