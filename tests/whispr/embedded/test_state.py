import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from whispr.embedded import runfile, state


def test_secrets_are_random_stay_the_same_and_are_for_their_user_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = state.load_secrets(tmp_path / "a")

    assert state.load_secrets(tmp_path / "a") == first
    assert set(first) == set(state.SECRETS)
    assert len(set(first.values())) == len(first)
    assert not set(first.values()) & set(state.load_secrets(tmp_path / "b").values())
    assert stat.S_IMODE((tmp_path / "a" / "secrets.json").stat().st_mode) == 0o600


def test_a_secret_that_a_newer_version_wants_is_added_and_the_others_stay(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text(json.dumps({"postgres": "kept"}))

    found = state.load_secrets(tmp_path)

    assert found["postgres"] == "kept"
    assert set(found) == set(state.SECRETS)


def test_a_directory_has_one_supervisor_and_the_error_says_where_it_answers(tmp_path: Path) -> None:
    with state.locked(tmp_path):
        runfile.write(tmp_path, {"WHISPR_URL": "http://127.0.0.1:8123/"})
        with pytest.raises(state.AlreadyRunning, match="8123"), state.locked(tmp_path):
            pass
        # The one that was refused does not take away the file of the one that runs.
        assert (tmp_path / "run.json").exists()
    assert not (tmp_path / "run.json").exists()
    with state.locked(tmp_path):
        pass


def test_a_killed_supervisor_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from whispr.embedded import state\n"
        "with state.locked(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=runfile.PROJECT)

    assert ended.returncode == -9
    with state.locked(tmp_path):
        pass


def test_what_the_caller_says_stands_and_the_rest_is_for_a_local_run() -> None:
    keys = {name: f"{name}-value" for name in state.SECRETS}
    urls = {"DATABASE_URL": "ours", "REDIS_URL": "ours"}
    caller = {
        "WHISPR_SECRET_KEY": "mine",
        "WHISPR_SIGNATURES": "required",
        "WHISPR_DEV_LOGIN": "",
        "WEB_CONCURRENCY": "9",
    }

    environment = state.local_environment(caller, keys, urls, 8001)

    assert environment["WHISPR_SECRET_KEY"] == "mine"
    assert environment["WHISPR_SIGNATURES"] == "required"
    assert environment["WHISPR_JWT_SECRET"] == "WHISPR_JWT_SECRET-value"
    assert environment["WHISPR_DEV_LOGIN"] == "1"
    assert environment["WHISPR_ALLOWED_ORIGINS"] == "http://127.0.0.1:8001,http://localhost:8001"
    assert environment["DATABASE_URL"] == "ours"
    assert "WEB_CONCURRENCY" not in environment


def test_a_second_terminal_gets_the_servers_and_the_keys_and_nothing_private_of_the_first() -> None:
    environment = {"DATABASE_URL": "a", "WHISPR_SECRET_KEY": "b", "HOME": "/home/x", "AWS_SECRET": "c"}

    assert state.published(environment) == {"DATABASE_URL": "a", "WHISPR_SECRET_KEY": "b"}


def test_a_long_log_moves_aside_and_its_writer_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "LOG_BYTES", 10)
    (tmp_path / "log").mkdir()
    path = tmp_path / "log" / "web.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"0123456789abc")
        state.trim_logs(tmp_path)
        writer.write(b"new")

    assert path.read_bytes() == b"new"
    assert (tmp_path / "log" / "web.log.1").read_bytes() == b"0123456789abc"


def test_the_data_directory_is_closed_to_others(tmp_path: Path) -> None:
    state.make_directory(tmp_path / "a" / "b")

    mode = stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode)
    assert mode == (0o711 if os.geteuid() == 0 else 0o700)
